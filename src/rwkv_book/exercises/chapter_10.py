"""Exercises of chapter 10: a floor, ticks, and kernels that readers change."""

import math
import shutil

import torch

from rwkv_book.compiled.source import replaced
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import NumberQuestion, Wrong, number_of, wrong_unless
from rwkv_book.rwkv4 import trial
from rwkv_book.rwkv4.kernels import SOURCE
from rwkv_book.rwkv4.wkv import wkv_attention

BANDWIDTH = 3.35e12  # bytes a second of an H100, by its data sheet
SHAPE = (8, 4096, 768)
AGES, PLANTED = "(x.age - y.age) * w", "(x.age + y.age) * w"
SMALL_ERROR = 1e-4  # relative, of float32
INSTALL = "apt-get install g++, or conda install gxx"


ARRAY = 1e6 * 2 * math.prod(SHAPE) / BANDWIDTH  # microseconds for one in bfloat16

pose(
    "10.1",
    NumberQuestion(
        right=3 * ARRAY,
        mistakes={
            6 * ARRAY: "Numbers in bfloat16 take 2 bytes, not 4.",
            2 * ARRAY: "The averages have to be written, too.",
            5 * ARRAY: "That is the backward pass; the forward pass has three arrays.",
            8 * ARRAY: "That is forward and backward; it was forward alone.",
            ARRAY: "That is one array; keys, values and averages all travel.",
            3e-3 * ARRAY: "The answer should be in microseconds, not in milliseconds.",
            3e-6 * ARRAY: "The answer should be in microseconds, not in seconds.",
        },
        hint="Count numbers, times bytes, over bytes a second.",
        praise=f"Three arrays of 50 MB: no kernel takes less than {3 * ARRAY:.0f} µs.",
        relative=0.02,
    ),
)
pose(
    "10.2",
    NumberQuestion(
        right=65,  # ticks of the emulator
        mistakes={
            32: "That is the replay alone; before it comes the sum of chunk one.",
            64: "Between sums and replay there is the scan.",
            66: "The scan carries a state over one border only: the first enters as it "
            "is.",
            97: "The last chunk is not summed, and all chunks run at the same time.",
            129: "The last chunk is not summed, and all chunks run at the same time.",
            128: "The chunks of one kernel run at the same time.",
        },
        hint="Add the ticks of sum_chunks, scan_chunks and forward.",
        praise="32 + 1 + 32: one tick more than with one chunk. Two chunks gain "
        "nothing.",
    ),
)


def with_a_planted_bug():
    """wkv.cu with a wrong sign in it."""
    return replaced(SOURCE.text, AGES, PLANTED)


def errors(text):
    """{(scale, chunks): {output: error}} of the kernels in a text.

    Wrong when it makes none. An error is relative to the largest number of an output,
    and infinite for what is NaN.
    """
    wrong_unless(isinstance(text, str), "The answer should be the source, as a text.")
    if shutil.which("g++") is None:
        raise Wrong(f"There is no g++ here to compile your kernel with: {INSTALL}.")
    try:
        found = trial.attempt(text)
    except RuntimeError as error:
        wrong_unless(
            "out of bounds" not in str(error),
            "An age came out that no token has: look where ages are counted.",
        )
        raise Wrong(f"Your kernel did not run: {error}") from None
    compared = {}
    for (scale, chunks), results in found.items():
        exact = trial.outputs(wkv_attention, scale, torch.float64)
        compared[scale, chunks] = {
            name: largest_error(tensor, exact[name]) for name, tensor in results.items()
        }
    return compared


def largest_error(found, exact):
    """The largest difference over the largest number; infinite for what is NaN."""
    if not torch.isfinite(found).all():
        return math.inf
    return ((found - exact).abs().max() / exact.abs().max()).item()


def verdicts(text):
    """{(scale, chunks): the outputs that are wrong} of the kernels in a text."""
    return {
        case: [name for name, error in outputs.items() if error > SMALL_ERROR]
        for case, outputs in errors(text).items()
    }


@exercise("10.3")
def a_wrong_sign(text):
    wrong_unless(text != with_a_planted_bug(), "It still is the text that you got.")
    wrong = verdicts(text)
    forward = {case: {"out", "after"} & set(names) for case, names in wrong.items()}
    one, three = forward[1, 1], forward[1, 3]
    wrong_unless(not one, "Now the averages are wrong with one chunk, too.")
    wrong_unless(not three, "With one chunk the averages are right, with three not.")
    gradients = ", ".join(wrong[1, 1] or wrong[1, 3])
    wrong_unless(not gradients, f"The averages are right, but not {gradients}.")
    large = ", ".join(wrong[300, 1] or wrong[300, 3])
    wrong_unless(not large, f"With keys of 300, these are wrong: {large}.")
    return "Averages, state and gradients are right, with one chunk and with three."


@exercise("10.4")
def an_overflow_on_purpose(text):
    found = errors(text)
    small = max(max(found[1, chunks].values()) for chunks in trial.CHUNKS)
    sentence = (
        "It is wrong for keys of 1 already, and should break for large ones only: do "
        "the scale and the age that you return go with the sums?"
    )
    wrong_unless(small < 10 * SMALL_ERROR, sentence)
    large = max(found[300, 1].values())
    sentence = "It survives keys of 300: is there still a maximum in it?"
    wrong_unless(large > 0.01, sentence)
    size = "not finite" if large == math.inf else f"off by {large:.0%} and more"
    return f"Keys of 1 are still fine, and what keys of 300 give is {size}."


@exercise("10.5")
def another_tile(answer):
    tile = number_of(answer)
    wrong_unless(tile == int(tile) and tile >= 1, "A tile has 1, 2, 3 ... tokens.")
    wrong_unless(tile != 16, "16 is what it is; try another one.")
    text = replaced(SOURCE.text, "TILE = 16;", f"TILE = {int(tile)};")
    wrong = {name for names in verdicts(text).values() for name in names}
    assert not wrong, wrong  # a tile changes what is kept, and no result
    kept = 4 / tile
    return f"The same results; {kept:.3g} numbers are kept for each key, and not 0.25."
