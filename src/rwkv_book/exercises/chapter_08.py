"""Exercises of chapter 8, equal terms."""

import math
from dataclasses import replace
from functools import cache
from statistics import mean, stdev, variance

import torch

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    ChoiceQuestion,
    Wrong,
    number_of,
    result,
    wrong_unless,
)
from rwkv_book.labs import contenders
from rwkv_book.rwkv4.model import Config
from rwkv_book.text import corpora
from rwkv_book.training import fit, join
from rwkv_book.training.ablations import SMALL, learn

BETTER = 0.05  # nats per byte, in SMALL
WORSE = 0.2  # nats per byte, in TRANSFORMER
TRANSFORMER = replace(SMALL, width=32, steps=60, warm_up=6, learning_rate=8e-3)
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # Student's t for so many differences
REPORT = {
    "a": "Widths may differ: what is equal is the number of parameters, and a layer of "
    "each network has a different number of matrices.",
    "b": "An hour each is equal time, and the claim is about equal text: the faster "
    "network has read 15 million bytes more.",
    "c": "One network had eight tries at a rate, the other one, from a paper, for a "
    "different size and length.",
    "d": "The best of ten against one is a difference that ten draws of the same "
    "network would show as well.",
    "e": "The same windows in the same order take one cause of chance away from both.",
    "f": "A token out of 50,000 is several bytes long, so its nats can't be "
    "compared with those of a byte: divide by the bytes.",
    "g": "Neither has read any byte twice, so there is little for dropout to prevent.",
}
UNFAIR = "bcdf"


@cache
def end_with(rate):
    """Where SMALL ends with a learning rate, in nats per byte."""
    return mean(learn(replace(SMALL, learning_rate=rate))[1][-10:])


@exercise("08.1")
def rate(answer):
    """A learning rate with which SMALL ends lower by BETTER nats per byte."""
    answer = number_of(answer)
    wrong_unless(answer > 0, "A learning rate is above 0.")
    wrong_unless(
        answer <= 1,
        "That rate moves every number by more than 1 a step. Or is it a loss? The "
        "answer is the rate.",
    )
    better = end_with(SMALL.learning_rate) - end_with(answer)
    wrong_unless(
        better >= BETTER,
        f"With {answer:g} the run ends {abs(better):.3f} nats per byte "
        f"{'lower' if better > 0 else 'higher'} than with {SMALL.learning_rate:g}, and "
        f"it should be {BETTER} lower: try powers of two, in both directions.",
    )
    return (
        f"Lower by {BETTER} or more. Now ask whether it still is after ten times as "
        "many steps, and with another seed."
    )


pose(
    "08.2",
    ChoiceQuestion(
        right=UNFAIR,
        mistakes={
            letter: f"There is nothing unfair in {letter}. {told}"
            for letter, told in REPORT.items()
            if letter not in UNFAIR
        },
        hint="True as far as it goes, and there is more: {missing} still to find. For "
        "each letter ask what one network was given and the other was not.",
        praise=" ".join(REPORT[letter] for letter in UNFAIR),
    ),
)

OURS = {0: 1.62, 1: 1.58, 2: 1.67, 3: 1.60}
THEIRS = {3: 1.65, 5: 1.90, 2: 1.70, 0: 1.65}
SHARED = (0, 2, 3)


def interval_of(differences, t=None, root=True, spread=stdev):
    """mean ± t s / √n"""
    n, middle = len(differences), mean(differences)
    half = (t or T95[n]) * spread(differences) / (math.sqrt(n) if root else 1)
    return middle - half, middle + half


def unpaired(one, other):
    """The interval for one who forgets which losses belong together."""
    n, middle = len(one), mean(one) - mean(other)
    half = T95[n] * math.sqrt((stdev(one) ** 2 + stdev(other) ** 2) / n)
    return middle - half, middle + half


def population(values):
    """The standard deviation with n in place of n - 1."""
    return stdev(values) * math.sqrt((len(values) - 1) / len(values))


def close(one, other):
    pairs = zip(one, other, strict=True)
    return all(math.isclose(a, b, abs_tol=2e-4) for a, b in pairs)


