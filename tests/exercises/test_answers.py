"""How answers are judged, and that the data of all questions can be judged by."""

import importlib
import math
import pkgutil
import re
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from rwkv_book import exercises
from rwkv_book.exercises import CHECKS, answers, diagnose
from rwkv_book.exercises.answers import (
    ChoiceQuestion,
    NameQuestion,
    NumberQuestion,
    OrderQuestion,
    Span,
    Wrong,
    around,
    letters_of,
    number,
    number_of,
    order_of,
    plain,
    returned,
    span_of,
)

for module in pkgutil.iter_modules(exercises.__path__):
    importlib.import_module(f"{exercises.__name__}.{module.name}")


def posed(kind):
    return sorted(name for name, check in CHECKS.items() if isinstance(check, kind))


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (7, 7),
        (1.5, 1.5),
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (np.array(2.5), 2.5),
        (torch.tensor(2.5), 2.5),
        (torch.tensor(2.5, requires_grad=True), 2.5),
        (torch.tensor(3), 3),
        (Fraction(1, 4), 0.25),
        (Decimal("0.25"), 0.25),
        ("1.5", 1.5),
        (np.str_("1.5"), 1.5),
        (" -3.08 ", -3.08),
        ("\N{MINUS SIGN}3.08", -3.08),
        ("+3", 3),
        (".5", 0.5),
        ("1e5", 1e5),
        ("8.52e+20", 8.52e20),
        ("1,500", 1500),
        ("12,345,678", 12_345_678),
        ("-1,500.25", -1500.25),
        ("1_500", 1500),
    ],
)
def test_a_number_is_read_however_it_is_written(answer, value):
    assert number_of(answer) == value


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("1,5", "Write 1.5 for 1,5: a point goes before the fraction"),
        ("3,14", "Write 3.14 for 3,14"),
        ("0,123", "Write 0.123 for 0,123"),
        ("-3,08", "Write -3.08 for -3,08"),
        ("1500,25", "Write 1500.25 for 1500,25"),
        ("1.500,5", "Write 1500.5 for 1.500,5"),
        ("1 500,5", "Write 1500.5 for 1 500,5"),
        ("1.500.000", "Write 1500000 for 1.500.000."),
        ("1 500", "Write 1500 for 1 500."),
        ("1\N{NARROW NO-BREAK SPACE}500.5", "Write 1500.5 for 1"),
        ("50 %", "Write 0.5 for 50 %."),
        ("36.9%", "Write 0.369 for 36.9%."),
        ("1/3", "Work 1/3 out first. (In Python, no quotation marks"),
        ("2 * (3 + 4)", "Work 2 * (3 + 4) out first."),
        ("2**10", "no quotation marks"),
        ("3 bytes", "Write the number alone, without its unit: 3."),
        ("45 µs", "without its unit: 45."),
        ("1,500 tokens", "without its unit: 1,500."),
        ("seven", "It should be a number, and is text."),
        ("", "It should be a number, and is text."),
        ("1_5", "It should be a number, and is text."),
        ("1,50,000", "It should be a number, and is text."),
        ("nan", "It should be a number, and is text."),
        (True, "It should be a number, and is a bool."),
        (np.True_, "It should be a number, and is a bool."),
        (torch.tensor(True), "It should be a number, and is a bool."),
        (1j, "It should be a number, and is a complex."),
        (torch.tensor(1j), "It should be a number, and is a complex."),
        (b"7", "It should be a number, and is a bytes."),
        ([7], "It should be a number, and is a list."),
        ({7}, "It should be a number, and is a set."),
        (np.array([7.0]), "It should be a number, and is a ndarray."),
        (torch.tensor([7.0]), "It should be a number, and is a Tensor."),
        (math.nan, "It should be a finite number, and is nan."),
        (-math.inf, "It should be a finite number, and is -inf."),
        (torch.tensor(torch.nan), "It should be a finite number, and is nan."),
        (10**400, "It should be a finite number, and is inf."),
        ("1e999", "It should be a finite number, and is inf."),
        (None, "is None: does your function return it?"),
    ],
)
def test_what_is_no_number_hears_what_it_is_or_what_to_write(answer, sentence):
    with pytest.raises(Wrong, match=re.escape(sentence)):
        number_of(answer)


def test_a_number_within_the_tolerance_is_the_right_one():
    def judge(value, **tolerance):
        return number(value, 200, {100: "Twice that."}, "Count.", **tolerance)

    assert judge("200") == 200
    assert judge(203, absolute=3) == judge(203, relative=0.015) == 203
    for value, tolerance, sentence in (
        (203.1, {"absolute": 3}, "Count."),
        (203.1, {"relative": 0.015}, "Count."),
        (102, {"absolute": 3}, "Twice that."),
        (200.001, {}, "Count."),
        (100.001, {}, "Count."),
    ):
        with pytest.raises(Wrong, match=sentence):
            judge(value, **tolerance)


def test_of_two_mistakes_that_fit_the_first_is_named():
    mistakes = {1: "One.", Span(0, 2): "Few.", around(10, absolute=1): "Ten."}
    for value, sentence in ((1, "One."), (2, "Few."), (9, "Ten."), (12, "Many.")):
        with pytest.raises(Wrong, match=sentence):
            number(value, 5, mistakes, "Many.")


