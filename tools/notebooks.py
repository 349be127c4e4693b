"""Run notebooks in fresh kernels and store them in normal form.

Normal form is what git can show and nbval can compare: execution counts 1..n, stable
cell ids, no timestamps, cell metadata that holds tags only, the same few lines of
notebook metadata everywhere, and widget ids that count up. A second run of an
unchanged notebook gives the same bytes, unless a cell prints a time.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import colab
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

BOOK = Path(__file__).parents[1] / "book"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
PEAK_MEMORY = "from resource import *; print(getrusage(RUSAGE_SELF).ru_maxrss)"


def run(path):
    """Execute the notebook where it lies; returns it and its peak memory in MiB."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    colab.insert(notebook)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK_MEMORY))
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute()
    kilobytes = int(notebook.cells.pop().outputs[0].text)
    return notebook, kilobytes / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def normal_form(notebook):
    """The notebook's text, with everything that varies between two runs removed."""
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    metadata = nbformat.from_dict(METADATA)
    if "widgets" in notebook.metadata:
        metadata.widgets = notebook.metadata.widgets
    notebook.metadata = metadata
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    state = metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for model in state.values():  # what is not set, the widget manager knows
        model["state"] = {
            key: value
            for key, value in model["state"].items()
            if value is not None and key != "placeholder"
        }
    names = {name: f"{number:032x}" for number, name in enumerate(state)}  # as created
    text = nbformat.writes(notebook)
    if names:
        text = re.sub("|".join(names), lambda match: names[match[0]], text)
        # Once more, because keys are written sorted, and their names are new.
        text = nbformat.writes(nbformat.reads(text, as_version=4))
    return text.rstrip("\n") + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all in book/")
    arguments = parser.parse_args()
    failed = False
    for path in arguments.notebooks or sorted(BOOK.rglob("[!.]*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        start = time.perf_counter()
        try:
            notebook, memory = run(path)
        except CellExecutionError as error:
            failed = True
            print(f"{path.name}: not stored, a cell failed\n{error}", file=sys.stderr)
            continue
        path.write_text(normal_form(notebook), encoding="utf-8")
        seconds = time.perf_counter() - start
        print(f"{path.name}: {seconds:.0f} s, {memory:.0f} MiB at its peak")
    sys.exit(failed)


if __name__ == "__main__":
    main()
