"""What the checks of chapter 4 say about right answers and about the usual mistakes."""

import math

import numpy as np
import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_04
from rwkv_book.rwkv4.minimal import merge

RATE = math.exp(-5)


def loop(early=0, bonus_is_stored=False, fading=1.0, bonus_scale=1.0, safe=True):
    """A loop over (T,C) with one of the usual mistakes in it."""

    def my_wkv(decay_rate, bonus, key, value):
        bonus = bonus_scale * bonus
        sums, out = (0 * bonus, 0 * bonus, np.full_like(bonus, -np.inf)), []
        for k, v in zip(key, value, strict=True):
            seen = sums[0], sums[1], sums[2] - early * decay_rate
            num, den, top = merge(seen, (v, 1, k + bonus))
            out.append(num / den if safe else num * np.exp(top) / (den * np.exp(top)))
            stored = k + bonus if bonus_is_stored else k
            faded = sums[0], sums[1], sums[2] - fading * decay_rate
            sums = merge(faded, (v, 1, stored))
        return np.array(out)

    return my_wkv


def faded(change):
    """The right loop with another decay rate."""
    return lambda w, *others: loop()(change(w), *others)


def stored_first(early):
    """The newest token is stored, and then merged once more with its bonus."""

    def my_wkv(decay_rate, bonus, key, value):
        sums, out = (0 * bonus, 0 * bonus, np.full_like(bonus, -np.inf)), []
        for k, v in zip(key, value, strict=True):
            faded = sums[0], sums[1], sums[2] - early * decay_rate
            num, den, _ = merge(merge(faded, (v, 1, k)), (v, 1, k + bonus))
            out.append(num / den)
            sums = merge((sums[0], sums[1], sums[2] - decay_rate), (v, 1, k))
        return np.array(out)

    return my_wkv


def two_scales(stored):
    """The past stays on its scale: when it is stored, or for the output."""

    def my_wkv(decay_rate, bonus, key, value):
        num, den, log_scale, out = 0.0, 0.0, np.full_like(bonus, -np.inf), []
        for k, v in zip(key, value, strict=True):
            top = np.maximum(log_scale, k + bonus)
            past = np.exp(log_scale - top) if stored else 1
            now = np.exp(k + bonus - top)
            out.append((past * num + now * v) / (past * den + now))
            top = np.maximum(log_scale - decay_rate, k)
            past = 1 if stored else np.exp(log_scale - decay_rate - top)
            now = np.exp(k - top)
            num, den, log_scale = past * num + now * v, past * den + now, top
        return np.array(out)

    return my_wkv


def sums_alone(scaled):
    """num without den, on its scale or as it is."""

    def my_wkv(decay_rate, bonus, key, value):
        sums, out = (0 * bonus, 0 * bonus, np.full_like(bonus, -np.inf)), []
        for k, v in zip(key, value, strict=True):
            num, _, top = merge(sums, (v, 1, k + bonus))
            out.append(num if scaled else num * np.exp(top))
            sums = merge((*sums[:2], sums[2] - decay_rate), (v, 1, k))
        return np.array(out)

    return my_wkv


def plain(decay_rate, key, value, now, den_fades=True):
    """The loop without a common scale; `now` gives the newest weight."""
    num, den, out = 0.0, 0.0, []
    for k, v in zip(key, value, strict=True):
        out.append((num + now(k) * v) / (den + now(k)))
        fade = np.exp(-decay_rate)
        num, den = (
            fade * num + np.exp(k) * v,
            (fade if den_fades else 1) * den + np.exp(k),
        )
    return np.array(out)


def den_is_kept(w, u, k, v):
    return plain(w, k, v, lambda k: np.exp(k + u), den_fades=False)


def bonus_as_a_factor(w, u, k, v):
    return plain(w, k, v, lambda k: u * np.exp(k))


def join(older=1.0, newer=0.0):
    def my_join(first, second, length, decay_rate):
        first = (*first[:2], first[2] - older * length * decay_rate)
        return merge(first, (*second[:2], second[2] - newer * length * decay_rate))

    return my_join


def unscaled(first, second, length, decay_rate):
    scales = first[2] - length * decay_rate, second[2]
    weights = [np.exp(scale) for scale in scales]
    return (
        weights[0] * first[0] + weights[1] * second[0],
        weights[0] * first[1] + weights[1] * second[1],
        np.zeros(4),
    )


def on_the_second_scale(first, second, length, decay_rate):
    weight = np.exp(first[2] - length * decay_rate - second[2])
    num, den = weight * first[0] + second[0], weight * first[1] + second[1]
    return num, den, second[2]


