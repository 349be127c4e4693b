"""Checks of exercises: what they say about right, wrong and broken answers."""

import importlib
import pkgutil

import pytest

from rwkv_book import exercises
from rwkv_book.exercises import CHECKS, Wrong, diagnose
from rwkv_book.exercises.answers import number_of

CHAPTERS = [
    module.name
    for module in pkgutil.iter_modules(exercises.__path__)
    if module.name.startswith("chapter_")
]


@pytest.fixture
def a_check(monkeypatch):
    """An exercise 00.1, which wants the number 7 or a function that gives it."""

    def check(answer):
        value = answer() if callable(answer) else number_of(answer)
        if value != 7:
            raise Wrong(f"{value} is not 7.")
        return "Seven it is."

    monkeypatch.setitem(CHECKS, "00.1", check)
    monkeypatch.setattr(importlib, "import_module", lambda name: None)


def test_a_right_answer_is_told_so(a_check, capsys):
    exercises.check("00.1", 7)
    assert capsys.readouterr().out == "00.1: Right. Seven it is.\n"


def test_a_wrong_answer_is_told_why(a_check):
    assert diagnose("00.1", 8) == "Not yet. 8.0 is not 7."
    assert diagnose("00.1", "seven") == "Not yet. It should be a number, and is text."


@pytest.mark.parametrize("nothing", [None, ...])
def test_no_answer_is_no_error(a_check, nothing):
    assert diagnose("00.1", nothing).startswith("Not yet. Put your answer")


def test_an_answer_that_raises_is_told_where(a_check):
    def broken():
        return 1 / 0

    found = diagnose("00.1", broken)
    assert "ZeroDivisionError: division by zero" in found
    assert "of broken: return 1 / 0" in found


def test_an_exercise_that_there_is_not_is_refused(a_check):
    with pytest.raises(ValueError, match=r"no exercise '00.9'; chapter 00: 00.1"):
        diagnose("00.9", 1)


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
