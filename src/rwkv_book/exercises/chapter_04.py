"""Exercises of chapter 4: the WKV operator by hand, stable, and in two halves."""

import math

import numpy as np

from rwkv_book.exercises import Wrong, exercise, number_of, returned, wrong_unless
from rwkv_book.rwkv4.minimal import merge, wkv


@exercise("04.1")
def state_after_three_tokens(answer):
    value = number_of(answer)
    wrong_unless(value != 16, "16 is the numerator of the third output, bonus and all.")
    wrong_unless(value != 11, "The third token is stored with 1, not with its bonus.")
    wrong_unless(value != 21, "21 stores each token with its bonus: store it with 1.")
    wrong_unless(value != 3.5, "The past was halved once too often: before the fourth.")
    wrong_unless(
        value != 10, "That is what the third token finds: it is not in it yet."
    )
    wrong_unless(value != 14, "Nothing has faded: halve before you add.")
    wrong_unless(value != 1.75, "That is den, the sum of the weights.")
    wrong_unless(value == 7, "Begin with 4; halve and add 8; halve and add 2.")
    return "4, then 10, then 7: the bonus is for now and is not remembered."


@exercise("04.2")
def half_life_of_a_published_number(answer):
    value = number_of(answer)
    rate = math.exp(-5)
    mistakes = {
        math.log(2) / 5: "-5 is the logarithm of the decay rate, not the rate.",
        1 / rate: "That is the time to fade to 1/e: a half-life has a ln 2.",
        math.log(2) * rate: "The rate is exp(-5), not exp(5), and ln 2 is over it.",
    }
    for mistake, sentence in mistakes.items():
        wrong_unless(not math.isclose(value, mistake, rel_tol=0.01), sentence)
    right = math.isclose(value, math.log(2) / rate, rel_tol=0.01)
    wrong_unless(right, "The decay rate is exp(-5); the half-life is ln 2 over it.")
    return f"ln 2 / exp(-5) is {math.log(2) / rate:.1f} tokens."


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
    for mistake, sentence in mistakes:
        wrong_unless(not np.allclose(found, mistake), sentence)
    first_is_right = np.allclose(found[0], value[0])
    wrong_unless(first_is_right, "The first average should be the first value.")
    right = np.allclose(found, slow(*arguments))
    wrong_unless(right, "The averages from the second on are not those of the formula.")
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
        for mistake, sentence in mistakes:
            if not same_sums(mistake, wanted):
                wrong_unless(not same_sums(found, mistake), sentence)
        wrong_unless(same_sums(found, wanted), "The sums are not those of the whole.")
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


@exercise("04.5")
def where_two_tokens_break(answer):
    value = number_of(answer)
    limit = math.log(float(np.finfo(np.float32).max))
    wrong_unless(
        not math.isclose(value, limit, abs_tol=0.02),
        "That is where a single weight overflows; here two of them are added.",
    )
    wrong_unless(
        not math.isclose(value, 88.02, abs_tol=0.003),
        "At 88.02 it still works: one step of 0.01 more.",
    )
    right = math.isclose(value, limit - math.log(2), abs_tol=0.006)
    wrong_unless(
        right or not limit - math.log(2) < value < 100,
        "It does fail there, but a smaller key fails already.",
    )
    wrong_unless(right, "Try keys between 80 and 90 in steps of 0.01, both values 1.")
    return "The sum of two weights overflows ln 2 earlier than one of them."


@exercise("04.6")
def design_a_memory(answer):
    value = number_of(answer)
    rate = math.log(100) / 100
    wrong_unless(
        not math.isclose(value, rate, rel_tol=0.02),
        "That is the decay rate; what is stored is its logarithm.",
    )
    wrong_unless(
        not math.isclose(value, -rate, rel_tol=0.02),
        "That is minus the decay rate; what is stored is its logarithm.",
    )
    wrong_unless(
        not math.isclose(value, math.log(math.log(2) / 100), rel_tol=0.005),
        "That channel has a half-life of 100: it keeps one half, not 1 %.",
    )
    wrong_unless(
        not math.isclose(value, math.log(2) / rate, rel_tol=0.01),
        "That is the half-life; what is stored is the logarithm of the decay rate.",
    )
    right = math.isclose(value, math.log(rate), rel_tol=0.005)
    wrong_unless(
        right or not math.isclose(value, math.log(rate), abs_tol=0.06),
        "Nearly: give two decimals.",
    )
    wrong_unless(right, "exp(-100 w) should be 0.01; solve for w, then take its log.")
    stored = math.log(rate)
    return f"w = ln(100) / 100 = {rate:.4f}, and its logarithm is {stored:.3f}."
