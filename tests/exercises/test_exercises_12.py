"""What checks of chapter 12 say about right answers and about the usual mistakes."""

import math

import numpy as np
import pytest
import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_12
from rwkv_book.family import equation
from rwkv_book.rwkv4.minimal import sigmoid
from rwkv_book.rwkv5 import minimal

MIB = 30 * 32 * 66 * 4096 * 4 / 2**20
ADDED = math.log(-math.log(0.01)) + 5


def right(decay, bonus, receptance, key, value, table):
    answer = table @ receptance + value * (bonus * key * receptance).sum()
    return answer, table * decay + np.outer(value, key)


def answer_of(change):
    """A step whose table is right, and whose answer is change(new, arguments)."""

    def step(*given):
        new = np.outer(given[4], given[3])
        return change(new, *given), right(*given)[1]

    return step


def table_of(change):
    """A step whose answer is right, and whose table is change(new, decay, table)."""

    def step(*given):
        new = np.outer(given[4], given[3])
        return right(*given)[0], change(new, given[0], given[1], given[5])

    return step


def in_place(decay, bonus, receptance, key, value, table):
    answer, _ = right(decay, bonus, receptance, key, value, table)
    table *= decay
    table += np.outer(value, key)
    return answer, table


def joined(first, second, log_decay):
    return first * np.exp(log_decay.sum(0)) + second


def by_differences(first, second, log_decay):
    """Right while no column is cleared; then it takes infinity from infinity."""
    total = log_decay.cumsum(0)
    each = total - np.vstack([np.zeros_like(total[0]), total[:-1]])
    return first * np.exp(each.sum(0)) + second


def floored(first, second, log_decay):
    return first * np.exp(np.maximum(log_decay, -1).sum(0)) + second


def test_the_first_answer_is_the_minimal_models():
    table, decay, bonus = np.zeros((2, 2)), np.array([[0.5, 1]]), np.ones((1, 2))
    for key, value in (([1, 1], [2, 0]), ([1, 0], [0, 4]), ([0, 1], [6, 7])):
        arrays = np.ones(2), np.array(key), np.array(value)
        answer, table = minimal.ask_and_write(decay, bonus, *arrays, table)
    assert answer.tolist() == [[9, 11]]


@pytest.mark.parametrize("size", [1, 5])
def test_the_right_step_is_the_minimal_models(size):
    *vectors, table = chapter_12.an_example(4, size)
    decay, bonus, *rest = vectors
    answer, new = minimal.ask_and_write(decay[None], bonus[None], *rest, table)
    found = chapter_12.right_step(*vectors, table)
    np.testing.assert_allclose(found[0], answer[0])
    np.testing.assert_allclose(found[1], new)


def test_the_right_join_is_the_operators():
    generator = torch.Generator().manual_seed(0)
    key, value = torch.randn(2, 1, 7, 1, 3, generator=generator).double()
    decays = -torch.rand(1, 7, 1, 3, generator=generator).double()
    _, whole = equation.table_recurrent(decays, key, key, value)
    halves = [
        equation.table_recurrent(decays[:, p], key[:, p], key[:, p], value[:, p])[1]
        for p in (slice(3), slice(3, 7))
    ]
    found = joined(*(half[0, 0].numpy() for half in halves), decays[0, 3:, 0].numpy())
    np.testing.assert_allclose(found, whole[0, 0])


def test_the_power_is_where_a_float32_ends():
    quarter = torch.full((100,), 0.25).cumprod(0)
    assert (1 / quarter[:63]).isfinite().all() and (1 / quarter[63:]).isinf().all()


