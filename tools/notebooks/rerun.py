"""Run notebooks in fresh kernels and store them in normal form: `make notebooks`."""

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

from rwkv_book import folders
from tools import contents
from tools.notebooks import install_cell, running
from tools.notebooks.normal_form import METADATA, normal_form


def again(path):
    """(the notebook as it is after a run where it lies, its peak memory in bytes)"""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    install_cell.insert(notebook)
    return notebook, running.run(notebook, path.parent, cell_seconds=300).peak


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: the book's")
    arguments = parser.parse_args(arguments)
    failed = False
    for path in arguments.notebooks or contents.notebooks():
        start = time.perf_counter()
        try:
            notebook, peak = again(path)
        except CellExecutionError as error:
            failed = True
            print(f"{path.name}: not stored, a cell failed\n{error}", file=sys.stderr)
            continue
        folders.write_text(path, normal_form(notebook))
        seconds = time.perf_counter() - start
        print(f"{path.name}: {seconds:.0f} s, {peak / 2**20:.0f} MiB at its peak")
    sys.exit(failed)


if __name__ == "__main__":
    main()
