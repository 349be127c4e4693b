"""Make what participants of a workshop get: `make participant`.

A folder, and a zip of it: the chapters as notebooks without solutions and without
outputs, which every participant makes for themselves; the package that they import; and
a page that says how to begin. Nothing else is needed, and once the packages are
installed no network either.
"""

import re
import shutil
import tomllib
from copy import deepcopy
from pathlib import Path

import nbformat
from plain_markdown import ROOT, SITE, cells, chapters, plain

TARGET = ROOT / "_build" / "participant"
NAME = "rwkv-workshop"
BEGINS = re.compile(r"(?m)^:::\{solution-start\}")
ENDS = re.compile(r"(?ms)^.*?^:::\{solution-end\}\n:::$\n*")
HIDDEN = {"hide-input", "remove-input", "remove-cell"}  # what a page folds away
PACKAGE = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "LICENSE-text",
    "src/rwkv_book",
    "benchmarks/results",
)
START = """\
# Begin here

In this folder, once, with Python 3.11 or newer (about 2 GB of packages, so do it where
the network is good):

```
python3 -m venv env
env/bin/python -m pip install {index} ./package jupyterlab=={jupyterlab}
env/bin/python -m rwkv_book doctor
```

On Windows write `py` for `python3`, and `env\\Scripts\\python` for `env/bin/python`.
The last line says whether all is well, and what to do if not. Then, each time:

```
env/bin/python -m jupyterlab notebooks
```

The notebooks are the chapters of the RWKV book without solutions and without outputs:
run them cell by cell, and guess before you look. An exercise ends in a cell with three
dots; put your answer there and run it, and it says what is wrong. The whole book, with
outputs and solutions, is at {site}.
"""


def main():
    folder = make(TARGET)
    archive = shutil.make_archive(folder, "zip", folder.parent, folder.name)
    for path in (folder, Path(archive)):
        print(path.relative_to(ROOT))


def make(target):
    """Everything, in a folder below `target`, which is made anew."""
    folder = target / NAME
    shutil.rmtree(target, ignore_errors=True)
    (folder / "notebooks").mkdir(parents=True)
    for path in chapters():
        nbformat.write(participants_copy(path), folder / "notebooks" / path.name)
    for name in PACKAGE:
        copy(ROOT / name, folder / "package" / name)
    (folder / "START_HERE.md").write_text(start(), encoding="utf-8")
    return folder


def participants_copy(path):
    """A chapter as a notebook without solutions and outputs, in plain Markdown."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    notebook.cells = [cleared(cell, path) for cell in without_solutions(cells(path))]
    return notebook


def without_solutions(cells):
    """The cells outside of solutions, and what is outside in a cell with a border."""
    kept, inside = [], False
    for cell in deepcopy(cells):
        if cell.cell_type == "markdown":
            inside, cell.source = outside(cell.source, inside)
            if cell.source:
                kept.append(cell)
        elif not inside:
            kept.append(cell)
    if inside:
        raise ValueError("a solution does not end")
    return kept


def outside(text, inside):
    """Whether a solution is open after some Markdown, and what stands outside of it."""
    kept = ""
    while text:
        if inside and not ENDS.match(text):
            text = ""
        elif inside:
            text, inside = ENDS.sub("", text, count=1), False
        else:
            begins = BEGINS.search(text)
            kept += text[: begins.start()] if begins else text
            text, inside = text[begins.start() :] if begins else "", bool(begins)
    return inside, kept.strip()


def cleared(cell, path):
    """A cell as it looks before anybody has run it."""
    if cell.cell_type == "markdown":
        cell.source = plain(cell.source, path, link)
        return cell
    cell.outputs, cell.execution_count = [], None
    folded = HIDDEN & set(cell.metadata.get("tags", []))
    cell.metadata = nbformat.from_dict(
        {"jupyter": {"source_hidden": True}} if folded else {}
    )
    return cell


def link(page):
    """A chapter lies beside the notebook, any other page is on the site."""
    if any(path.stem == page for path in chapters()):
        return f"{page}.ipynb"
    return f"{SITE}/book/{page}.html"


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def start():
    """The page that says how to begin, with the versions of the book."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]["book"]
    (pin,) = [line for line in extras if line.startswith("jupyterlab==")]
    environment = (ROOT / "environment.yml").read_text(encoding="utf-8")
    index = re.search(r"--extra-index-url \S+", environment)[0]
    version = pin.partition("==")[2]
    return START.format(index=index, jupyterlab=version, site=SITE)


if __name__ == "__main__":
    main()
