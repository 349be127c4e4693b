"""Exercises of chapter 8, equal terms."""

from dataclasses import replace
from functools import cache
from statistics import mean

from rwkv_book.exercises import exercise
from rwkv_book.exercises.answers import number_of, wrong_unless
from rwkv_book.training.ablations import SMALL, learn

BETTER = 0.05  # nats per byte, in SMALL


@cache
def end_with(rate):
    """Where SMALL ends with a learning rate, in nats per byte."""
    return mean(learn(replace(SMALL, learning_rate=rate))[1][-10:])


@exercise("08.1")
def rate(answer):
    """A learning rate with which SMALL ends lower by BETTER nats per byte."""
    answer = number_of(answer)
    wrong_unless(answer > 0, "A learning rate is above 0.")
    wrong_unless(answer <= 1, "That rate moves every number by more than 1 a step.")
    better = end_with(SMALL.learning_rate) - end_with(answer)
    wrong_unless(
        better >= BETTER,
        f"With {answer:g} the run ends {abs(better):.3f} nats per byte "
        f"{'lower' if better > 0 else 'higher'} than with {SMALL.learning_rate:g}, and "
        f"{BETTER} lower are asked for: try powers of two, in both directions.",
    )
    return (
        f"Lower by {BETTER} or more. Now ask whether it still is after ten times as "
        "many steps, and with another seed."
    )
