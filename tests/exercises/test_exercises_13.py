"""What the checks of chapter 13 say about right answers and the usual mistakes."""

import numpy as np
import pytest
import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_13
from rwkv_book.rwkv7 import minimal

NUMBERS = 12 * 66 * 768


def terms(table, decay, key, value, removed, rate):
    """What decays, what is taken out, what is written."""
    found = table @ removed
    return table * decay, np.outer(found, removed * rate), np.outer(value, key)


def my_correct(table, decay, key, value, removed, rate):
    kept, gone, new = terms(table, decay, key, value, removed, rate)
    return kept - gone + new


def in_place(table, decay, key, value, removed, rate):
    found = table @ removed
    table *= decay
    table += np.outer(value, key) - np.outer(found, removed * rate)
    return table


def with_tensors(*arguments):
    table, decay, key, value, removed, rate = map(torch.tensor, arguments)
    found = table @ removed
    return table * decay - found[:, None] * (removed * rate) + value[:, None] * key


def of_minimal(*arguments):
    table, *others = (each[None] for each in arguments)
    return minimal.correct(table, *others)[0]


def mixed(combine):
    """A my_correct that puts the three terms together in some other way."""
    return lambda s, w, k, v, c, a: combine(s, w, k, v, c, a, *terms(s, w, k, v, c, a))


def by_hand(removed, rate, key, value):
    """One table, one token after the other."""
    table, found = np.zeros((value.shape[1], key.shape[1])), []
    for c, a, k, v in zip(removed, rate, key, value, strict=True):
        found.append(table @ c)
        table = table - np.outer(found[-1], c * a) + np.outer(v, k)
    return found


def system(
    removed, rate, key, value, below=-1, sign=1.0, of_asker=False, by_key=False,
    rounds=None,
):  # fmt: skip
    written = key @ removed.T if by_key else removed @ key.T
    known = np.tril(written, below) @ value
    pairs = (removed * rate) @ removed.T if of_asker else removed @ (removed * rate).T
    own = np.tril(pairs, -1)
    if rounds is None:
        return np.linalg.solve(np.eye(len(key)) + sign * own, known)
    found = known
    for _ in range(rounds):
        found = known - own @ found
    return found


SIXTH = np.sqrt([1 / 6, 5 / 6])
GROWING = [SIXTH, (1, 0), SIXTH[::-1], (0, 1)]
AT_30 = np.array([np.cos(0.4), np.sin(0.4)])

