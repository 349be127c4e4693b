"""Exercises of chapter 14: signs that turn, swaps that wear out, a turn by a third."""

import math

import numpy as np

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Span,
    Wrong,
    result,
    returned,
    wrong_unless,
)
from rwkv_book.rwkv7.wkv import FASTEST

pose(
    "14.1",
    NumberQuestion(
        right=-0.125,
        mistakes={
            0.125: "The size is right. But each 1 turns the sign, too.",
            -0.5: "That is after one 1: two more follow.",
            0.25: "That is after two of them: one more follows.",
            3.375: "That is 1.5 to the third power: what is taken out. What stays "
            "is the rest.",
            0.0625: "That is four times: the 0 changes nothing.",
            -1: "That is a rate of 2.",
            -3.375: "That is -1.5 to the third power: a 1 multiplies by 1 - 1.5.",
            -3.5: "That subtracts 1.5 each time. A rate is a share of what is there.",
        },
        hint="A 1 multiplies by 1 minus the rate, a 0 by 1.",
        praise="The sign still knows that it was an odd number, but it is down to an "
        "eighth.",
        absolute=1e-6,
    ),
)

KEPT = math.exp(-FASTEST)  # the least that one step keeps of a column
LEFT = (1 - KEPT) / KEPT  # of a swapped difference, against the rest
UNTIL = math.ceil(math.log(0.01) / math.log(LEFT))

pose(
    "14.2",
    NumberQuestion(
        right=UNTIL,
        mistakes={
            UNTIL - 1: "Just before: after that many it is still a little more.",
            Span(UNTIL - 0.9, UNTIL - 0.1): "There it is a hundredth exactly: how many "
            "whole swaps make it less?",
            math.ceil(math.log(0.01) / math.log(1 - KEPT)): "That counts what is left "
            "by itself, 0.455 a swap. All the rest fades as well, to 0.545, and the "
            "norm behind the table makes up for that: what counts is the ratio.",
            math.ceil(math.log(0.01) / math.log(KEPT)): "That is how the rest fades. "
            "What counts is the difference against the rest.",
            math.ceil(math.log(0.1) / math.log(LEFT)): "That is a tenth. A hundredth "
            "is asked for.",
        },
        hint="How often do you multiply 0.834 by itself until it is below 0.01?",
        praise="{answer:g} swaps: it was 0.834 to that power.",
        absolute=0.01,
    ),
)


def mirror(vector):
    """I - 2cc' for a vector of any length: what lies along it is turned round."""
    vector = np.asarray(vector, dtype=float)
    return np.eye(len(vector)) - 2 * np.outer(vector, vector) / (vector @ vector)


@exercise("14.3")
def a_swap(my_swap):
    size, first, second = 5, 1, 3
    found = my_swap(size, first, second)
    found = found if found is None or isinstance(found, tuple) else np.asarray(found)
    returned(found, (size, size), "the matrix")
    along, one = np.zeros(size), np.eye(size)
    along[first], along[second] = 1, -1
    across, unit = abs(along), along / math.sqrt(2)
    earlier = np.roll(along, -1)
    mistakes = (
        (one, "That changes nothing. Take something out."),
        (
            one - 2 * np.outer(along, along),
            "The vector has length √2: bring it to length 1, as a removal key is.",
        ),
        (
            one - np.outer(along, along) / 2,
            "At a rate of 1 what lies along the vector is gone: both cups now hold the "
            "mean. At 2 it is turned round.",
        ),
        (
            mirror(across),
            "It swaps the two and turns their sign: +1 in both channels makes the "
            "mirror stand the other way. One of them has to be -1.",
        ),
        (
            mirror(earlier),
            "Those are channels 0 and 2: channels are counted from 0, as always in "
            "Python.",
        ),
        (
            one - 2 * (unit @ unit),
            "A dot product is one number, and is taken from every entry: use the outer "
            "product.",
        ),
        (
            one + np.outer(along, along),
            "Mind the sign: it is taken out, not added.",
        ),
        (
            2 * np.outer(along, along) / 2,
            "That is what is taken out. What stays is the unit matrix without it.",
        ),
    )
    result(
        found,
        mirror(along),
        mistakes,
        "It doesn't swap the two. The vector is +1 in one channel and -1 in the other, "
        "brought to length 1, and the matrix is I - 2cc'.",
        np.allclose,
    )
    other = my_swap(3, 2, 0)
    wrong_unless(
        np.allclose(np.asarray(other), mirror([1, 0, -1])),
        "Right for channels 1 and 3 of 5, but not for 2 and 0 of 3.",
    )
    return "A swap is a mirror, and two in a row are no change at all."


@exercise("14.4")
def a_turn_by_a_third(answer):
    try:
        vectors = [np.asarray(each, dtype=float) for each in answer]
    except (TypeError, ValueError):
        vectors = []
    wrong_unless(
        [each.shape for each in vectors] == [(2,)] * 2,
        "It should be two vectors of two numbers.",
    )
    lengths = [np.linalg.norm(each) for each in vectors]
    wrong_unless(
        np.allclose(lengths, 1, atol=1e-3),
        f"Removal keys have length 1, and yours have {lengths[0]:.3f} and "
        f"{lengths[1]:.3f}.",
    )
    turn = mirror(vectors[0]) @ mirror(vectors[1])
    degrees = math.degrees(math.atan2(turn[1, 0], turn[0, 0])) % 360
    if min(abs(degrees - 120), abs(degrees - 240)) < 0.5:
        return (
            f"Together they turn by {degrees:.0f} degrees, and three times that is "
            "where it began."
        )
    wrong_unless(
        min(degrees, 360 - degrees) > 0.5,
        "Both stand the same way: the second takes back what the first has done.",
    )
    raise Wrong(
        f"Together they turn by {degrees:.0f} degrees, and not by 120 or 240. How is "
        "that related to the angle between the two?"
    )


LARGEST = (2 - 2**-23) * 2.0**127  # of float32
TOO_LARGE = math.ceil(math.log(math.sqrt(LARGEST)) / math.log(1.2))

pose(
    "14.5",
    NumberQuestion(
        right=TOO_LARGE,
        mistakes={
            TOO_LARGE - 1: "One more: after that many the square still fits.",
            Span(
                TOO_LARGE - 0.9, TOO_LARGE - 0.1
            ): "There it just fits: the next whole number of tokens is too many.",
            math.ceil(math.log(LARGEST) / math.log(1.2)): "That is when the number "
            "itself no longer fits. The norm squares it first.",
            math.ceil(math.log(LARGEST) / math.log(1.2) / 4): "The square doubles the "
            "power: its root is taken once, not twice.",
            math.ceil(math.log(math.sqrt(LARGEST)) / math.log(1.4)): "That is a growth "
            "of 1.4 at every token.",
        },
        hint="How many times do you multiply by 1.2 until you pass the root of 3.4e38, "
        "which is 1.8e19?",
        praise="After {answer:g} tokens the norm behind the table divides by infinity, "
        "and all that the head says is 0.",
        absolute=0.01,
    ),
)
