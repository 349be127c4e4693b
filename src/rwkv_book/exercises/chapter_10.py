"""Exercises of chapter 10: a floor, ticks, and kernels that readers change or write."""

import math
import re
import shutil
from itertools import product

import numpy as np
import torch

from rwkv_book.compiled import nvrtc, warps
from rwkv_book.compiled.source import replaced
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Wrong,
    not_one_of,
    number_of,
    wrong_unless,
)
from rwkv_book.rwkv4 import trial
from rwkv_book.rwkv4.kernels import SOURCE
from rwkv_book.rwkv4.wkv import wkv_attention

BANDWIDTH = 3.35e12  # bytes a second of an H100, by its data sheet
SHAPE = (8, 4096, 768)
RIGHT, PLANTED = "decay(carried, steps)", "decay(carried, 1)"
A_LINE = 120  # letters: as much as an answer that names a place may take
SMALL_ERROR = 1e-4  # relative, of float32
SHIFTED = (2, 5, 37)  # (B,T,C) for exercise 10.6: not a multiple of a block
TAKES = ["const float*", "const float*", "float*", "int", "int", "int"]
BLOCK = 64  # its threads
SCATTERED = 2  # times the sectors that would do
SECTOR = 8  # numbers in 32 bytes
FAR = 2**31  # an index that is beyond every int
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
            24 * ARRAY: "Those are bits: the bandwidth counts bytes.",
            3 / 8 * ARRAY: "That is one text, and B = 8 of them are read.",
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
            33: "The sum of a chunk takes as long as its replay, 32 ticks: both count.",
            32: "That is the replay alone; before it comes the sum of chunk one.",
            64: "Before its first token the second chunk walks over the first one.",
            66: "The walk passes one chunk only: nothing comes before the first.",
            97: "The last chunk is not summed, and all chunks run at the same time.",
            129: "The last chunk is not summed, and all chunks run at the same time.",
            128: "The chunks of one kernel run at the same time.",
        },
        hint="Add the ticks of sum_chunks, of the walk and of the replay.",
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
        "still wrong. Which lines run only when there are several?",
    )
    gradients = ", ".join(sorted({name for names in wrong.values() for name in names}))
    wrong_unless(
        not gradients,
        f"The averages are right, but not {gradients}. One walk goes in reverse.",
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


@exercise("10.6")
def a_kernel_from_nothing(text):
    wrong_unless(isinstance(text, str), "The answer should be a kernel, as a text.")
    launched = shifts(text)
    touched, least = sum(launched.sectors.values()), sum(launched.least.values())
    wrong_unless(
        touched <= SCATTERED * least,
        f"The numbers are right. But its warps touch {touched} sectors of memory where "
        f"{least} hold as much: let neighbouring threads have neighbouring channels.",
    )
    out = list(launched.numbers)[2]
    wrong_unless(
        SECTOR * launched.least[out] <= SCATTERED * launched.numbers[out],
        "The numbers are right. But most threads of a warp have nothing to do while "
        "one works: give every number a thread of its own.",
    )
    compiles_for_a_gpu(text)
    return (
        f"All {math.prod(SHIFTED)} numbers, whichever thread comes first; its warps "
        f"touch {touched} sectors, where {least} would hold as many numbers."
    )


def shifts(text, launch=warps.launch):
    """What a launch of the kernel in a text did; Wrong unless that is token shift."""
    x, mix = to_be_shifted()
    launched, names = launched_on(text, x, mix, launch)
    out = launched.arrays[names[2]]
    right = shifted(x, mix)
    missing = np.isnan(out).sum()
    wrong_unless(
        missing < out.size or "+=" not in text,
        "out begins as NaN, and what is added to NaN is NaN: write to it with =.",
    )
    wrong_unless(
        missing == 0 or not re.search(r"Idx\s*\.\s*[yz]", text),
        f"Of {out.size} numbers in out, {missing} are never written. Blocks and "
        "threads stand in one line here: .y and .z are 0, and .x counts them all.",
    )
    wrong_unless(
        missing == 0,
        f"Of {out.size} numbers in out, {missing} are never written, or are made of "
        "what stood there before, which is no number.",
    )

    def same(one, other):
        return np.allclose(one, other, rtol=0, atol=1e-5)

    if not same(out, right):
        not_one_of(out, wrong_shifts(x, mix), same)
        raise Wrong(
            "Every number is written, but not the right ones. With B = 1, T = 2 and "
            "C = 1, what does your kernel compute, line by line?"
        )
    return launched


def to_be_shifted():
    """x (B,T,C) and mix (C,), the same in every run."""
    random = np.random.default_rng(0)
    *_, channels = SHIFTED
    x, mix = random.normal(size=SHIFTED), random.random(channels)
    return x.astype(np.float32), mix.astype(np.float32)


def shifted(x, mix, before=None):
    """Token shift: mix of this token, and the rest of the one before it, or of 0."""
    if before is None:
        before = moved(x)
    return mix * x + (1 - mix) * before


def moved(x):
    """Every token's neighbour to the left; zeros are the first one's."""
    return np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], axis=1)


