"""Code that a page shows is the code that is imported.

A run of all notebooks would notice too, after minutes; this notices in seconds when a
function changes that some chapter prints.
"""

import ast

import nbformat
import pytest
from helpers import display
from IPython.core.inputtransformer2 import TransformerManager
from IPython.utils.capture import capture_output

from tools import contents

SHOWING = {"source", "beside"}
PAGES = contents.notebooks()


def shows(statement):
    """Whether a call of `show.source` or `show.beside` is in it."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in SHOWING
        and name(node) == "show"
        for node in ast.walk(statement)
    )


def name(attribute):
    return attribute.value.id if isinstance(attribute.value, ast.Name) else None


def computes(statement):
    return any(isinstance(node, ast.Call) for node in ast.walk(statement))


def shown(notebook):
    """[(what a cell shows now, what its stored outputs say)] of a notebook's cells.

    Of the other code only imports and assignments without a call are run.
    """
    display.shell()  # which `show` displays in
    names, found = {}, []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        with capture_output() as captured:
            for statement in statements(cell.source):
                kept = isinstance(statement, ast.Import | ast.ImportFrom) or (
                    isinstance(statement, ast.Assign) and not computes(statement)
                )
                if shows(statement) or kept:
                    try:
                        run(statement, names)
                    except (NameError, LookupError):  # needs what was not computed
                        assert not shows(statement), ast.unparse(statement)
        if now := [output.data["text/plain"] for output in captured.outputs]:
            stored = [
                output["data"]["text/plain"]
                for output in cell.outputs
                if output.output_type == "display_data"
            ]
            found.append((now, stored))
    return found


def statements(source):
    """Those of a cell, whose lines that begin with % are a notebook's own."""
    return ast.parse(TransformerManager().transform_cell(source)).body


def run(statement, names):
    code = compile(ast.Module([statement], []), "a cell", "exec")
    exec(code, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_shown_code_is_the_code_that_is_imported(page):
    for now, stored in shown(nbformat.read(page, as_version=4)):
        for code in now:
            assert code in stored, (
                f"{page.name} shows other code than this; run it again: "
                f"make notebooks NOTEBOOKS={page.relative_to(contents.ROOT)}\n{code}"
            )


def test_changed_code_is_noticed():
    """Seeded: what a page shows of one function is one word off."""
    cell = nbformat.v4.new_code_cell(
        "from rwkv_book import show\nshow.source(show.table)"
    )
    [(now, stored)] = shown(nbformat.v4.new_notebook(cells=[cell]))
    assert "def table(header, rows):" in now[0]
    assert stored == []


def test_calls_of_every_kind_are_found():
    """As many as the notebooks' text has, however they are written."""
    texts = [
        cell.source
        for page in PAGES
        for cell in nbformat.read(page, as_version=4).cells
        if cell.cell_type == "code"
    ]
    written = [t for t in texts if "show.source(" in t or "show.beside(" in t]
    found = [t for t in written if any(map(shows, statements(t)))]
    assert len(written) > 40
    assert found == written
