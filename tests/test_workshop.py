"""The workshop in a box: what participants get, what the teacher reads and shows."""

import ast
import builtins
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import participant
import plain_markdown
import pytest
from plain_markdown import cells, chapters

ROOT = Path(__file__).parents[1]
LABEL = re.compile(r"^:label: ex-(\d\d)-(\d)$", re.MULTILINE)
CHECK = r'exercises\.check\("(\d\d\.\d)"'
every_chapter = pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)

# Runs cells of code one after the other; whoever asks for another machine is refused.
NO_NETWORK = """
import json, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"there is no network: {event} {arguments[1:]}")

sys.addaudithook(refuse)
for code in json.load(sys.stdin):
    exec(code, globals())
"""


@cache
def copy_of(path):
    return participant.participants_copy(path)


def code_of(cells):
    return [cell.source for cell in cells if cell.cell_type == "code"]


def text_of(cells):
    return "\n\n".join(cell.source for cell in cells)


def removed(path):
    """The code of a chapter that participants don't get."""
    kept = code_of(copy_of(path).cells)
    return [code for code in code_of(cells(path)) if code not in kept]


# What participants get.


@every_chapter
def test_no_solution_is_left(path):
    solutions = text_of(cells(path)).count(":::{solution-start}")
    assert len(removed(path)) >= solutions > 0
    text = text_of(copy_of(path).cells)
    assert "solution" not in text
    assert all("solution" in code or code not in text for code in removed(path))


@every_chapter
def test_every_exercise_is_there_with_its_check(path):
    numbers = [".".join(found) for found in LABEL.findall(text_of(cells(path)))]
    copy = copy_of(path)
    headings = re.findall(r"^### Exercise (\d\d\.\d) · .", text_of(copy.cells), re.M)
    assert headings == numbers != []
    code = "\n".join(code_of(copy.cells))
    checked = re.findall(CHECK, "\n".join(code_of(cells(path))))
    assert re.findall(CHECK, code) == sorted(set(checked)) != []


@every_chapter
def test_a_copy_is_a_valid_notebook_that_nobody_has_run(path):
    copy = copy_of(path)
    nbformat.validate(copy)
    assert "widgets" not in copy.metadata
    for cell in copy.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert set(cell.metadata) <= {"jupyter"} and folded in (True, False)
    folded = [cell for cell in copy.cells if cell.metadata]
    tagged = [cell for cell in cells(path) if "hide-input" in str(cell.metadata)]
    assert len(folded) >= len(tagged)


def bound(codes):
    """All names that some code binds, as variables, arguments, functions or modules."""
    found = set()
    for node in (node for code in codes for node in ast.walk(ast.parse(code))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found


def used(codes):
    """All names that some code reads."""
    nodes = [node for code in codes for node in ast.walk(ast.parse(code))]
    return {node.id for node in nodes if isinstance(node, ast.Name)}


@every_chapter
def test_no_cell_needs_a_name_that_a_solution_made(path):
    kept = code_of(copy_of(path).cells)
    gone = bound(removed(path)) - bound(kept) - set(dir(builtins))
    assert not gone & used(kept)


@every_chapter
def test_what_is_outside_of_a_solution_stays(path):
    """All headings, and every picture's code, are in the copy."""
    headings = re.compile(r"^## .+$", re.MULTILINE)
    originals = headings.findall(text_of(cells(path)))
    assert headings.findall(text_of(copy_of(path).cells)) == originals


def test_a_solution_may_begin_and_end_within_a_cell():
    text = "a\n\n:::{solution-start} x\n:::\nno\n:::{solution-end}\n:::\n\nb"
    assert participant.outside(text, False) == (False, "a\n\nb")
    assert participant.outside("no\n\n:::{solution-start} x\n:::", False) == (
        True,
        "no",
    )
    assert participant.outside("hidden", True) == (True, "")
    assert participant.outside("no\n\n:::{solution-end}\n:::", True) == (False, "")


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """The folder of `make participant`."""
    return participant.make(tmp_path_factory.mktemp("box"))


def test_the_box_holds_every_chapter_and_says_how_to_begin(box):
    there = {path.stem for path in (box / "notebooks").iterdir()}
    assert there == {path.stem for path in chapters()}
    start = (box / "START_HERE.md").read_text(encoding="utf-8")
    assert "jupyterlab==" in start and "--extra-index-url http" in start
    assert "rwkv_book doctor" in start


def test_the_package_in_the_box_works_by_itself(box, tmp_path):
    """From the folder, not from where this book is installed: the model is in it."""
    program = (
        "import rwkv_book, sys; from rwkv_book.__main__ import main;"
        "print(rwkv_book.__file__);"
        "sys.exit(main(['generate', '--length', '5', '--prompt', 'DUKE.']))"
    )
    source = box / "package" / "src"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(source)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    where, *text = done.stdout.splitlines()
    assert where.startswith(str(source)) and text[0].startswith("DUKE.")


def test_the_checks_answer_without_a_network():
    """A chapter from top to bottom as participants have it, then its solutions."""
    (path,) = (path for path in chapters() if path.stem.startswith("04"))
    copy = code_of(copy_of(path).cells)
    todo = json.dumps([*copy, "print('=' * 9)", *removed(path)])
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK], input=todo, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    unanswered, solved = done.stdout.split("=" * 9)
    numbers = [".".join(found) for found in LABEL.findall(text_of(cells(path)))]
    for said, verdict in ((unanswered, "Not yet."), (solved, "Right.")):
        verdicts = re.findall(r"^(04\.\d): (Right\.|Not yet\.)", said, re.M)
        assert verdicts == [(number, verdict) for number in numbers]