def launched_on(text, x, mix, launch):
    """What the kernel in a text does, and the names of its parameters; or Wrong."""
    try:
        _, parameters = warps.signature(text)
        names, kinds = zip(*parameters, strict=True) if parameters else ((), ())
        wrong_unless(
            [kind.replace("long long", "int") for kind in kinds] == TAKES,
            f"It should take {', '.join(TAKES)}, for x, mix, out, B, T and C, and "
            f"takes {', '.join(kinds) or 'nothing'}.",
        )
        wrong_unless(names[1] != "x", "The arrays come as x, mix and out: x is first.")
        out = np.full_like(x, np.nan)
        return launch(text, [x, mix, out, *x.shape], x.size, BLOCK), names
    except warps.Fault as fault:
        raise Wrong(what_is_wrong_with_it(fault, text)) from None
    except RuntimeError as error:
        raise Wrong(f"{error} To install it: {INSTALL}.") from None


def what_is_wrong_with_it(fault, text):
    """The sentence for what a kernel may not do."""
    if fault.kind in ("head", "together", "compiler", "endless", "crash", "divides"):
        return f"Your kernel does not run: {fault}."
    _, (mix, _), *_ = warps.signature(text)[1]
    (block, thread), other = fault.threads
    if fault.kind == "race":
        return f"{fault}. Read from x, write to out: threads come in any order."
    if fault.kind == "twice" and fault.at == thread == other[1]:
        return (
            f"{fault}. threadIdx begins again in every block: before it come "
            "blockIdx.x * blockDim.x other threads."
        )
    alone = other[0] == block and fault.at in (block, BLOCK * block)
    if fault.kind == "twice" and alone:
        return f"{fault}. blockIdx counts blocks: threadIdx.x has to be added."
    if fault.kind == "twice":
        return f"{fault}. Every number of out should belong to one thread."
    if fault.at > FAR:
        return (
            f"{fault}. It was below 0, which unsigned numbers can't be: take int, or "
            "compare before you subtract."
        )
    if fault.array == mix:
        return f"{fault}. It has one for every channel, and the channel is i % C."
    if fault.at < 0:
        return f"{fault}. The first token has none before it: take 0 there."
    return (
        f"{fault}. Blocks are whole, so the last one has threads too many: let those "
        "return."
    )


def wrong_shifts(x, mix):
    """Pairs (what comes out, its sentence) of the usual mistakes."""
    yield from wrong_places(x, mix)
    yield from wrong_shares(x, mix)


