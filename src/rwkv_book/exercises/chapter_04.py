"""Exercises of chapter 4: the WKV operator by hand, stable, and in two halves."""

import math

import numpy as np

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Span,
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
            around(
                RATE, 0.02
            ): "That is the decay rate: the half-life is ln 2 over it.",
            around(math.exp(-RATE), 0.0005): "That is what one step multiplies by: how "
            "many steps make it a half?",
            math.log(2) * RATE: "The rate is exp(-5), not exp(5), and ln 2 is over it.",
        },
        hint="The decay rate is exp(-5); the half-life is ln 2 over it.",
        praise=f"ln 2 / exp(-5) is {math.log(2) / RATE:.1f} tokens.",
        relative=0.01,
    ),
)


def weights(decay_rate, bonus, key, early=0, newest=0.0):
    """The weights of all tokens so far (t+1,C), at each t, for keys near 1.

    The options are usual mistakes: a neighbour has faded `early` times, and the newest
    token weighs `newest` times its stored weight more.
    """
    times = np.arange(len(key))
    for t in times:
        age = times[:t, None]
        past = np.exp(key[:t] - (t - 1 - age + early) * decay_rate)
        now = np.exp(key[t] + bonus) + newest * np.exp(key[t])
        yield np.concatenate([past, [now]])


def slow(decay_rate, bonus, key, value, **mistakes):
    """The formula for keys near 1, right or with mistakes in its weights."""
    return np.array(
        [
            (weight * value[: len(weight)]).sum(0) / weight.sum(0)
            for weight in weights(decay_rate, bonus, key, **mistakes)
        ]
    )


def unscaled(decay_rate, bonus, key, value, output=False):
    """A loop that adds sums on two scales: when it stores, or for the output."""
    sums, out = (0.0, 0.0, np.full_like(bonus, -np.inf)), []
    for k, v in zip(key, value, strict=True):
        now = np.exp(k + bonus - np.maximum(sums[2], k + bonus))
        average, after = wkv(decay_rate, bonus, k, v, sums)
        if output:
            average = (sums[0] + now * v) / (sums[1] + now)
        else:
            stored = np.exp(k - after[2])
            after = sums[0] + stored * v, sums[1] + stored, after[2]
        out.append(average)
        sums = after
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
    found = my_wkv(*(x.copy() for x in arguments))
    found = found if found is None or isinstance(found, tuple) else np.asarray(found)
    returned(found, (12, 4), "the averages")
    hint = (
        "The averages from the second on are not those of the formula."
        if np.allclose(found[0], arguments[3][0])
        else "The first average should be the first value."
    )
    result(found, slow(*arguments), slips(*arguments), hint, np.allclose)
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
        np.allclose(large, wanted),
        "With keys of 1000 it is finite but wrong. Is a key or an exponent clipped?",
    )
    return "The averages are right, also for keys of 1000."