ANSWERS = [
    *of(
        "13.1",
        (5, "Right."),
        (12, "12 is the sum"),
        (8, "rate of 1"),
        (6, "leaves 2, not 4"),
        (10, "erases half and writes all"),
        (9, "half of 2"),
        (3, "add it to what was there"),
        (2, "a second one follows"),
        (4, "half of what was there stays"),
        (7, "half of the way"),
    ),
    *of(
        "13.2",
        (NUMBERS, "Right. 12 layers of 66 rows of 768: 608,256"),
        ("608,256", "Right."),
        (12 * 64 * 768, "Those are the tables"),
        (12 * 65 * 768, "One row is missing"),
        (12 * 5 * 768, "RWKV-4's state"),
        (12 * 768 * 768, "each head has its own"),
        (12 * 64 * 64, "one head"),
        (66 * 768, "one layer"),
        (4 * NUMBERS, "at four a number"),
        (2 * NUMBERS, "at two a number"),
        (1000, "C / N tables"),
    ),
    *of(
        "13.3",
        (my_correct, "Right."),
        (of_minimal, "Right."),
        (with_tensors, "Right."),
        (lambda *a: my_correct(*a).tolist(), "Right."),
        (
            lambda s, w, k, v, c, a: (
                s @ (np.diag(w) - np.outer(c, c * a)) + np.outer(v, k)
            ),
            "Right.",
        ),
        (in_place, "changes the table that it was given"),
        (lambda *_: None, "returns nothing"),
        (lambda *a: (my_correct(*a), None), "returns tuple"),
        (lambda *a: my_correct(*a)[0], "returns shape (4,)"),
        (
            lambda s, w, k, v, c, a: (
                s * w - np.outer((s * w) @ c, c * a) + np.outer(v, k)
            ),
            "after it has decayed",
        ),
        (
            lambda s, w, k, v, c, a: (
                s * w - np.outer((s + np.outer(v, k)) @ c, c * a) + np.outer(v, k)
            ),
            "after you have written",
        ),
        (mixed(lambda *a: a[6] + a[7] + a[8]), "mind the sign"),
        (mixed(lambda *a: a[6] + a[8]), "this is RWKV-6"),
        (mixed(lambda *a: a[0] * np.exp(-a[1]) - a[7] + a[8]), "no exponential"),
        (
            mixed(lambda *a: (a[0] - a[7]) * a[1] + a[8]),
            "What goes has decayed as well",
        ),
        (
            mixed(lambda *a: (a[0] - a[7] + a[8]) * a[1]),
            "What comes has decayed already",
        ),
        (mixed(lambda *a: a[0] - a[7] + a[8]), "Nothing decays"),
        (
            mixed(lambda *a: a[0] * a[1][:, None] - a[7] + a[8]),
            "The decay is on the rows",
        ),
        (
            lambda s, w, k, v, c, a: my_correct(s, w, k, v, c, np.ones(4)),
            "the rate is missing",
        ),
        (
            lambda s, w, k, v, c, a: s * w - np.outer((s @ c) * a, c) + np.outer(v, k),
            "The rate is on the rows",
        ),
        (
            lambda s, w, k, v, c, a: s * w - np.outer(s @ (c * a), c) + np.outer(v, k),
            "The rate is in the look-up",
        ),
        (
            lambda s, w, k, v, c, a: (
                s * w - np.outer(s @ (c * a), c * a) + np.outer(v, k)
            ),
            "The rate is there twice",
        ),
        (
            lambda s, w, k, v, c, a: (
                my_correct(s, w, k, v, c, a) - np.outer(v, k) + np.outer(v, k * a)
            ),
            "has been scaled already",
        ),
        (mixed(lambda *a: a[6] - a[7] + a[8].T), "What is written is turned"),
        (mixed(lambda *a: a[6] - a[7].T + a[8]), "What goes is turned"),
        (
            lambda s, w, k, v, c, a: my_correct(s, w, k, v, k, a),
            "You take out under the key",
        ),
        (
            lambda s, w, k, v, c, a: my_correct(s, w, c, v, c, a),
            "You write under the removal key",
        ),
        (
            lambda s, w, k, v, c, a: s * w - np.outer(c @ s, c * a) + np.outer(v, k),
            "in the turned table",
        ),
        (lambda s, *_: s, "try each alone"),
    ),
    *of(
        "13.4",
        (by_hand, "Right."),
        (system, "Right."),
        (lambda *a: torch.tensor(system(*a)), "Right."),
        (lambda *a: system(*a, below=0), "Only i < t counts"),
        (lambda c, a, k, v: np.triu(c @ k.T, 1) @ v, "Only i < t counts"),
        (lambda *a: system(*a, rounds=0), "as if nobody had ever"),
        (lambda *a: system(*a, sign=-1.0), "mind the sign"),
        (lambda c, a, k, v: system(c, 0 * a + 1, k, v), "mind the rate"),
        (lambda *a: system(*a, of_asker=True), "the token that asks"),
        (lambda c, a, k, v: system(c, a, c, v), "there are two matrices"),
        (lambda c, a, k, v: system(c, a, k * a, v), "written in full"),
        (lambda *a: system(*a, by_key=True), "You ask with the key"),
        (lambda *a: system(*a, rounds=1), "holds for two tokens"),
        (
            lambda c, a, k, v: np.tril(c @ k.T, -1) @ v * [[1], [1], [2], [2], [2]],
            "what the second took out",
        ),
        (lambda c, a, k, v: 2 * system(c, a, k, v), "The second token should find"),
        (lambda *_: None, "returns nothing"),
        (lambda *a: system(*a)[:3], "returns shape (3, 3)"),
    ),
    *of(
        "13.5",
        (GROWING, "Right. Two steps that are harmless alone multiply by 1.250"),
        ([each.tolist() for each in map(np.array, GROWING)], "Right."),
        ([torch.tensor(tuple(each)) for each in GROWING], "Right."),
        ([(1, 0), (1, 0), (0, 1), (0, 1)], "nothing grows"),
        ([SIXTH, (1, 1), SIXTH[::-1], (1, 1)], "nothing grows"),
        (
            [AT_30[::-1], (0.5, 0), AT_30, (0, 0.5)],
            "there is a pair that makes 1.2",
        ),
        ([2 * SIXTH, (1, 0), 2 * SIXTH[::-1], (0, 1)], "Removal keys have length 1"),
        ([SIXTH, (2, 0), SIXTH[::-1], (0, 1)], "A rate is a sigmoid"),
        (7, "four pairs of numbers"),
        ([SIXTH, (1, 0), SIXTH[::-1]], "four pairs of numbers"),
    ),
    *of(
        "13.6",
        (2**0.5, "Right."),
        (1.41, "Right."),
        (1.42, "Right."),
        (2, "stay below 2"),
        (1, "gone at once"),
        (0.7071, "find the longest"),
        (1.4, "a little longer"),
        (1.45, "grows already"),
        (3, "By which number"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_13, ANSWERS)


def test_the_right_tables_are_those_of_the_hundred_lines():
    arguments = chapter_13.head(seed=3)
    np.testing.assert_allclose(chapter_13.step(*arguments), of_minimal(*arguments))


def test_five_fourths_in_two_steps_is_exact():
    """cos² of a sixth gives 5/4; a thousand other angles give less."""
    answer = chapter_13.two_steps_that_grow(GROWING)
    assert answer.endswith("multiply by 1.250 together.")
    for square in np.linspace(0.01, 0.99, 99):
        key = np.sqrt([square, 1 - square])
        first = np.eye(2) - np.outer(key, key * (1, 0))
        second = np.eye(2) - np.outer(key[::-1], key[::-1] * (0, 1))
        growth = abs(np.linalg.eigvals(first @ second)).max()
        assert growth <= 1.25 + 1e-9
        assert growth == pytest.approx(1.25) or abs(square - 1 / 6) > 0.001
