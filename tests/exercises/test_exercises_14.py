"""What the checks of chapter 14 say about right answers and the usual mistakes."""

import numpy as np
import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_14


def along(size, first, second, sign=-1.0):
    vector = np.zeros(size)
    vector[first], vector[second] = 1, sign
    return vector


def swap(size, first, second, rate=2.0, length=2**0.5, sign=-1.0):
    unit = along(size, first, second, sign) / length
    return np.eye(size) - rate * np.outer(unit, unit)


def at(degrees):
    return np.cos(np.radians(degrees)), np.sin(np.radians(degrees))


ANSWERS = [
    *of(
        "14.1",
        (-0.125, "Right."),
        ("-0.125", "Right."),
        (0.125, "each 1 turns the sign, too"),
        (-0.5, "after one 1"),
        (0.25, "after two of them"),
        (3.375, "1.5 to the third power"),
        (0.0625, "the 0 changes nothing"),
        (-1, "a rate of 2"),
        (-3.375, "-1.5 to the third power"),
        (-3.5, "subtracts 1.5"),
        (7, "multiplies by 1 minus the rate"),
    ),
    *of(
        "14.2",
        (26, "Right. 26 swaps"),
        (25, "Just before"),
        (25.4, "whole swaps"),
        (6, "0.455 a swap"),
        (8, "how the rest fades"),
        (13, "That is a tenth"),
        (100, "How often do you multiply"),
    ),
    *of(
        "14.3",
        (swap, "Right."),
        (lambda *a: torch.tensor(swap(*a)), "Right."),
        (lambda *a: swap(*a).tolist(), "Right."),
        (lambda n, i, j: np.eye(n)[along_order(n, i, j)], "Right."),
        (lambda n, i, j: np.eye(n), "changes nothing"),
        (lambda *a: swap(*a, length=1), "length √2"),
        (lambda *a: swap(*a, rate=1), "both cups now hold the mean"),
        (lambda *a: swap(*a, sign=1), "turns their sign"),
        (lambda n, i, j: swap(n, i - 1, j - 1), "counted from 0"),
        (lambda *a: np.eye(a[0]) - 2, "the outer product"),
        (lambda *a: swap(*a, rate=-2), "not added"),
        (lambda *a: np.eye(a[0]) - swap(*a), "That is what is taken out"),
        (lambda *a: 3 * swap(*a), "doesn't swap the two"),
        (lambda n, i, j: swap(n, 1, 3) if n == 5 else swap(n, 0, 1), "but not for 2"),
        (lambda *a: None, "returns nothing"),
        (lambda n, i, j: swap(n, i, j)[:3], "returns shape (3, 5)"),
    ),
    *of(
        "14.4",
        ((at(60), at(0)), "Right. Together they turn by 120"),
        ((at(0), at(60)), "Right. Together they turn by 240"),
        ([torch.tensor(at(30)), torch.tensor(at(-30))], "Right."),
        ((at(45), at(45)), "Both stand the same way"),
        ((at(45), at(225)), "Both stand the same way"),
        ((at(90), at(0)), "turn by 180 degrees"),
        (((1, 1), (0, 1)), "Removal keys have length 1"),
        ((at(60),), "two vectors of two numbers"),
        (7, "two vectors of two numbers"),
    ),
    *of(
        "14.5",
        (244, "Right. After 244 tokens"),
        (243, "One more"),
        (243.3, "There it just fits"),
        (487, "squares it first"),
        (122, "once, not twice"),
        (132, "a growth of 1.4"),
        (3, "until you pass the root"),
    ),
]


def along_order(size, first, second):
    order = np.arange(size)
    order[[first, second]] = second, first
    return order


test_each_answer_is_told = told(ANSWERS)
test_every_sentence_is_heard = all_heard(chapter_14, ANSWERS)
