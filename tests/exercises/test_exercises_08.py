"""What the checks of chapter 8 say about right answers and about the usual mistakes."""

from statistics import mean, stdev

import numpy as np
import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_08


def differences(ours, theirs):
    return np.array([ours[seed] - theirs[seed] for seed in ours if seed in theirs])


def interval(gaps, t=4.30, ddof=1, root=True):
    half = t * np.std(gaps, ddof=ddof) / (np.sqrt(len(gaps)) if root else 1)
    return gaps.mean() - half, gaps.mean() + half


def right(ours, theirs):
    return interval(differences(ours, theirs))


def as_tensor(ours, theirs):
    return torch.tensor(right(ours, theirs))


def by_place(ours, theirs):
    gaps = np.array(list(ours.values())) - np.array(list(theirs.values()))
    return interval(gaps, t=3.18)


def unpaired(ours, theirs):
    sides = [[side[seed] for seed in ours if seed in theirs] for side in (ours, theirs)]
    error = (sum(stdev(side) ** 2 for side in sides) / 3) ** 0.5
    middle = mean(sides[0]) - mean(sides[1])
    return middle - 4.30 * error, middle + 4.30 * error


def unpaired_with_all(ours, theirs):
    one, other = ours.values(), theirs.values()
    half = 3.18 * ((stdev(one) ** 2 + stdev(other) ** 2) / 4) ** 0.5
    return mean(one) - mean(other) - half, mean(one) - mean(other) + half


def with_the_variance(ours, theirs):
    gaps = differences(ours, theirs)
    half = 4.30 * gaps.var(ddof=1) / 3**0.5
    return gaps.mean() - half, gaps.mean() + half


def middle_and_half(ours, theirs):
    low, high = right(ours, theirs)
    return (low + high) / 2, (high - low) / 2


def with_(**changes):
    return lambda ours, theirs: interval(differences(ours, theirs), **changes)


ANSWERS = [
    *of(
        "08.1",
        (0.016, "Right. Lower by 0.05 or more."),
        (torch.tensor(0.016), "Right."),
        (0, "above 0"),
        (2.0, "more than 1 a step"),
        (1e-4, "higher than with 0.004"),
    ),
    *of(
        "08.2",
        ("bcdf", "Right. An hour each"),
        (["b", "C", "f", "d"], "Right."),
        ("b, c, d and f".replace("and", ""), "Right."),
        ("abcdf", "nothing unfair in a. Widths may differ"),
        ("bcdef", "nothing unfair in e. The same windows"),
        ("gbc", "nothing unfair in g. Neither has read any byte twice"),
        ("bc", "2 still to find"),
        ("xyz", "letters from a to g"),
        (3, "letters from a to g, such as 'ag'"),
    ),
    *of(
        "08.3",
        (right, "Right. From -0.07 to -0.01"),
        (as_tensor, "Right."),
        (lambda ours, theirs: list(right(ours, theirs)), "Right."),
        (lambda ours, theirs: right(ours, theirs)[::-1], "low comes first"),
        (lambda ours, theirs: right(theirs, ours), "The sign is turned"),
        (middle_and_half, "half of the width"),
        (by_place, "Paired by their places"),
        (unpaired, "Not paired: you took"),
        (unpaired_with_all, "seeds that only one side has"),
        (with_(t=1.96), "1.96 is for many seeds"),
        (with_(t=3.18), "count the differences"),
        (with_(t=12.71), "t is listed by the number"),
        (with_(t=4.30 / 3**0.5), "not by the number"),
        (with_(t=4.30 * 1.5**0.5), "that of n, not of n - 1"),
        (with_the_variance, "That has the variance"),
        (with_(root=False), "that of one difference"),
        (with_(ddof=0), "divides by n"),
        (with_(t=7.0), "seed by seed"),
        (lambda ours, theirs: None, "returns nothing"),
        (lambda ours, theirs: 0.3, "two numbers"),
        (4.3, "a function of ours and theirs"),
    ),
    *of(
        "08.4",
        (4, "Right. The first loss is"),
        (0.2, "Break it on the other side"),
        (1.05, "larger."),
        (5000, "at most 1,000"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_08, ANSWERS)


def test_the_praise_of_an_interval_says_what_it_is():
    low, high = right(chapter_08.OURS, chapter_08.THEIRS)
    assert (round(low, 2), round(high, 2)) == (-0.07, -0.01)
