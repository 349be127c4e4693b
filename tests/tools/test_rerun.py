"""Notebooks that are run again: what is stored of a run, and what is not."""

import nbformat
import pytest

from tools.notebooks import install_cell, rerun


@pytest.fixture
def notebook(tmp_path):
    def make(code):
        path = tmp_path / "n.ipynb"
        cells = [nbformat.v4.new_markdown_cell("# Title")]
        cells.append(nbformat.v4.new_code_cell(code))
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return make


def run_again(path):
    with pytest.raises(SystemExit) as ended:
        rerun.main([str(path)])
    return ended.value.code


def test_a_second_run_stores_the_same_bytes(notebook, capsys):
    path = notebook("import os\nprint(os.getcwd() == {!r})\n1 + 1")
    path.write_text(path.read_text().replace("{!r}", repr(str(path.parent))))
    assert run_again(path) == 0
    first = path.read_bytes()
    assert run_again(path) == 0
    assert path.read_bytes() == first
    title, setup, code = nbformat.read(path, as_version=4).cells
    assert setup.source == install_cell.cell_source()
    assert [cell.id for cell in (title, setup, code)] == [
        f"cell-0{n}" for n in (1, 2, 3)
    ]
    printed, result = code.outputs
    assert (printed.text, result.data["text/plain"]) == ("True\n", "2")
    assert (code.execution_count, result.execution_count) == (2, 2)
    assert "MiB at its peak" in capsys.readouterr().out


def test_a_notebook_whose_cell_fails_stays_as_it_is(notebook, capsys):
    path = notebook("1 / 0")
    before = path.read_bytes()
    assert run_again(path) == 1
    assert path.read_bytes() == before
    assert "n.ipynb: not stored, a cell failed" in capsys.readouterr().err
