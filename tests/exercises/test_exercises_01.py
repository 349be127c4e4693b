"""What the checks of chapter 1 say about right answers and about the usual mistakes."""

import math

import pytest
import torch

from rwkv_book.exercises import diagnose
from rwkv_book.exercises.chapter_01 import variant
from rwkv_book.rnn import LstmState, Params

GATE = 0.5**0.01


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("01.1", 0.674),
        ("01.1", math.tanh(1 + 0.5 * math.tanh(0.5 * math.tanh(-1)))),
        ("01.2", math.log(GATE / (1 - GATE))),
        ("01.2", 4.97),
        ("01.5", 0.59),
    ],
)
def test_a_right_number_is_right(number, answer):
    assert diagnose(number, answer).startswith("Right.")


@pytest.mark.parametrize(
    ("number", "answer", "sentence"),
    [
        ("01.1", -0.674, "words are reversed"),
        ("01.1", -0.363, "still to come"),
        ("01.1", 0.762, "“good” alone"),
        ("01.1", 0.818, "last hyperbolic tangent is missing"),
        ("01.1", 0.75, "hyperbolic tangent is missing"),
        ("01.1", 0, "forgets their order"),
        ("01.1", 0.338, "weight of a half"),
        ("01.1", 0.1, "Three times"),
        ("01.1", "x", "should be a number"),
        ("01.2", GATE, "That is the gate"),
        ("01.2", -4.97, "Mind the sign"),
        ("01.2", -math.log(GATE), "invert the sigmoid"),
        ("01.2", 0, "gone after one step"),
        ("01.2", 5, "two decimals"),
        ("01.2", 3, "to the power of 100"),
        ("01.5", 59, "as a fraction"),
        ("01.5", 0.80, "second quarter"),
        ("01.5", 0.74, "gates are not shut"),
        ("01.5", 0.41, "Worse than a coin"),
        ("01.5", 0.515, "[32:64]"),
    ],
)
def test_a_usual_mistake_is_named(number, answer, sentence):
    found = diagnose(number, answer)
    assert found.startswith("Not yet.") and sentence in found, found


def step(**changes):
    def my_step(x, hidden, cell, *params):
        return variant(x, LstmState(hidden, cell), Params(*params), **changes)

    return my_step


def test_a_step_that_is_right_is_right():
    assert diagnose("01.3", step()).startswith("Right.")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (step(order=(0, 2, 1, 3)), "third quarter is the candidate"),
        (step(order=(1, 0, 2, 3)), "input gate comes first"),
        (step(order=(0, 1, 3, 2)), "output gate is last"),
        (step(squash=False), "tanh, not through a sigmoid"),
        (step(shown=False), "goes through tanh first"),
        (step(old=True), "new cell, not the old"),
        (step(tied=True), "not 1 - forget"),
        (lambda *a: step()(*a)[::-1], "Hidden comes first"),
        (lambda *a: (step()(*a)[0], 2 * step()(*a)[1]), "The cell is wrong"),
        (lambda *a: (2 * step()(*a)[0], step()(*a)[1]), "The cell is right; hidden"),
        (lambda *_: (torch.zeros(3), torch.zeros(3)), "returns shape (3,)"),
        (lambda *_: torch.zeros(2, 4), "return two things"),
        (lambda *_: None, "returns nothing"),
    ],
)
def test_a_usual_mistake_in_the_step_is_named(answer, sentence):
    found = diagnose("01.3", answer)
    assert found.startswith("Not yet.") and sentence in found, found


def interval(width=lambda d, first, second: 1.96 * d.std() / len(d) ** 0.5, sign=1):
    def my_interval(first, second):
        difference = sign * (first - second)
        half = width(difference, first, second)
        return (difference.mean() - half).item(), (difference.mean() + half).item()

    return my_interval


def test_an_interval_that_is_right_is_right():
    assert diagnose("01.4", interval()).startswith("Right.")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (interval(sign=-1), "first minus the second"),
        (
            interval(lambda d, a, b: 1.96 * ((a.var() + b.var()) / len(d)).sqrt()),
            "question by question",
        ),
        (interval(lambda d, *_: 1.96 * d.std()), "Divide by √n"),
        (interval(lambda d, *_: d.std() / len(d) ** 0.5), "one standard error"),
        (interval(lambda d, *_: 1.96 * d.var() / len(d) ** 0.5), "its square root"),
        (interval(lambda d, *_: d.std() / 9), "1.96 standard errors"),
        (lambda a, b: interval()(a, b)[::-1], "low end comes first"),
        (lambda a, b: (0.5, 0.6), "difference of the two accuracies"),
        (lambda a, b: 0.03, "return two numbers"),
        (lambda a, b: None, "returns nothing"),
    ],
)
def test_a_usual_mistake_in_the_interval_is_named(answer, sentence):
    found = diagnose("01.4", answer)
    assert found.startswith("Not yet.") and sentence in found, found
