"""Checks of exercises: what they say about right, wrong and broken answers."""

import importlib
import pkgutil

import pytest

from rwkv_book import exercises
from rwkv_book.exercises import CHECKS, Wrong, diagnose, verdict
from rwkv_book.exercises.answers import number_of

CHAPTERS = [
    module.name
    for module in pkgutil.iter_modules(exercises.__path__)
    if module.name.startswith("chapter_")
]


def seven(answer):
    """A check that wants the number 7, or a function that gives it."""
    value = answer() if callable(answer) else number_of(answer)
    if value != 7:
        raise Wrong(f"{value} is not 7.")
    return "Seven it is."


def test_a_right_answer_is_told_so():
    assert verdict(seven, 7) == "Right. Seven it is."


def test_a_wrong_answer_is_told_why():
    assert verdict(seven, 8) == "Not yet. 8.0 is not 7."
    assert verdict(seven, "seven") == "Not yet. It should be a number, and is text."


def test_what_is_said_is_printed_behind_the_number(capsys):
    exercises.check("01.1", "seven")
    assert capsys.readouterr().out == f"01.1: {diagnose('01.1', 'seven')}\n"


@pytest.mark.parametrize("nothing", [None, ...])
def test_no_answer_is_no_error(nothing):
    assert verdict(seven, nothing).startswith("Not yet. Put your answer")


def test_an_answer_that_raises_is_told_where():
    def broken():
        return 1 / 0

    found = verdict(seven, broken)
    assert "ZeroDivisionError: division by zero" in found
    assert "of broken: return 1 / 0" in found


def test_an_exercise_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"no exercise '04\.99'; chapter 04: 04\.1, "):
        diagnose("04.99", 1)


def test_a_chapter_without_exercises_is_refused():
    with pytest.raises(ValueError, match="no chapter '99' has exercises"):
        diagnose("99.1", 1)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_check_takes_an_answer_of_any_kind_without_falling_over(chapter):
    importlib.import_module(f"rwkv_book.exercises.{chapter}")
    number = chapter.removeprefix("chapter_")
    checks = [name for name in CHECKS if name.startswith(f"{number}.")]
    assert checks
    for name in checks:
        for answer in (None, ..., 0.123456, "nonsense", [], lambda *_, **__: None):
            assert diagnose(name, answer).startswith("Not yet."), (name, answer)
