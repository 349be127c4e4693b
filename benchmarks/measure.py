"""What every benchmark here does alike: rounds, medians, a table, a record."""

import argparse
import json
import platform
import re
import statistics
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from rwkv_book.compiled.roofline import one_time
from rwkv_book.folders import write_text

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def time_in_rounds(jobs, rounds, device="cpu"):
    """{name: seconds of every round} for {name: function}.

    All jobs take a turn in every round, from the last to the first in every other one,
    so that a neighbour's noise or a warmer chip is shared. Each runs once before.
    """
    for job in jobs.values():
        job()
    seconds = {name: [] for name in jobs}
    for turn in range(rounds):
        for name in list(jobs)[:: -1 if turn % 2 else 1]:
            seconds[name].append(one_time(jobs[name], device))
    return seconds


def median_ratio(seconds, name, to):
    """How many times as long as `to`: the median of the ratios inside the rounds."""
    pairs = zip(seconds[name], seconds[to], strict=True)
    return statistics.median(one / other for one, other in pairs)


def tiny(purpose):
    """Whether the command line asks for a look of a few steps instead of the record.

    From here on PyTorch uses one thread, as for everything that is recorded by pieces.
    """
    parser = argparse.ArgumentParser(description=purpose.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a few steps, no record")
    torch.set_num_threads(1)
    return parser.parse_args().tiny


def print_table(rows):
    """Rows are dictionaries with the same keys; numbers get three digits that count."""
    cells = [list(rows[0]), *([show(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        first, *rest = zip(line, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(text.rjust(n) for text, n in rest)]
        print("  ".join(padded))
    print()


def show(value):
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if 1e-3 <= value < 1000 else f"{value:,.0f}"


def record(question, device, rows, folder=RESULTS, **context):
    """Write <question>-<device>.json: the rows and where they come from."""
    name = device_name(device)
    packages = {
        package: version(package) for package in ("torch", "numpy", "rwkv", "fla-core")
    }
    content = {
        "question": question,
        "device": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": packages,
        "commit": commit(),
        "date": date.today().isoformat(),
        **context,
        "rows": rows,
    }
    folder.mkdir(exist_ok=True)
    slug = re.sub(r"\W+", "-", name.lower()).strip("-")
    path = folder / f"{question}-{slug}.json"
    write_text(path, json.dumps(content, indent=1) + "\n")
    print(f"recorded in {path}")


def device_name(device):
    """The name that the processor gives itself; another device has its own name."""
    if device not in ("cpu", "cuda"):
        return device
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [
            line.split(":", 1)[1] for line in lines if line.startswith("model name")
        ]
        return f"{names[0].strip()} {torch.get_num_threads()} threads"
    except (OSError, IndexError):
        return f"{platform.processor() or platform.machine()}"


def commit():
    """The commit that was measured, with a + when files had changed since."""
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or "unknown"