ANSWERS = [
    *of(
        "04.1",
        (7, "Right."),
        (16, "numerator of the third output"),
        (11, "not with its bonus"),
        (10, "not in it yet"),
        (14, "Nothing has faded"),
        (3.5, "halved once too often"),
        (1.75, "That is den"),
        (21, "with its bonus"),
        (6, "halve and add 2"),
    ),
    *of(
        "04.2",
        (103, "Right."),
        (5, "the half-life is ln 2 over it"),
        (math.log(2) / RATE, "Right."),
        (math.log(2) / 5, "logarithm of the decay rate"),
        (1 / RATE, "fade to 1/e"),
        (math.log(2) * RATE, "not exp(5)"),
        (0.0067, "That is the decay rate"),
        (0.9933, "what one step multiplies by"),
    ),
    *of(
        "04.3",
        (loop(), "Right."),
        (chapter_04.stable, "Right."),
        (lambda *a: [*loop()(*a)], "Right."),
        (loop(early=1), "A neighbour has faded"),
        (loop(bonus_is_stored=True), "stored with the token too"),
        (lambda *a: torch.tensor(loop()(*a)), "Right."),
        (faded(np.exp), "fades by exp(decay_rate)"),
        (faded(lambda w: -np.log(w)), "multiplies by decay_rate"),
        (faded(lambda w: -np.log(1 - w)), "multiplies by 1 - decay_rate"),
        (loop(fading=2), "fades twice a step"),
        (stored_first(early=0), "counts twice"),
        (stored_first(early=1), "counts twice"),
        (two_scales(stored=True), "on the old scale"),
        (two_scales(stored=False), "on two scales"),
        (lambda w, u, k, v: v, "nothing is remembered"),
        (lambda *a: (loop()(*a), None), "returns tuple"),
        (loop(bonus_scale=-1), "wrong sign"),
        (sums_alone(scaled=False), "That is num"),
        (sums_alone(scaled=True), "That is num"),
        (den_is_kept, "Only num fades"),
        (lambda w, u, k, v: loop()(w, u, v, k), "have changed places"),
        (bonus_as_a_factor, "should be added to its key"),
        (
            lambda w, u, k, v: loop()(*(math.log(2) * x for x in (w, u, k)), v),
            "powers of e",
        ),
        (loop(fading=0), "Nothing fades"),
        (loop(fading=-1), "The past grows"),
        (loop(bonus_scale=0), "The bonus has no effect"),
        (loop(bonus_scale=2), "not those of the formula"),
        (loop(early=1, bonus_is_stored=True), "Two slips"),
        (
            lambda w, u, k, v: loop()(w, u, k.clip(-80, 80), v),
            "finite but wrong. Is a key or an exponent clipped",
        ),
        (loop(safe=False), "With keys of 1000 it is not finite"),
        (lambda *_: np.zeros((3, 4)), "returns shape (3, 4)"),
        (lambda *_: np.zeros((12, 4)), "first average should be the first value"),
        (lambda *_: None, "returns nothing"),
    ),
    *of(
        "04.4",
        (join(), "Right."),
        (lambda *a: np.array(join()(*a)), "Right."),
        (join(older=0), "has not faded"),
        (join(older=-1), "has grown"),
        (lambda *a: [join()(*a)[n] for n in (1, 0, 2)], "den comes first"),
        (join(older=0, newer=1), "it is the older one"),
        (lambda a, b, n, w: join()(a, b, 1, w), "not by `length`"),
        (unscaled, "It overflows"),
        (lambda a, b, n, w: join()(a, b, n - 1, w), "by length - 1 steps"),
        (lambda a, b, n, w: join()(a, b, n + 1, w), "by length + 1 steps"),
        (
            lambda a, b, n, w: (a[0] + b[0], a[1] + b[1], join()(a, b, n, w)[2]),
            "rescale",
        ),
        (on_the_second_scale, "It overflows"),
        (lambda *_: 3, "three things"),
        (lambda *_: None, "returns nothing"),
        (lambda *a: tuple(map(torch.tensor, join()(*a))), "Right."),
        (join(older=2), "faded twice"),
        (lambda a, b, n, w: join()(a, b, n, np.exp(w)), "exp(decay_rate) a step"),
        (
            lambda a, b, n, w: (*join()(a, b, n, w)[:2], np.maximum(a[2], b[2])),
            "the scale you return",
        ),
        (join(older=3), "not those of the whole"),
        (lambda *_: "abc", "three things"),
    ),
    *of(
        "04.5",
        (88.03, "Right."),
        (88.73, "single weight"),
        (88.02, "still works"),
        (87.34, "still 1: a larger"),
        (90, "a smaller key fails already"),
        (50, "between 80 and 90"),
    ),
    *of(
        "04.6",
        (-3.08, "Right."),
        (math.log(100) / 100, "That is the decay rate"),
        (-math.log(100) / 100, "minus the decay rate"),
        (math.log(math.log(2) / 100), "half-life of 100"),
        (15.05, "That is the half-life"),
        (0.955, "what one step multiplies by"),
        (-3.912, "a logarithm to base 10"),
        (-3.1, "two decimals"),
        (3, "solve for w"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_04, ANSWERS)
