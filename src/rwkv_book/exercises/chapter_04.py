"""Exercises of chapter 4: the WKV operator by hand, stable, and in two halves."""

import math

import numpy as np

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Span,
    Wrong,
    around,
    result,
    returned,
    wrong_unless,
)
from rwkv_book.rwkv4.minimal import merge, wkv

RATE = math.exp(-5)

pose(
    "04.1",
    NumberQuestion(
        right=7,
        mistakes={
            16: "16 is the numerator of the third output, bonus and all.",
            11: "The third token is stored with 1, not with its bonus.",
            21: "21 stores each token with its bonus: store it with 1.",
            3.5: "The past was halved once too often: before the fourth.",
            10: "That is what the third token finds: it is not in it yet.",
            14: "Nothing has faded: halve before you add.",
            1.75: "That is den, the sum of the weights.",
        },
        hint="Begin with 4; halve and add 8; halve and add 2.",
        praise="4, then 10, then 7: the bonus is for now and is not remembered.",
    ),
)
pose(
    "04.2",
    NumberQuestion(
        right=math.log(2) / RATE,
        mistakes={
            math.log(2) / 5: "-5 is the logarithm of the decay rate, not the rate.",
            1 / RATE: "That is the time to fade to 1/e: a half-life has a ln 2.",
            math.log(2) * RATE: "The rate is exp(-5), not exp(5), and ln 2 is over it.",
        },
        hint="The decay rate is exp(-5); the half-life is ln 2 over it.",
        praise=f"ln 2 / exp(-5) is {math.log(2) / RATE:.1f} tokens.",
        relative=0.01,
    ),
)


def slow(decay_rate, bonus, key, value, forget=1.0, early=0):
    """The formula for keys near 1; its options are the usual mistakes."""
    times = np.arange(len(key))
    out = []
    for t in times:
        age = times[:t, None]
        logit = key[:t] - forget * (t - 1 - age + early) * decay_rate
        logit = np.concatenate([logit, [key[t] + bonus]])
        weight = np.exp(logit)
        out.append((weight * value[: t + 1]).sum(0) / weight.sum(0))
    return np.array(out)


def example(scale):
    """decay_rate, bonus (4,), key, value (12,4)."""
    random = np.random.default_rng(0)
    decay_rate, bonus = random.uniform(0.1, 1, 4), random.normal(size=4)
    return (
        decay_rate,
        bonus,
        scale * random.normal(size=(12, 4)),
        random.normal(size=(12, 4)),
    )


@exercise("04.3")
def a_loop_that_survives(my_wkv):
    arguments = example(scale=1)
    decay_rate, bonus, key, value = arguments
    found = my_wkv(*(x.copy() for x in arguments))
    found = np.array(found) if isinstance(found, list) else found
    returned(found, (12, 4), "the averages")
    mistakes = [
        (
            slow(decay_rate, 0 * bonus, key, value),
            "The bonus has no effect: is it missing, or stored with the token too?",
        ),
        (slow(*arguments, early=1), "A neighbour has faded: with t - i for t - 1 - i."),
        (
            slow(decay_rate, 0 * bonus, key, value, early=1),
            "Two slips: it fades before the average, and the bonus has no effect.",
        ),
        (slow(*arguments, forget=0), "Nothing fades: the decay rate is missing."),
        (slow(*arguments, forget=-1), "The past grows: mind the decay's sign."),
    ]
    hint = (
        "The averages from the second on are not those of the formula."
        if np.allclose(found[0], value[0])
        else "The first average should be the first value."
    )
    result(found, slow(*arguments), mistakes, hint, np.allclose)
    with np.errstate(all="ignore"):
        large = np.asarray(my_wkv(*example(scale=1000)))
    wrong_unless(
        np.isfinite(large).all(),
        "With keys of 1000 it is not finite. In each step no exponent may be above 0, "
        "and one of them must be 0: a maximum over the whole text, or a log_scale that "
        "begins at 0, makes all weights vanish.",
    )
    wanted = stable(*example(scale=1000))
    wrong_unless(
        np.allclose(large, wanted), "With keys of 1000 it is finite but wrong."
    )
    return "The averages are right, also for keys of 1000."