ANSWERS = [
    *of(
        "12.1",
        (9, "Right."),
        (3, "token 3 is heard too"),
        (6, "token 3 alone"),
        (8.5, "asks before the table fades"),
        (8, "Only column 1 fades"),
        (10, "Nothing has faded"),
        (11, "the second number"),
        (5, "lies on its side"),
        (13, "stands in the second row"),
        (1, "as two rows"),
    ),
    *of(
        "12.2",
        (990, "Right. 990 MiB"),
        (33, "That is one reader"),
        (MIB * 64 / 66, "two rows for token"),
        (MIB * 65 / 66, "and channel mixing"),
        (MIB / 2, "float32 takes four"),
        (MIB / 4, "Those are numbers"),
        (75, "That is RWKV-4"),
        (MIB / 32, "That is one layer"),
        (1038, "millions of bytes"),
        (990 * 1024, "Those are KiB"),
        (30 * 32 * 4098 * 4096 * 4 / 2**20, "as wide as a head"),
        (1, "times readers"),
    ),
    *of(
        "12.3",
        (right, "Right."),
        (3, "It should be a function."),
        (lambda *given: None, "returns nothing: return answer and table"),
        (lambda *given: right(*given)[0], "return two things"),
        (lambda *given: (given[0], given[0]), "a table of shape (5, 5)"),
        (lambda *given: right(*given)[::-1], "first the answer"),
        (in_place, "has changed: return a new one"),
        (answer_of(lambda new, d, u, r, k, v, s: s @ r), "newest token is not heard"),
        (answer_of(lambda new, d, u, r, k, v, s: (s + new) @ r), "bonus is missing"),
        (
            answer_of(lambda new, d, u, r, k, v, s: (s * d + new) @ r),
            "after it was written",
        ),
        (
            answer_of(lambda new, d, u, r, k, v, s: (s * d + new * u) @ r),
            "fades before it is asked",
        ),
        (
            answer_of(lambda new, d, u, r, k, v, s: (s + new * u[:, None]) @ r),
            "yours multiplies the rows",
        ),
        (
            answer_of(lambda new, d, u, r, k, v, s: r @ (s + new * u)),
            "table @ receptance",
        ),
        (
            answer_of(lambda new, d, u, r, k, v, s: (s + np.outer(k * u, v)) @ r),
            "The outer product lies",
        ),
        (
            answer_of(lambda new, d, u, r, k, v, s: (s + np.outer(v, k + u)) @ r),
            "as in RWKV-4",
        ),
        (
            answer_of(lambda new, d, u, r, k, v, s: (s + new * u) @ sigmoid(r)),
            "no sigmoid",
        ),
        (answer_of(lambda new, d, u, r, k, v, s: 2 * r), "The answer is wrong."),
        (table_of(lambda new, d, u, s: s + new), "nothing fades"),
        (table_of(lambda new, d, u, s: (s.T * d).T + new), "yours fades rows"),
        (table_of(lambda new, d, u, s: s * d + new * u), "the bonus was stored"),
        (table_of(lambda new, d, u, s: (s + new) * d), "stored whole"),
        (table_of(lambda new, d, u, s: s * d + new.T), "what is written lies"),
        (table_of(lambda new, d, u, s: s * np.exp(-d) + new), "no exponential"),
        (table_of(lambda new, d, u, s: s.copy()), "the table is as it was"),
        (table_of(lambda new, d, u, s: 0 * s), "columns times decay"),
    ),
    *of(
        "12.4",
        (joined, "Right."),
        (3, "It should be a function."),
        (lambda a, b, d: None, "returns nothing: return a table"),
        (lambda a, b, d: a + b, "has to fade, once"),
        (lambda a, b, d: a * np.exp(d[-1]) + b, "only for the last"),
        (lambda a, b, d: a * np.exp(d[0]) + b, "only for the first"),
        (lambda a, b, d: (a.T * np.exp(d.sum(0))).T + b, "yours fades the rows"),
        (lambda a, b, d: (a + b) * np.exp(d.sum(0)), "has faded already"),
        (lambda a, b, d: a + b * np.exp(d.sum(0)), "older half that fades"),
        (lambda a, b, d: a * np.exp(d).sum(0) + b, "Shares kept are multiplied"),
        (lambda a, b, d: a * d.sum(0) + b, "take its exponential"),
        (lambda a, b, d: a * np.exp(-d.sum(0)) + b, "It grows"),
        (lambda a, b, d: a * np.exp(-np.exp(d).sum(0)) + b, "one exponential"),
        (lambda a, b, d: a * np.exp(d[1:].sum(0)) + b, "makes the first table fade"),
        (lambda a, b, d: a * np.exp(d.sum()) + b, "axis 0, alone"),
        (lambda a, b, d: b, "how much is left of each"),
        (by_differences, "add logarithms, and never divide"),
        (floored, "Right until a column is cleared"),
    ),
    *of(
        "12.5",
        (64, "Right."),
        (128, "a quarter is two halves"),
        (63, "One more"),
        (65, "One less"),
        (75, "There P itself is 0"),
        (512, "double precision"),
        (89, "powers of e"),
        (8, "float16"),
        (32, "has 32 bits"),
        (1, "which power of 4"),
    ),
    *of(
        "12.6",
        (6.53, "Right."),
        (ADDED, "Right."),
        (1.53, "how far is it from -5"),
        (-3.47, "Mind the sign"),
        (4.605, "That is w"),
        (9.605, "That adds w"),
        (0.395, "two logarithms"),
        (math.log(0.99) + 5, "One percent is left"),
        (math.log(-math.log10(0.01)) + 5, "the natural one"),
        (math.log2(-math.log(0.01)) + 5, "Both logarithms"),
        (-6.53, "log w has to rise"),
        (20, "Solve exp"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_12, ANSWERS)
