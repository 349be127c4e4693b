"""A function of a module in the place of another, and the module as it was."""

import ast
import math
from types import ModuleType

import pytest

from rwkv_book.labs.replacing import replaced
from tools.contents import ROOT


def module():
    made = ModuleType("made")
    exec("def one(): return 1\ndef two(): return 2 * one()", vars(made))
    return made


def test_others_call_what_stands_there_and_later_the_original():
    made = module()
    with replaced(made, one=lambda: 10):
        assert made.two() == 20
    assert made.two() == 2


def test_an_error_inside_leaves_the_module_as_it_was():
    made = module()
    with pytest.raises(ZeroDivisionError), replaced(made, one=lambda: 1 / 0):
        made.two()
    assert made.two() == 2


def test_a_function_that_is_not_there_can_not_be_replaced():
    before = dict(vars(math))
    other = replaced(math, cos=abs, cosinus=abs)
    with pytest.raises(AttributeError, match="cosinus"), other:
        pass
    assert dict(vars(math)) == before


def test_nothing_that_is_shipped_needs_a_library_for_tests():
    sources = [*ROOT.glob("src/**/*.py"), *ROOT.glob("tools/**/*.py")]
    assert len(sources) > 200
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            roots = {name.partition(".")[0] for name in names}
            assert not roots & {"unittest", "pytest", "mock"}, path