def test_the_network_is_really_cut_there():
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK],
        input=json.dumps([code]),
        capture_output=True,
        text=True,
    )
    assert "OSError: there is no network" in done.stderr


# Plain Markdown.


def plain(text):
    return plain_markdown.plain(text, chapters()[0], "{}.html".format)


def test_roles_become_words():
    assert plain("a {term}`bag of words`") == "a bag of words"
    assert plain("{term}`FLOPs <FLOP>`") == "FLOPs"
    assert plain("{doc}`the words <appendix/glossary>`") == (
        "[the words](appendix/glossary.html)"
    )
    assert plain("{doc}`appendix/glossary`").startswith("[Notation and glossary](")
    assert plain("norm {cite}`ba2016layernorm`") == "norm (Ba et al. 2016)"
    assert plain("{cite}`hochreiter1997lstm`") == "(Hochreiter and Schmidhuber 1997)"
    assert plain("{cite}`wind2023details`") == "(Wind 2023)"


def test_every_source_can_be_cited():
    for key in plain_markdown.bibliography():
        assert re.fullmatch(r"[^{}\\]+ \d{4}", plain_markdown.cited(key)), key


def test_formulas_are_numbered_as_on_the_page():
    labels = plain_markdown.equations()
    (four,) = (path for path in chapters() if path.stem.startswith("04"))
    (five,) = (path for path in chapters() if path.stem.startswith("05"))
    assert labels["eq-wkv"] == (four, 1)
    assert labels["eq-05-count"] == (five, 8)
    assert plain("{eq}`eq-elman`") == "(1)"
    assert plain("{eq}`eq-wkv`") == "(1) of chapter 4"
    text = "```{math}\n:label: eq-wkv\na = b\n```\nand\n$$\nc\n$$ (eq-05-norm)"
    assert plain(text) == "$$\na = b \\tag{1}\n$$\nand\n$$\nc \\tag{3}\n$$"


def test_boxes_become_headings_and_quotations():
    text = ":::{exercise} Count (check)\n:label: ex-04-1\nHow many?\n:::"
    assert plain(text) == "### Exercise 04.1 · Count (check)\n\nHow many?"
    text = ":::{admonition} Why\n:class: note\nBecause.\n\nSo.\n:::"
    assert plain(text) == "> **Why**\n>\n> Because.\n>\n> So."
    assert plain(":::{note}\nMind.\n:::") == "> **Note**\n>\n> Mind."


@pytest.mark.parametrize(
    "text", ["{ref}`there`", ":::{figure} x\n:::", "```{code-cell}\n1\n```"]
)
def test_what_is_not_known_is_refused(text):
    with pytest.raises(ValueError, match="don't know how to write"):
        plain(text)