@exercise("08.3")
def paired(answer):
    """An interval on the difference of two networks, from {seed: loss} of each."""
    wrong_unless(callable(answer), "It should be a function of ours and theirs.")
    found = answer(dict(OURS), dict(THEIRS))
    wrong_unless(found is not None, "The function returns nothing: return low, high.")
    try:
        low, high = (number_of(end) for end in found)
    except (TypeError, ValueError):
        raise Wrong("It should return two numbers, low and high.") from None
    differences = [OURS[seed] - THEIRS[seed] for seed in SHARED]
    in_order = [a - b for a, b in zip(OURS.values(), THEIRS.values(), strict=True)]
    right = interval_of(differences)
    result(
        (low, high),
        right,
        (
            (right[::-1], "Nearly: low comes first, then high."),
            (
                (-right[1], -right[0]),
                "The sign is turned: it should be ours minus theirs, below 0 where "
                "ours is better.",
            ),
            (
                (mean(differences), (right[1] - right[0]) / 2),
                "That is the middle and half of the width. Return both ends.",
            ),
            (
                interval_of(in_order),
                "Paired by their places in the dictionaries. Seed 1 has nothing to do "
                "with seed 5: take the seeds that both have.",
            ),
            (
                unpaired(*([side[seed] for seed in SHARED] for side in (OURS, THEIRS))),
                "Not paired: you took the spread of each side. What the seeds share, "
                "the text that they read, should drop out first: subtract seed by "
                "seed, then take the spread of the differences.",
            ),
            (
                unpaired(list(OURS.values()), list(THEIRS.values())),
                "Not paired, and with seeds that only one side has: drop those, and "
                "subtract seed by seed.",
            ),
            (
                interval_of(differences, t=1.96),
                "1.96 is for many seeds. With 3 differences their spread itself is "
                "poorly known, and t is 4.30.",
            ),
            (
                interval_of(differences, t=T95[4]),
                "t for 4, but only 3 seeds are in both: count the differences.",
            ),
            (
                interval_of(differences, t=T95[2]),
                "t is listed by the number of differences, which is 3: take 4.30.",
            ),
            (
                interval_of(differences, spread=lambda gaps: stdev(gaps) / 3**0.5),
                "Divide by the root of their number, not by the number.",
            ),
            (
                interval_of(differences, spread=lambda gaps: stdev(gaps) * 1.5**0.5),
                "The root is that of n, not of n - 1: it is the standard deviation "
                "that has n - 1 in it.",
            ),
            (
                interval_of(differences, spread=variance),
                "That has the variance: take its root, the standard deviation.",
            ),
            (
                interval_of(differences, root=False),
                "The standard deviation is that of one difference; that of their mean "
                "is smaller by the root of their number.",
            ),
            (
                interval_of(differences, spread=population),
                "The standard deviation divides by n; with so few, divide by n - 1 "
                "(stdev in statistics, ddof=1 in NumPy).",
            ),
        ),
        "That is not mean ± t·s/√n of the differences, seed by seed, between the seeds "
        "that both have.",
        close,
    )
    return (
        "From -0.07 to -0.01: below 0, so it is not luck alone. The two sides "
        "overlapped, and the pairs do not."
    )


@cache
def begun_with(factor):
    """The first loss and the end of TRANSFORMER, its matrices times a factor."""
    torch.manual_seed(TRANSFORMER.seed)
    size = Config(256, TRANSFORMER.layers, TRANSFORMER.width)
    network = contenders.build("gpt-rotary", size)
    for weights in network.parameters():
        if weights.ndim == 2:
            weights.data *= factor
    data = join(corpora.load(TRANSFORMER.corpus).training)
    losses = [loss.item() for loss in fit(network, TRANSFORMER, data)]
    return losses[0], mean(losses[-10:])


@exercise("08.4")
def begin_too_large(answer):
    """A factor above 1 with which a transformer ends higher by WORSE."""
    factor = number_of(answer)
    wrong_unless(
        factor > 1,
        "The page has shown what becomes of a factor below 1. Break it on the other "
        "side.",
    )
    wrong_unless(factor <= 1000, "Smaller: at most 1,000.")
    first, end = begun_with(factor)
    worse = end - begun_with(1.0)[1]
    wrong_unless(
        worse >= WORSE,
        f"With {factor:g} the run ends {worse:+.2f} nats per byte from where it did, "
        f"and it should be {WORSE} or more above: larger.",
    )
    return (
        f"The first loss is {first:.1f}, where guessing costs 5.5: a network that "
        "begins too large begins sure, and wrong, and spends its steps on unlearning."
    )
