"""What a reader does after Run All: move a figure, call a function again.

`begin` is called in a notebook's kernel before the first cell, and `end` after the
last; the plugin of pytest, `ends.py`, does it for the notebooks that nbval runs.
`rebound.py` looks for the same fault in the source alone; here it is met by whatever
way it came.
"""

import ast
import functools
import html
import re
import time
import traceback
from typing import NamedTuple

from IPython.utils.capture import capture_output
from ipywidgets import HTML, IntSlider, Text, VBox
from ipywidgets.widgets.widget import _instances as WIDGETS

from rwkv_book.show.pictures import Picture

SHORT = 0.3  # seconds of a core: a function that takes longer isn't called again
TEXTS = "", "It is 3 < 4, and so on & é"
SPENT = "backward through the graph a second time"  # what it was given is used up
RECORDED = "_called_afterwards"


class Call(NamedTuple):
    """A function's first call."""

    function: object
    given: tuple
    named: dict
    seconds: float  # of this process, on all cores
    drawn: str | None  # a picture that it returned and wasn't given


class Recorder(ast.NodeTransformer):
    """Has the first call of each function that a cell defines kept."""

    def visit_Module(self, module):
        for node in module.body:
            if isinstance(node, ast.FunctionDef):
                decorator = ast.Name(RECORDED, ast.Load())
                first = (*node.decorator_list, node)[0]
                node.decorator_list.insert(0, ast.copy_location(decorator, first))
        return module


def begin(shell):
    """Keep the first calls from now on; {name: Call}."""
    calls = {}

    def recorded(function):
        @functools.wraps(function)
        def first(*given, **named):
            name = function.__name__
            if name in calls and calls[name].function is function:
                return function(*given, **named)
            start = time.process_time()
            result = function(*given, **named)
            seconds = time.process_time() - start
            passed = any(result is each for each in (*given, *named.values()))
            new = isinstance(result, Picture) and not passed
            drawn = result.html() if new else None
            calls[name] = Call(function, given, named, seconds, drawn)
            return result

        return first

    shell.user_ns[RECORDED] = recorded
    shell.user_ns[RECORDED + "_calls"] = calls
    shell.ast_transformers.append(Recorder())
    return calls


def end(shell, figures, short=SHORT):
    """Move every live figure, `figures` of them, and call functions again.

    Those, that is, whose first call took no more than `short` seconds. AssertionError
    names what doesn't work any more, or draws something else.
    """
    calls = shell.user_ns[RECORDED + "_calls"]
    boxes = live_figures()
    wrong = [] if len(boxes) == figures else [f"{len(boxes)} of {figures} figures move"]
    with capture_output():
        wrong += [said for box in boxes for said in moved(box)]
        # What draws comes first: a function called again may change what it draws.
        in_turn = sorted(calls, key=lambda name: calls[name].drawn is None)
        wrong += [said for name in in_turn if (said := again(name, calls[name], short))]
    assert not wrong, "At the notebook's end:\n" + "\n".join(wrong)


def live_figures():
    """Boxes of controls above what they draw, as `show.live` makes them."""
    boxes = [each for each in list(WIDGETS.values()) if isinstance(each, VBox)]
    return [box for box in boxes if box.children and isinstance(box.children[-1], HTML)]


def moved(box):
    """What goes wrong when each control is set to its ends, and back to its start."""
    *controls, shown = box.children
    drawn = shown.value
    starts = {control: getattr(control, trait(control)) for control in controls}
    for control, start in starts.items():
        for place in (*ends(control), start):
            setattr(control, trait(control), place)
            if "This can't be drawn." in shown.value:
                said = html.unescape(re.sub("<[^>]*>", "", shown.value))
                yield f"{control.description} set to {place!r}: {said}"
    for control, start in starts.items():  # one may have moved another
        setattr(control, trait(control), start)
    if shown.value != drawn:
        yield f"{controls[0].description} back at its start: another picture"


def trait(control):
    """Which of its traits says where a control stands."""
    return "index" if hasattr(control, "options") else "value"


def ends(control):
    """The first place of a control and the last, or texts of several kinds."""
    if isinstance(control, Text):
        return TEXTS
    if isinstance(control, IntSlider):
        return control.min, control.max
    return 0, len(control.options) - 1


def again(name, call, short):
    """What goes wrong, if anything, when a function is called as it was at first."""
    if call.seconds > short:
        return ""
    try:
        result = call.function(*call.given, **call.named)
    except Exception as error:
        if SPENT in str(error):
            return ""
        return f"{name} can't be called again: {traceback.format_exc(limit=-1)}"
    if call.drawn and result.html() != call.drawn:
        return f"{name} draws another picture than the first time"
    return ""
