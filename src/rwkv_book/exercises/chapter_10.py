"""Exercises of chapter 10: a floor, ticks, and kernels that readers change."""

import math
import shutil
from itertools import product

import torch

from rwkv_book.compiled.source import replaced
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import NumberQuestion, Wrong, number_of, wrong_unless
from rwkv_book.rwkv4 import trial
from rwkv_book.rwkv4.kernels import SOURCE
from rwkv_book.rwkv4.wkv import wkv_attention

BANDWIDTH = 3.35e12  # bytes a second of an H100, by its data sheet
SHAPE = (8, 4096, 768)
RIGHT, PLANTED = "decay(carried, steps)", "decay(carried, 1)"
A_LINE = 120  # letters: as much as an answer that names a place may take
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
    """wkv.cu with a wrong word in it."""
    return replaced(SOURCE.text, RIGHT, PLANTED)


def attempted(text):
    """What trial.attempt gives for the kernels in a text; Wrong when they don't run."""
    wrong_unless(isinstance(text, str), "The answer should be the source, as a text.")
    if shutil.which("g++") is None:
        raise Wrong(f"There is no g++ here to compile your kernel with: {INSTALL}.")
    try:
        return trial.attempt(text)
    except RuntimeError as error:
        wrong_unless(
            "out of bounds" not in str(error),
            "An age came out that no token has: look where ages are counted.",
        )
        raise Wrong(f"Your kernel did not run: {error}") from None


def errors(found):
    """{(scale, chunks): {output: error}} of what was attempted.

    An error is relative to the largest number of an output, and infinite for what is
    NaN.
    """
    compared = {}
    for scale, chunks in product(trial.SCALES, trial.CHUNKS):
        exact = trial.outputs(wkv_attention, scale, torch.float64)
        compared[scale, chunks] = {
            name: largest_error(tensor, exact[name])
            for name, tensor in found[scale, chunks].items()
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
        for case, outputs in errors(attempted(text)).items()
    }


@exercise("10.3")
def a_wrong_word(answer):
    text = mended(answer)
    wrong = verdicts(text)
    forward = {case: {"out", "after"} & set(names) for case, names in wrong.items()}
    one, three = (forward[1, n] | forward[300, n] for n in trial.CHUNKS)
    wrong_unless(not one, "Now the averages are wrong with one chunk, too.")
    wrong_unless(
        not three,
        "With one chunk the averages are right, as before, and with three they are "
        "still wrong. Which kernels run only when there are several?",
    )
    gradients = ", ".join(sorted({name for names in wrong.values() for name in names}))
    wrong_unless(
        not gradients,
        f"The averages are right, but not {gradients}. The scan runs in reverse, too.",
    )
    return "Averages, state and gradients are right, with one chunk and with three."


def mended(answer):
    """The planted text with an answer's place changed; Wrong if it names no place."""
    wrong_unless(
        isinstance(answer, tuple | list)
        and len(answer) == 2
        and all(isinstance(each, str) for each in answer),
        "The answer should be two texts: what is wrong, and what is right instead.",
    )
    old, new = answer
    wrong_unless(
        max(map(len, answer)) <= A_LINE,
        "That is more than a line. Which words of it are wrong?",
    )
    count = with_a_planted_bug().count(old) if old else 0
    wrong_unless(
        count, "What you call wrong does not stand in the text as you wrote it."
    )
    wrong_unless(
        count == 1,
        f"What you call wrong stands in {count} places: take more of the line.",
    )
    wrong_unless(old != new, "The two texts are the same.")
    return with_a_planted_bug().replace(old, new)


@exercise("10.4")
def an_overflow_on_purpose(text):
    found = attempted(text)
    compared = errors(found)
    small = max(max(compared[1, chunks].values()) for chunks in trial.CHUNKS)
    if small >= 10 * SMALL_ERROR:
        raise Wrong(what_is_wrong_with(found["one step"]))
    large = max(compared[300, 1].values())
    sentence = "It survives keys of 300: is there still a maximum in it?"
    wrong_unless(large > 0.01, sentence)
    size = "not finite" if large == math.inf else f"off by {large:.0%} and more"
    return f"Keys of 1 are still fine, and what keys of 300 give is {size}."


def what_is_wrong_with(after):
    """The sentence for a merge that is wrong for keys of 1, by one step of it."""
    num, den, log_scale, age = after.tolist()
    w, _, key, value, state = (each.flatten().tolist() for each in trial.one_merge())
    old_num, old_den, scale, _ = state
    (w,), (key,), (value,) = w, key, value

    def sums(of_x, of_y):
        wanted = of_x * old_num + of_y * value, of_x * old_den + of_y
        return all(
            math.isclose(one, other, rel_tol=1e-3)
            for one, other in zip((num, den), wanted, strict=True)
        )

    past, now = math.exp(scale - w), math.exp(key)
    if sums(past, now):
        if abs(log_scale) > SMALL_ERROR:
            return (
                f"The sums are right and {log_scale:.1f} comes back as their scale: "
                "after the factors they are on no scale, so it has to be 0, real{}."
            )
        return (
            f"Sums and scale are right, and the age that comes back is {age:g}: "
            "the factors have counted it, so it has to be 0, real{}."
        )
    if sums(math.exp(scale), now):
        return "The sums have not faded: the age, times w, belongs into both factors."
    if sums(math.exp(scale + w), now):
        return "The sums grow with their age: it is log_scale minus age times w."
    if sums(now, past):
        return "The factors are swapped: each sum has the factor of its own scale."
    if sums(1, 1):
        return "The sums are added as they are: each needs the factor of its own scale."
    return (
        "It is wrong for keys of 1 already, and should break for large ones only. "
        "num and den both want of_x times that of x plus of_y times that of y."
    )


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
