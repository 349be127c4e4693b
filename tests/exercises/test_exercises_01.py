"""What the checks of chapter 1 say about right answers and about the usual mistakes."""

import math

import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_01
from rwkv_book.exercises.chapter_01 import variant
from rwkv_book.rnn import LstmState, Params

GATE = 0.5**0.01


def step(**changes):
    def my_step(x, hidden, cell, *params):
        return variant(x, LstmState(hidden, cell), Params(*params), **changes)

    return my_step


def interval(width=lambda d, first, second: 1.96 * d.std() / len(d) ** 0.5, sign=1):
    def my_interval(first, second):
        difference = sign * (first - second)
        half = width(difference, first, second)
        return (difference.mean() - half).item(), (difference.mean() + half).item()

    return my_interval


ANSWERS = [
    *of(
        "01.1",
        (0.674, "Right."),
        (math.tanh(1 + 0.5 * math.tanh(0.5 * math.tanh(-1))), "Right."),
        (-0.674, "words are reversed"),
        (-0.363, "still to come"),
        (0.762, "“good” alone"),
        (0.818, "last hyperbolic tangent is missing"),
        (0.75, "hyperbolic tangent is missing"),
        (0, "forgets their order"),
        (0.338, "weight of a half"),
        (0.1, "Three times"),
        ("x", "should be a number"),
    ),
    *of(
        "01.2",
        (math.log(GATE / (1 - GATE)), "Right."),
        (4.97, "Right."),
        (GATE, "That is the gate"),
        (-4.97, "Mind the sign"),
        (-math.log(GATE), "invert the sigmoid"),
        (0, "gone after one step"),
        (5, "two decimals"),
        (3, "to the power of 100"),
    ),
    *of(
        "01.3",
        (step(), "Right."),
        (step(order=(0, 2, 1, 3)), "third quarter is the candidate"),
        (step(order=(1, 0, 2, 3)), "input gate comes first"),
        (step(order=(0, 1, 3, 2)), "output gate is last"),
        (step(squash=False), "tanh, not through a sigmoid"),
        (step(shown=False), "goes through tanh first"),
        (step(old=True), "new cell, not the old"),
        (step(tied=True), "not 1 - forget"),
        (lambda *a: step()(*a)[::-1], "Hidden comes first"),
        (lambda *a: (step()(*a)[0], 2 * step()(*a)[1]), "The cell is wrong"),
        (
            lambda *a: (2 * step()(*a)[0], step()(*a)[1]),
            "The cell is right; hidden",
        ),
        (lambda *_: (torch.zeros(3), torch.zeros(3)), "returns shape (3,)"),
        (lambda *_: torch.zeros(2, 4), "return two things"),
        (lambda *_: None, "returns nothing"),
    ),
    *of(
        "01.4",
        (interval(), "Right."),
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
    ),
    *of(
        "01.5",
        (0.59, "Right."),
        (59, "as a fraction"),
        (0.80, "second quarter"),
        (0.74, "gates are not shut"),
        (0.41, "Worse than a coin"),
        (0.515, "[32:64]"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_01, ANSWERS)
