"""Notebooks in normal form: what git can show and nbval can compare.

Execution counts run from 1 to n, cell ids are stable, there are no timestamps, cell
metadata holds tags only, the few lines of notebook metadata are the same everywhere,
and widget ids count up. A second run of an unchanged notebook gives the same bytes,
unless a cell prints a time.
"""

import re

import nbformat

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


def counted(notebook):
    """Number the code cells from 1, with what they gave."""
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number


def normal_form(notebook):
    """The notebook's text, with everything that varies between two runs removed."""
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    metadata = nbformat.from_dict(METADATA)
    if "widgets" in notebook.metadata:
        metadata.widgets = notebook.metadata.widgets
    notebook.metadata = metadata
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    state = metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for model in state.values():  # what is not set, the widget manager knows
        model["state"] = {
            key: value
            for key, value in model["state"].items()
            if value is not None and key != "placeholder"
        }
    names = {name: f"{number:032x}" for number, name in enumerate(state)}  # as created
    text = nbformat.writes(notebook)
    if names:
        text = re.sub("|".join(names), lambda match: names[match[0]], text)
        # Once more, because keys are written sorted, and their names are new.
        text = nbformat.writes(nbformat.reads(text, as_version=4))
    return text.rstrip("\n") + "\n"
