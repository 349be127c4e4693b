"""A plugin of pytest: notebooks that nbval runs are used once more at their end.

In the kernel of each notebook `afterwards.begin` is called before the first cell and
`afterwards.end` after the last one. What two notebooks train alike is trained once.
"""

from collections import defaultdict

import nbformat
from nbval.plugin import IPyNbCell

from tools.checks import once
from tools.contents import ROOT

CALL = """
def _afterwards():
    import sys
    sys.path.append({root!r})
    from tools.checks import afterwards, once
    {call}

_afterwards()
"""


def pytest_collection_modifyitems(items):
    for notebook in dict.fromkeys(item.parent for item in items):
        cells = [item for item in items if item.parent is notebook]
        if isinstance(cells[0], IPyNbCell):
            start, stop = items.index(cells[0]), items.index(cells[-1]) + 1
            figures = live_figures(notebook.nb)
            last = f"afterwards.end(get_ipython(), figures={figures})"
            items.insert(stop, cell(notebook, "After the last cell", len(cells), last))
            first = "afterwards.begin(get_ipython())"
            if trains_the_small_gpt(notebook.nb):
                first += "; once.begin()"
            items.insert(start, cell(notebook, "Before the first cell", -1, first))


def pytest_sessionfinish(session):
    if worker := getattr(session.config, "workerinput", None):
        once.end(worker["testrunuid"])


def trains_the_small_gpt(notebook):
    return any("training.quick_gpt(" in cell.source for cell in notebook.cells)


def live_figures(notebook):
    """How many live figures a notebook shows."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = (output.get("data", {}).get("text/html", "") for output in outputs)
    return sum("data-live=" in html for html in shown)


def cell(notebook, name, number, call):
    """A test that runs in the notebook's kernel, and has no output to compare."""
    source = CALL.format(root=str(ROOT), call=call)
    return IPyNbCell.from_parent(
        notebook,
        name=name,
        cell_num=number,
        cell=nbformat.v4.new_code_cell(source),
        options=defaultdict(bool),
    )
