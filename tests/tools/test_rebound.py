"""A function of a notebook works as long as the notebook is open."""

import pytest

from tools import contents
from tools.checks.rebound import cells_of, read, rebound

FIGURE = """
def keys_of(text):
    return table[text]

def heard(text):
    return keys_of(text)
"""


@pytest.mark.parametrize("path", contents.notebooks(), ids=lambda path: path.stem)
def test_what_a_function_reads_is_the_same_at_the_notebook_s_end(path):
    assert [str(each) for each in rebound(cells_of(path))] == []


@pytest.mark.parametrize(
    "later",
    [
        "table = 1",
        "first, table = 1, 2",
        "for table in range(3):\n    pass",
        "with open('x') as table:\n    pass",
        "table += 1",
        "import table",
        "def table(): pass",
        "[table := 1]",
    ],
)
def test_a_later_cell_that_wants_the_name_is_found(later):
    cells = map(read, [FIGURE, "table = [0]", "heard(0)", later])
    found = {(each.function, each.name, each.rebound) for each in rebound(list(cells))}
    assert found == {("heard", "table", 4), ("keys_of", "table", 4)}


@pytest.mark.parametrize(
    "later",
    [
        "print(table)",
        "[table for table in range(3)]",
        "def other(table):\n    table = 1",
        "table[0] = 1",
        "(lambda table: table)(1)",
        "other = {'table': 1}",
    ],
)
def test_names_of_other_scopes_are_no_rebinding(later):
    cells = map(read, ["table = [0]", FIGURE, "keys_of(0); heard(0)", later])
    assert rebound(list(cells)) == []


def test_a_global_may_be_made_until_the_function_is_used():
    assert rebound([read(FIGURE), read("table = [0]"), read("heard(table)")]) == []


def test_a_line_for_the_shell_is_no_error():
    assert read("if missing:\n    %pip install it").binds == set()
