"""Exercises that answer back: `check("04.2", answer)` says what is wrong, and why.

Each chapter has a module here. A check in it is a function that takes an answer and
raises Wrong with a sentence for the reader, or returns what to say when it is right.
"""

import importlib
import traceback
from collections.abc import Callable

CHECKS: dict[str, Callable] = {}


class Wrong(Exception):
    """What is wrong with an answer, in a sentence that helps."""


def exercise(number):
    """Decorate a check: it becomes the one of exercise `number`, such as "04.2"."""

    def register(function):
        CHECKS[number] = function
        return function

    return register


def check(number, answer):
    """Print whether an answer is right, or else what is wrong with it.

    `answer` is what the exercise asks for: a number, a text, a function. ValueError for
    an exercise that there isn't.
    """
    print(f"{number}: {diagnose(number, answer)}")


def diagnose(number, answer):
    """What `check` says about an answer: "Right. ..." or "Not yet. ..."."""
    chapter = number.partition(".")[0]
    try:
        importlib.import_module(f"{__name__}.chapter_{chapter}")
    except ModuleNotFoundError as error:
        raise ValueError(f"no chapter {chapter!r} has exercises: {error}") from None
    if number not in CHECKS:
        known = ", ".join(sorted(n for n in CHECKS if n.startswith(f"{chapter}.")))
        raise ValueError(f"there is no exercise {number!r}; chapter {chapter}: {known}")
    if answer is None or answer is ...:
        return "Not yet. Put your answer in place of the three dots."
    try:
        return f"Right. {CHECKS[number](answer)}"
    except Wrong as wrong:
        return f"Not yet. {wrong}"
    except Exception as error:  # the reader's code can raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"line {frame.lineno} of {frame.name}: {frame.line}"
        return f"Not yet. It raised {type(error).__name__}: {error} ({where})."


def wrong_unless(condition, sentence):
    """Raise Wrong with the sentence, unless the condition holds."""
    if not condition:
        raise Wrong(sentence)


def number_of(answer):
    """The answer, such as 1.5 or "1,500", as a float; Wrong when it is no number."""
    try:
        return float(answer.replace(",", "") if isinstance(answer, str) else answer)
    except (TypeError, ValueError):
        kind = type(answer).__name__
        raise Wrong(f"It should be a number, and is a {kind}.") from None


def returned(result, shape, what):
    """Wrong unless a function gave something of this shape back."""
    wrong_unless(result is not None, f"The function returns nothing: return {what}.")
    found = getattr(result, "shape", None)
    wrong_unless(
        found is not None and tuple(found) == tuple(shape),
        f"It should return {what} of shape {tuple(shape)}, and returns "
        + (f"shape {tuple(found)}." if found is not None else type(result).__name__),
    )
    return result
