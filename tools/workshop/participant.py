"""Make what participants of a workshop get: `make participant`.

A folder, and a zip of it: the chapters as notebooks without solutions and without
outputs, which every participant makes for themselves; the package that they import; and
a page that says how to begin. Nothing else is needed, and once the packages are
installed no network either.
"""

import re
import shutil
import tomllib
from pathlib import Path

import nbformat

from tools.contents import ROOT, SITE, chapters
from tools.notebooks.copies import cleared, without_solutions
from tools.notebooks.plain_markdown import cells

TARGET = ROOT / "_build" / "participant"
NAME = "rwkv-workshop"
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
    notebook.cells = [
        cleared(cell, path, link) for cell in without_solutions(cells(path))
    ]
    return notebook


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