def stable(decay_rate, bonus, key, value):
    """The book's operator over (T,C)."""
    sums, out = (0.0, 0.0, np.full_like(decay_rate, -np.inf)), []
    for k, v in zip(key, value, strict=True):
        average, sums = wkv(decay_rate, bonus, k, v, sums)
        out.append(average)
    return np.array(out)


@exercise("04.4")
def two_halves_of_a_text(my_join):
    for scale, length in ((1, 3), (1, 1), (1000, 3), (-1000, 3)):
        first, second, decay_rate = halves(scale)
        wanted = merge((first[0], first[1], first[2] - length * decay_rate), second)
        with np.errstate(all="ignore"):
            found = my_join(first, second, length, decay_rate)
        wrong_unless(found is not None, "The function returns nothing.")
        wrong_unless(
            isinstance(found, tuple | list | np.ndarray) and len(found) == 3,
            "It should return three things: num, den, log_scale.",
        )
        if not all(np.isfinite(field).all() for field in found):
            raise Wrong("It overflows for keys of 1000: rescale to the larger scale.")
        mistakes = [
            (
                merge(first, second),
                "The first half has not faded while the second ran.",
            ),
            (
                merge(first, (second[0], second[1], second[2] - length * decay_rate)),
                "The second half has faded; it is the older one that should.",
            ),
            (
                merge((first[0], first[1], first[2] - decay_rate), second),
                "The first half has faded by one step, not by `length` of them.",
            ),
            (
                merge((*first[:2], first[2] - (length - 1) * decay_rate), second),
                "The first half has faded by length - 1 steps: its last token fades "
                "once for every token stored after it, which is `length` times.",
            ),
            (
                (first[0] + second[0], first[1] + second[1], wanted[2]),
                "Sums on different scales were added: rescale both to the larger one.",
            ),
        ]
        result(
            found, wanted, mistakes, "The sums are not those of the whole.", same_sums
        )
    return "Two machines, one text: so a sequence can be split across many."


def halves(scale):
    """(num, den, log_scale) of two halves, and decay_rate: (4,) each."""
    random = np.random.default_rng(1)

    def sums():
        return (
            random.normal(size=4),
            random.uniform(1, 2, 4),
            scale * random.normal(size=4),
        )

    return sums(), sums(), random.uniform(0.1, 1, 4)


def same_sums(one, other):
    """Equal as sums: on one scale, the larger, both fields are."""
    top = np.maximum(one[2], other[2])
    return all(
        np.allclose(one[n] * np.exp(one[2] - top), other[n] * np.exp(other[2] - top))
        for n in (0, 1)
    )


OVERFLOW = math.log(float(np.finfo(np.float32).max))  # one weight, exp(key)
OF_TWO = OVERFLOW - math.log(2)

pose(
    "04.5",
    NumberQuestion(
        right=OF_TWO,
        mistakes={
            around(OVERFLOW, absolute=0.02): "That is where a single weight overflows; "
            "here two of them are added.",
            around(88.02, absolute=0.003): "At 88.02 it still works: one step of 0.01 "
            "more.",
            Span(OF_TWO - 0.006, 100): "It does fail there, but a smaller key fails "
            "already.",
        },
        hint="Try keys between 80 and 90 in steps of 0.01, both values 1.",
        praise="The sum of two weights overflows ln 2 earlier than one of them.",
        absolute=0.006,
    ),
)

FADING = math.log(100) / 100
STORED = math.log(FADING)

pose(
    "04.6",
    NumberQuestion(
        right=STORED,
        mistakes={
            around(FADING, 0.02): "That is the decay rate; what is stored is its "
            "logarithm.",
            around(
                -FADING, 0.02
            ): "That is minus the decay rate; what is stored is its logarithm.",
            math.log(
                math.log(2) / 100
            ): "That channel has a half-life of 100: it keeps one half, not 1 %.",
            around(math.log(2) / FADING, 0.01): "That is the half-life; what is stored "
            "is the logarithm of the decay rate.",
            around(STORED, absolute=0.06): "Nearly: give two decimals.",
        },
        hint="exp(-100 w) should be 0.01; solve for w, then take its log.",
        praise=f"w = ln(100) / 100 = {FADING:.4f}, and its logarithm is {STORED:.3f}.",
        relative=0.005,
    ),
)