@pytest.mark.parametrize(
    "answer", ["ab", {"a", "b"}, {"a": 1, "b": 2}, ["a"], ["a", "b", "b"], ["a", 1], 3]
)
def test_an_order_is_a_list_with_each_name_once(answer):
    with pytest.raises(Wrong, match=r"a list with each of these names once: a, b\."):
        order_of(answer, ("b", "a"))


def test_what_a_function_gives_back_is_measured():
    class Array:
        shape = (2, 3)

    assert isinstance(returned(Array(), (2, 3), "logits"), Array)
    for result, sentence in (
        (None, "returns nothing: return logits"),
        (5, "logits of shape (3,), and returns int."),
        ([], "logits of shape (3,), and returns list."),
        ((5, 6), "logits of shape (3,), and returns tuple."),
        ([Array(), Array()], "a list of 2: torch.stack makes one of them."),
        (Array(), "logits of shape (3,), and returns shape (2, 3)"),
    ):
        with pytest.raises(Wrong, match=re.escape(sentence)):
            returned(result, (3,), "logits")


def test_mistakes_are_made_only_until_one_fits():
    def mistakes():
        yield 1, "One."
        yield 2, "Two."
        raise AssertionError("this mistake was not needed")

    def same(one, other):
        return one == other

    answers.result(5, 5, mistakes(), "Count.", same)
    with pytest.raises(Wrong, match="Two"):
        answers.result(2, 5, mistakes(), "Count.", same)


@pytest.mark.parametrize("name", posed(NumberQuestion))
def test_every_mistake_hears_a_sentence_of_its_own(name):
    question = CHECKS[name]
    for mistake, sentence in question.mistakes.items():
        low, high = span_of(mistake)
        within = [low + step / 100 for step in range(101) if low + step / 100 <= high]
        assert f"Not yet. {sentence}" in {diagnose(name, value) for value in within}
    right = span_of(question.right)
    praise = question.praise.format(answer=right.low)
    assert diagnose(name, right.low) == f"Right. {praise}"
    hint = question.hint.format(answer=-1.2345e30)
    assert diagnose(name, -1.2345e30) == f"Not yet. {hint}"


@pytest.mark.parametrize("name", posed(NumberQuestion))
def test_no_mistake_is_near_the_right_number_or_another_mistake(name):
    """A later one may be a wider net that holds all of an earlier one."""
    question = CHECKS[name]
    values = question.right, *question.mistakes
    spans = [span_of(value, question.relative, question.absolute) for value in values]
    for first, later in combinations(spans, 2):
        apart = first.high <= later.low or later.high <= first.low
        around_it = later.low <= first.low and first.high <= later.high
        assert first != later and (apart or around_it), (first, later)


@pytest.mark.parametrize("name", posed(OrderQuestion))
def test_every_wrong_order_hears_why(name):
    question = CHECKS[name]
    for order in permutations(question.right):
        hits = sum(map(str.__eq__, order, question.right))
        sentence = question.mistakes.get(order, question.hint.format(hits=hits))
        wanted = "Right. " + question.praise
        if order != question.right:
            assert len(sentence.split()) > 3
            wanted = "Not yet. " + sentence
        assert diagnose(name, list(order)) == wanted


@pytest.mark.parametrize("answer", ["gab", "a, b, g", ["b", "A", "g"], {"g", "a", "b"}])
def test_letters_are_read_however_they_are_listed(answer):
    assert letters_of(answer, "abcdefg") == ["a", "b", "g"]


@pytest.mark.parametrize("answer", ["", "xyz", "a1\u00e9", 3, [1, 2], [], None])
def test_what_is_no_choice_hears_which_letters_there_are(answer):
    with pytest.raises(Wrong, match="letters from a to g, such as 'ag'"):
        letters_of(answer, "abcdefg")


@pytest.mark.parametrize("name", posed(ChoiceQuestion))
def test_a_wrong_letter_hears_why_and_a_missing_one_how_many(name):
    question = CHECKS[name]
    assert not set(question.right) & set(question.mistakes)
    for letter, sentence in question.mistakes.items():
        assert diagnose(name, letter) == f"Not yet. {sentence}"
    hint = question.hint.format(missing=len(question.right) - 1)
    for letter in question.right:
        assert diagnose(name, letter) == f"Not yet. {hint}"
    assert diagnose(name, question.right[::-1]) == f"Right. {question.praise}"


@pytest.mark.parametrize("name", posed(NameQuestion))
def test_every_name_hears_its_own_sentence_however_it_is_spelt(name):
    question = CHECKS[name]
    known = [*map(plain, question.right), *map(plain, question.mistakes)]
    assert len(set(known)) == len(known) and "" not in known
    for mistake, sentence in question.mistakes.items():
        for spelt in (mistake, mistake.upper() + " ", f"{mistake}, I think"):
            assert diagnose(name, spelt) == f"Not yet. {sentence}"
    for right in question.right:
        assert diagnose(name, right.lower()) == f"Right. {question.praise}"
    assert diagnose(name, "?") == f"Not yet. {question.hint}"