def slips(decay_rate, bonus, key, value):
    """What the usual mistakes give, each with its sentence."""
    tokens = key, value
    yield (
        slow(decay_rate, 0 * bonus, *tokens),
        "The bonus has no effect: is it missing, or stored with the token too?",
    )
    yield (
        slow(decay_rate, -bonus, *tokens),
        "The bonus has the wrong sign: it is added to the newest key.",
    )
    yield (
        slow(decay_rate, bonus, *tokens, early=1),
        "A neighbour has faded: with t - i for t - 1 - i. Take the average first.",
    )
    yield (
        slow(decay_rate, 0 * bonus, *tokens, early=1),
        "Two slips: it fades before the average, and the bonus has no effect.",
    )
    for early in (0, 1):
        yield (
            slow(decay_rate, bonus, *tokens, early=early, newest=1),
            "The newest token counts twice, stored and with its bonus: take the "
            "average before you store it.",
        )
    yield (
        slow(np.exp(decay_rate), bonus, *tokens),
        "It fades by exp(decay_rate) a step, and should by decay_rate: only what a "
        "file stores, log_decay_rate, wants that exponential.",
    )
    yield (
        slow(-np.log(decay_rate), bonus, *tokens),
        "A step multiplies by decay_rate, and should by exp(-decay_rate).",
    )
    yield (
        slow(-np.log1p(-decay_rate), bonus, *tokens),
        "A step multiplies by 1 - decay_rate, and should by exp(-decay_rate).",
    )
    yield (
        slow(2 * decay_rate, bonus, *tokens),
        "It fades twice a step: subtract from log_scale, or multiply the sums.",
    )
    everyone = list(weights(decay_rate, bonus, key))
    sums = [(weight * value[: len(weight)]).sum(0) for weight in everyone]
    scaled = [num / weight.max(0) for num, weight in zip(sums, everyone, strict=True)]
    for nums in (sums, scaled):
        yield np.array(nums), "That is num, the sum of weighted values: divide by den."
    unfaded = weights(0, bonus, key)
    yield (
        np.array([num / w.sum(0) for num, w in zip(sums, unfaded, strict=True)]),
        "Only num fades: den has to fade as well.",
    )
    yield (
        slow(decay_rate, -np.inf, *tokens, newest=bonus),
        "The bonus multiplies the newest weight, and should be added to its key.",
    )
    yield (
        slow(decay_rate, bonus, value, key),
        "Keys and values have changed places: e^key weighs, and values are averaged.",
    )
    yield (
        slow(*(x * math.log(2) for x in (decay_rate, bonus, key)), value),
        "Your weights are powers of 2: they should be powers of e.",
    )
    yield slow(0, bonus, *tokens), "Nothing fades: the decay rate is missing."
    yield slow(-decay_rate, bonus, *tokens), "The past grows: mind the decay's sign."
    yield (
        value,
        "Each average is the newest value alone: nothing is remembered. Are num, den "
        "and log_scale all updated, from -inf on?",
    )
    yield (
        unscaled(decay_rate, bonus, *tokens),
        "The past is stored on the old scale, and the new token on the new one: "
        "multiply num and den by exp(old - new) before you add.",
    )
    yield (
        unscaled(decay_rate, bonus, *tokens, output=True),
        "For the average, the past and the newest token are on two scales: multiply "
        "num and den by exp(log_scale - top) there as well.",
    )


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
            getattr(found, "__len__", int)() == 3 and not isinstance(found, str | dict),
            "It should return three things: num, den, log_scale.",
        )
        found = tuple(np.asarray(field, dtype=float) for field in found)
        wrong_unless(
            all(np.isfinite(field).all() for field in found),
            "It overflows for keys of 1000: rescale to the larger scale.",
        )
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
                merge((*first[:2], first[2] + length * decay_rate), second),
                "The first half has grown while the second ran: subtract.",
            ),
            (
                (wanted[1], wanted[0], wanted[2]),
                "den comes first in yours: it should be num, den, log_scale.",
            ),
            (
                merge((*first[:2], first[2] - (length - 1) * decay_rate), second),
                "The first half has faded by length - 1 steps: its last token fades "
                "once for every token stored after it, which is `length` times.",
            ),
            (
                merge((*first[:2], first[2] - (length + 1) * decay_rate), second),
                "The first half has faded by length + 1 steps, and the second half has "
                "only `length` tokens.",
            ),
            (
                merge((*first[:2], first[2] - 2 * length * decay_rate), second),
                "The first half has faded twice: subtract from its log_scale, or "
                "multiply its sums, not both.",
            ),
            (
                merge((*first[:2], first[2] - length * np.exp(decay_rate)), second),
                "The first half has faded by exp(decay_rate) a step: decay_rate is the "
                "rate already.",
            ),
            (
                (*wanted[:2], np.maximum(first[2], second[2])),
                "num and den are on one scale, and the scale you return is another: "
                "return the maximum that you took.",
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
            Span(80, OF_TWO - 0.006): "There the second average is still 1: a larger "
            "key.",
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
            around(math.exp(-FADING), 0.005): "That is what one step multiplies by, "
            "exp(-w); what is stored is the logarithm of w.",
            math.log(
                math.log10(100) / 100
            ): "That w comes from a logarithm to base 10: "
            "in exp(-100 w) = 0.01 it is the natural one.",
            around(STORED, absolute=0.06): "Nearly: give two decimals.",
        },
        hint="exp(-100 w) should be 0.01; solve for w, then take its log.",
        praise=f"w = ln(100) / 100 = {FADING:.4f}, and its logarithm is {STORED:.3f}.",
        relative=0.005,
    ),
)
