"""Copies of the notebooks, for wherever people run them.

    python -m tools.notebooks.copies FOLDER
    python -m tools.notebooks.copies --colab FOLDER

`make lab`, Binder, Colab and a hub open such copies. They are written in plain
Markdown, because JupyterLab and Colab don't know the roles and directives of the pages;
no cell has been run, so that a reader can guess first; solutions and what a page hides
are folded. What is in the folder already stays, for somebody may have worked on it.

The second are those that the pages' buttons open in Colab: they install the package at
the commit that is checked out. Whenever the pages are published, so are they, on the
branch PUBLISHED.
"""

import argparse
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import nbformat

from tools import contents
from tools.contents import BOOK, ROOT
from tools.notebooks import install_cell, translated
from tools.notebooks.plain_markdown import exercise_number, plain

IN_BINDER = "notebooks"  # the folder that postBuild and `make lab` name
PUBLISHED = "colab"
BORDER = re.compile(r"(?m)^:::\{solution-(start|end)\} *(.*)\n(?::[a-z].*\n)*:::$")
HIDDEN = {"hide-input", "remove-input", "remove-cell"}  # what a page folds away
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}  # JupyterLab, Colab
CLOSED = {"jp-MarkdownHeadingCollapsed": True}  # JupyterLab: up to the next heading


def copy_of(
    path: Path,
    link: Callable[[str], str],
    revision: str | None = None,
    language: str = "en",
):
    """The notebook of the book as somebody gets it who runs it.

    link      gives the address of a page, named as from the notebook's folder
    revision  what Colab is to install, see `install_cell`
    language  in which its text is, and its figures and checks speak
    """
    notebook = nbformat.read(path, as_version=4)
    if language != "en":
        notebook = translated.page_in(named(path), language)
    notebook.metadata.pop("widgets", None)
    install_cell.insert(notebook, revision)
    copied, before = [], None
    for cell, solves in with_what_they_solve(notebook.cells):
        cell = cleared(cell, path, link, fold=solves)
        if solves and solves != before:
            copied.append(heading(solves))
        if before and not solves and not ends_a_solution(cell):
            raise ValueError(
                f"{path.name}: behind a solution there must be a heading or an "
                f"exercise, all else would be folded with it: {cell.source[:40]!r}"
            )
        copied.append(cell)
        before = solves
    notebook.cells = copied
    if language != "en":
        translated.say_headings(notebook, language)
    return notebook


def named(path):
    """A page's name, such as book/index."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


def ends_a_solution(cell):
    """Whether it is a heading of the rank of `heading`, or above."""
    return cell.cell_type == "markdown" and re.match(r"#{1,4} ", cell.source)


def heading(label):
    """Below it a solution lies folded, up to the next heading of its rank or above."""
    return nbformat.v4.new_markdown_cell(
        f"#### Solution of exercise {exercise_number(label)}",
        id=f"solution-{label}",
        metadata=CLOSED,
    )


def with_what_they_solve(cells):
    """(cell, label of the exercise that it solves or None), copies, without borders.

    A Markdown cell in which a solution begins or ends becomes several. ValueError where
    one does not end.
    """
    solves = None
    for cell in deepcopy(cells):
        if cell.cell_type == "code":
            yield cell, solves
            continue
        identity = cell.id
        text, *more = BORDER.split(cell.source)
        pieces = [(text, solves)]
        for kind, label, text in zip(more[::3], more[1::3], more[2::3], strict=True):
            solves = label.strip() if kind == "start" else None
            pieces.append((text, solves))
        for number, (text, solved) in enumerate(pieces):
            cell.source = text.strip()
            if cell.source:
                yield deepcopy(cell), solved
            cell.id = f"{identity}-{number + 1}"
    if solves:
        raise ValueError(f"the solution of {solves} does not end")


def without_solutions(cells):
    return [cell for cell, solves in with_what_they_solve(cells) if not solves]


def cleared(cell, path, link, *, fold=False):
    """A cell of the notebook `path` as it looks before anybody has run it."""
    if cell.cell_type == "markdown":
        cell.source = plain(cell.source, path, link)
        return cell
    cell.outputs, cell.execution_count = [], None
    fold = fold or HIDDEN & set(cell.metadata.get("tags", []))
    cell.metadata = nbformat.from_dict(FOLDED if fold else {})
    return cell


def beside(path):
    """Links of the notebook `path` to the copies beside it, and to the site's pages."""

    def link(page):
        if (path.parent / page).with_suffix(".ipynb").exists():
            return f"{page}.ipynb"
        return on_the_site(path)(page)

    return link


def beside_in(path, language):
    """The same for a notebook in a folder of its language, in that of the others."""

    def link(page):
        target = (path.parent / page).resolve()
        if not target.with_suffix(".ipynb").exists():
            return on_the_site(path, language)(page)
        if language.has(target.relative_to(ROOT).as_posix()):
            return f"{page}.ipynb"
        up = "../" * len(path.relative_to(BOOK).parts)
        return f"{up}{target.relative_to(BOOK).as_posix()}.ipynb"

    return link


def on_the_site(path, language=None):
    """Links of the notebook `path` to the site's pages, in the language if it can."""

    def link(page):
        name = (path.parent / page).resolve().relative_to(ROOT).as_posix()
        below = f"{language.code}/" if language and language.has(name) else ""
        return f"{contents.SITE}/{below}{name}.html"

    return link


def in_languages():
    """(language, notebook) of all that there is in another language."""
    for language in translated.published():
        for path in contents.notebooks():
            if language.has(named(path)):
                yield language, path


def write(folder):
    """Copy all notebooks that the folder lacks; returns (made, kept)."""
    made, kept = [], []
    for path in contents.notebooks():
        target = folder / path.relative_to(BOOK)
        if target.exists():
            kept.append(target)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(copy_of(path, beside(path)), target)
        made.append(target)
    for language, path in in_languages():
        target = folder / language.code / path.relative_to(BOOK)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            link = beside_in(path, language)
            nbformat.write(copy_of(path, link, language=language.code), target)
    return made, kept


def commit(root=ROOT):
    """The one that is checked out there.

    SystemExit where that is no git repository.
    """
    asked = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True
    )
    if asked.returncode:
        raise SystemExit(
            "Copies for Colab name the commit that they belong to, and git knows none "
            f"here: {asked.stderr.strip()}. Make them in a clone of the repository."
        )
    return asked.stdout.strip()


def write_for_colab(folder, revision):
    """Copy all notebooks below the folder; they install the package at `revision`."""
    for path in contents.notebooks():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(copy_of(path, on_the_site(path), revision), target)
    for language, path in in_languages():
        target = folder / language.code / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        link = on_the_site(path, language)
        nbformat.write(copy_of(path, link, revision, language.code), target)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--colab", action="store_true", help="those that Colab opens")
    asked = parser.parse_args(arguments)
    folder = asked.folder
    if folder.resolve() == ROOT or folder.resolve().is_relative_to(BOOK):
        parser.error(f"{folder} is the book itself: name another folder")
    if asked.colab:
        revision = commit()
        write_for_colab(folder, revision)
        print(f"{len(contents.notebooks())} notebooks of {revision} in {folder}")
        return
    made, kept = write(folder)
    print(f"{len(made)} notebooks made in {folder}")
    if kept:
        print(
            f"{len(kept)} were there and stay as they are: "
            "remove or rename one to get it anew"
        )


if __name__ == "__main__":
    main()
