"""A notebook, run from top to bottom in a fresh kernel, and what it took."""

import json
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient

# The system's own record of a process's peak (ru_maxrss would count its parent's too).
SPENT = """
import json, pathlib, resource, sys
status = pathlib.Path("/proc/self/status")
if status.exists():
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    peak = int(lines["VmHWM"].split()[0]) * 1024
else:
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
times = [resource.getrusage(one) for one in who]
print(json.dumps([peak, sum(one.ru_utime + one.ru_stime for one in times)]))
"""


@dataclass(frozen=True)
class Spent:
    """What a kernel has taken at its end."""

    peak: int  # bytes, of the kernel alone
    core_seconds: float  # of the kernel and of what it started


def run(notebook, folder: Path, cell_seconds: int | None = None) -> Spent:
    """Execute a notebook in place, in `folder`.

    A cell may take `cell_seconds`. CellExecutionError, from nbclient, where one fails.
    """
    notebook.cells.append(nbformat.v4.new_code_cell(SPENT))
    try:
        NotebookClient(
            notebook,
            timeout=cell_seconds,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],
        ).execute()
    finally:
        spent = notebook.cells.pop()
    return Spent(*json.loads(spent.outputs[0].text))