def wrong_places(x, mix):
    """Of mistakes in which number is read."""
    batch, length, channels = x.shape
    before, flat = moved(x), x.reshape(-1)
    last = np.concatenate([np.zeros(channels, x.dtype), flat[:-channels]])
    yield (
        shifted(x, mix, last.reshape(x.shape)),
        "The first token of the second text hears the last one of the first: ask "
        "whether t is 0, and not how large i is.",
    )
    own = before.copy()
    own[:, 0] = x[:, 0]
    yield (
        shifted(x, mix, own),
        "Before the first token comes 0, and not the token itself.",
    )
    yield (
        shifted(x, mix, np.flip(moved(np.flip(x, 1)), 1)),
        "It hears the token after it. The one before is C numbers back.",
    )
    beside = np.concatenate([np.zeros(1, x.dtype), flat[:-1]]).reshape(x.shape).copy()
    beside[:, 0] = 0
    yield (
        shifted(x, mix, beside),
        "i - 1 is the channel next door. The previous token is C numbers back.",
    )
    swapped = shifted(x.reshape(channels, length, batch), mix[:batch])
    yield swapped.reshape(x.shape), "The sizes come as B, T and C, in this order."
    rows = np.arange(batch * length).reshape(batch, length, 1)
    by_token = "It takes mix by the token. mix has one for every channel, i % C."
    yield shifted(x, mix[rows]), by_token
    yield shifted(x, mix[rows % length]), by_token
    turned = x.reshape(batch, channels, length).transpose(0, 2, 1)
    turned = shifted(turned, mix).transpose(0, 2, 1).reshape(x.shape)
    yield (
        turned,
        "It takes neighbours in memory for neighbouring tokens. They are channels: c "
        "is i % C, and t is i / C % T.",
    )
    apart = np.concatenate([np.zeros(length, x.dtype), flat[:-length]]).reshape(x.shape)
    apart[:, 0] = 0
    yield (
        shifted(x, mix, apart),
        "i - T is T numbers back. A token has C, so the previous one is C back.",
    )
    late = before.copy()
    late[:, 1] = 0
    yield (
        shifted(x, mix, late),
        "The second token hears nothing. It has one before it, too: ask for t > 0.",
    )
    by_text = last.reshape(x.shape).copy()
    by_text[0] = 0
    yield (
        shifted(x, mix, by_text),
        "It takes the text's number for the token's: t is i / C % T.",
    )


def wrong_shares(x, mix):
    """Of mistakes in how much of it is taken."""
    before = moved(x)
    yield (
        shifted(x, 1 - mix),
        "The shares are swapped: mix is that of this token, 1 - mix that of the one "
        "before.",
    )
    yield (
        mix * (x + before),
        "Both tokens have the share mix: that of the previous one is 1 - mix.",
    )
    yield x, "This token has both shares: 1 - mix is that of the previous one."
    yield mix * x + before, "The previous token comes in whole: its share is 1 - mix."
    yield mix * x, "The previous token is never heard: is `before` still 0?"
    yield (
        shifted(x, mix, np.trunc(before)),
        "The previous token has lost what is behind its point: an int keeps none.",
    )
    yield (
        mix * x + 1 - mix * before,
        "1 - mix needs parentheses: without them mix is what the previous token gets.",
    )
    yield (
        np.trunc(shifted(x, mix)),
        "It is right up to the point, and nothing is behind it: an int keeps none, and "
        "beside out[i] a 0 has to be 0.f.",
    )
    yield before, "mix has become 0: an int keeps nothing behind the point."
    carried = mix * x
    for t in range(1, x.shape[1]):
        carried[:, t] += (1 - mix) * carried[:, t - 1]
    yield (
        carried,
        "It hears what came out for the previous token, and not its x.",
    )


def compiles_for_a_gpu(text):
    """Wrong if NVRTC is here and has a complaint."""
    try:
        nvrtc.ptx(text)
    except nvrtc.Complaint as complaint:
        raise Wrong(
            f"It runs here, but not on a GPU, whose compiler says: {complaint}."
        ) from None
    except RuntimeError:
        return  # there is no NVRTC
