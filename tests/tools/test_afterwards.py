"""A notebook that ran to its end goes on working: figures move, functions answer."""

import subprocess
import sys

import ipywidgets
import nbformat
import pytest
from helpers import display

from tools.checks import afterwards
from tools.checks.ends import live_figures
from tools.contents import ROOT

FIGURE = """
from rwkv_book import show
from rwkv_book.show import live

table = {"one": 1, "two": 2}

def picture(number, text):
    said = f"{text}: {number} is {table[number]}."
    return show.Words([said], [1], said, said)

controls = [
    live.menu("number", "Number", [(name, name) for name in table], 0),
    live.text("text", "Text", "So"),
]
live.Figure("none", "A number", controls, picture, {}).show()
"""
FUNCTION = """
total = 1

def counted(number):
    return total + number

counted(2)
"""


@pytest.fixture
def shell():
    ipywidgets.Widget.close_all()
    shell = display.shell()
    yield shell
    shell.ast_transformers.clear()
    shell.reset()


def after(shell, *cells, figures=1, **options):
    """Runs cells as a notebook does, and what a reader does then."""
    afterwards.begin(shell)
    for cell in cells:
        assert shell.run_cell(cell).success
    afterwards.end(shell, figures, **options)


def test_what_works_at_the_end_is_fine(shell):
    after(shell, FIGURE, FUNCTION, "other = table, total")


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ("table = {'one': 1}", r"Number set to 1: .*KeyError: 'two'"),
        ("table = None", "This can't be drawn"),
        ("del table", "NameError"),
        ("table['one'] = 3", "another picture"),
        ("show = None", "'NoneType' object has no attribute 'Words'"),
    ],
)
def test_a_figure_that_a_later_cell_breaks_is_found(shell, later, said):
    with pytest.raises(AssertionError, match=said):
        after(shell, FIGURE, later)


def test_a_figure_that_cannot_draw_every_text_is_found(shell):
    choosy = FIGURE.replace("said = f", "text[0]; said = f")
    with pytest.raises(AssertionError, match=r"Text set to '': .*IndexError"):
        after(shell, choosy)


def test_a_figure_that_does_not_move_is_missed(shell):
    with pytest.raises(AssertionError, match="0 of 1 figures move"):
        after(shell, FUNCTION)


@pytest.mark.parametrize("later", ["total = None", "del total", "total = 'one'"])
def test_a_function_that_a_later_cell_breaks_is_found(shell, later):
    with pytest.raises(AssertionError, match="counted can't be called again"):
        after(shell, FUNCTION, later, figures=0)


def test_a_function_that_draws_something_else_is_found(shell):
    call = "picture('one', 'So')"
    with pytest.raises(AssertionError, match="picture draws another picture"):
        after(shell, FIGURE, call, "table['one'] = 3")


def test_a_function_is_called_as_it_was_at_first_and_has_its_source(shell):
    calls = "import inspect; given = []", "@str\ndef no(): pass"
    listed = "def listed(*numbers, **named):\n    given.append((numbers, named))"
    used = "listed(1, two=2)\nlisted(3)\nsource = inspect.getsource(listed)"
    after(shell, calls[0], listed, used, figures=0)
    assert shell.user_ns["given"] == [
        ((1,), {"two": 2}),
        ((3,), {}),
        ((1,), {"two": 2}),
    ]
    assert shell.user_ns["source"].strip() == listed


def test_a_function_that_takes_long_is_called_once(shell):
    after(shell, FUNCTION, "total = None", figures=0, short=-1)


def test_a_figure_on_which_something_is_drawn_later_is_no_fault(shell):
    """By the cell that asked for it, and by a function that is called again."""
    begun = "def begun():\n    return show.Figure('Some', 'of three')"
    dotted = "def dotted(figure):\n    figure.axes.plot([1], 'o')\n    return figure"
    drawn = "figure = begun()\nfigure.axes.plot([1, 2])\ndotted(figure)"
    after(shell, FIGURE, begun, dotted, drawn)


def test_what_a_function_was_given_may_be_used_up(shell):
    slope = "def slope(y):\n    return torch.autograd.grad(y, x)"
    call = "slope(x * x)"
    after(
        shell,
        "import torch; x = torch.ones(1).requires_grad_()",
        slope,
        call,
        figures=0,
    )


@pytest.mark.parametrize("broken", [False, True])
def test_nbval_asks_at_the_end_of_a_notebook(tmp_path, broken):
    cells = [FUNCTION, "total = None" if broken else "total = 2"]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
    assert live_figures(notebook) == 0
    nbformat.write(notebook, tmp_path / "a.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "tools.checks.ends", "--nbval"]
    command += ["--nbval-current-env", "-v", str(tmp_path / "a.ipynb")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = "FAILED" if broken else "PASSED"
    assert f"After the last cell {said}" in done.stdout
    assert ("counted can't be called again" in done.stdout) == broken


def test_a_shell_leaves_the_process_its_main_module(shell):
    """Which a process that is spawned looks at, as translation's tests do."""
    assert sys.modules["__main__"] is not shell.user_module
