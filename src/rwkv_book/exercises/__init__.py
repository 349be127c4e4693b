"""Exercises that answer back: `check("04.2", answer)` says what is wrong, and why.

Each chapter has a module here. A check in it takes an answer and raises Wrong with a
sentence for the reader, or returns what to say when it is right. Where an answer is a
number, an order, letters or a name, the check is a question whose mistakes are data.

    answers         how an answer is judged
    written_number  the number that a text means
    export          the questions as data for pages without a kernel
    slips           a likely wrong answer to each question that only Python can check
    chapter_01 ...  the exercises of a chapter
"""

import importlib
import traceback
from collections.abc import Callable

from rwkv_book import language
from rwkv_book.exercises.answers import Wrong

CHECKS: dict[str, Callable] = {}


def exercise(number):
    """Decorate a check: it becomes the one of exercise `number`, such as "04.2"."""

    def register(function):
        CHECKS[number] = function
        return function

    return register


def pose(number, question):
    """Make a question whose mistakes are data the check of exercise `number`."""
    CHECKS[number] = question


def check(number, answer):
    """Print whether an answer is right, or else what is wrong with it.

    `answer` is what the exercise asks for: a number, a text, a function. ValueError for
    an exercise that there isn't.
    """
    print(language.say(f"{number}: {diagnose(number, answer)}"))


def diagnose(number, answer):
    """What `check` says about an answer: "Right. ..." or "Not yet. ..."."""
    return verdict(check_of(number), answer)


def check_of(number):
    """The check of exercise `number`; ValueError where there is none."""
    chapter = number.partition(".")[0]
    try:
        importlib.import_module(f"{__name__}.chapter_{chapter}")
    except ModuleNotFoundError as error:
        raise ValueError(f"no chapter {chapter!r} has exercises: {error}") from None
    if number not in CHECKS:
        known = ", ".join(sorted(n for n in CHECKS if n.startswith(f"{chapter}.")))
        raise ValueError(f"there is no exercise {number!r}; chapter {chapter}: {known}")
    return CHECKS[number]


def verdict(check, answer):
    """What is said of an answer on which a check passes judgement."""
    if answer is None or answer is ...:
        return "Not yet. Put your answer in place of the three dots."
    try:
        return f"Right. {check(answer)}"
    except Wrong as wrong:
        return f"Not yet. {wrong}"
    except Exception as error:  # the reader's code can raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"line {frame.lineno} of {frame.name}: {frame.line}"
        return f"Not yet. It raised {type(error).__name__}: {error} ({where})."
