"""The first cell of every notebook, which installs the package where it is missing."""

import importlib.util
from pathlib import Path

import colab
import nbformat
import notebooks
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(
    path
    for path in (ROOT / "book").rglob("*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_notebook_has_it_behind_its_title(path):
    """`python tools/colab.py` puts it there."""
    title, cell, *others = nbformat.read(path, as_version=4).cells
    assert title.cell_type == "markdown"
    assert title.source.startswith("# ")
    assert cell.source == colab.cell_source()
    assert cell.metadata.tags == ["remove-cell"]
    assert not any(other.source.startswith(colab.FIRST_LINE) for other in others)


class Notebook:
    """Stands for IPython, and notes which magic was asked for."""

    def __init__(self):
        self.asked = []

    def run_line_magic(self, name, line):
        self.asked.append(f"%{name} {line}")


def run():
    asked = Notebook()
    code = TransformerManager().transform_cell(colab.cell_source())
    exec(code, {"get_ipython": lambda: asked})
    return asked.asked


def test_where_the_package_is_installed_it_does_nothing():
    assert run() == []


def test_where_it_is_missing_it_comes_from_the_branch_of_the_buttons(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    repository = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]
    package, others = run()
    assert package.endswith(f"git+{repository['url']}@{repository['branch']}")
    assert "--no-deps" in package
    # PyTorch and NumPy are there, and large: nothing here may exchange them.
    assert set(others.split()[3:]) <= set(pins())
    assert {pin.split("==")[0] for pin in others.split()[3:]} == set(colab.LACKING)


def pins():
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    return [line.strip(' ",') for line in lines if "==" in line]


def test_putting_it_there_twice_changes_nothing_and_counts_from_one():
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell(
            "1",
            execution_count=1,
            outputs=[nbformat.v4.new_output("execute_result", execution_count=1)],
        ),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    colab.insert(notebook)
    once = notebooks.normal_form(notebook)
    colab.insert(notebook)
    assert notebooks.normal_form(notebook) == once
    setup, code = notebook.cells[1:]
    assert (setup.execution_count, code.execution_count) == (1, 2)
    assert code.outputs[0].execution_count == 2
