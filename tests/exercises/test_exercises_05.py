"""Chapter 5's checks: the right answer passes, each usual mistake hears its name."""

import numpy as np
import torch
from helpers.exercises import all_heard, of, told

from rwkv_book import checkpoint
from rwkv_book.exercises import chapter_05
from rwkv_book.rwkv4 import minimal

V, C, L = 50277, 1024, 24
RIGHT = 2 * V * C + 13 * C**2 * L + C * (11 * L + 4)


def test_a_forgetful_model_sees_twelve_bytes_back():
    assert furthest_byte_that_matters(limit=20) == 12


def furthest_byte_that_matters(limit):
    """By trying it, in double precision: which byte still moves a logit."""
    params = checkpoint.load(checkpoint.shipped())
    params = {name: values.astype(float) for name, values in params.items()}
    for name in params:
        if name.endswith("log_decay_rate"):
            params[name][:] = 12

    def logits(text):
        state = minimal.initial_state(params).astype(float)
        for token in text:
            out, state = minimal.step(token, state, params)
        return out

    text = list(b"A text of more than twenty bytes, all of them letters.")
    before = logits(text)
    moved = []
    for back in range(limit):
        changed = text.copy()
        changed[-1 - back] = ord("x")
        moved.append(np.abs(logits(changed) - before).max() > 0)
    return max(np.flatnonzero(moved))


def choose(text, endings, params, **mistake):
    return chapter_05.costs(text, endings, params, **mistake)


def reading_again(text, endings, params):
    return np.concatenate([choose(text, [e], params) for e in endings])


def test_the_matrices_without_names_are_those_of_the_layer():
    params = checkpoint.load(checkpoint.shipped())
    order = chapter_05.shuffled()
    assert sorted(order) == sorted(chapter_05.PARTS) and order != [*chapter_05.PARTS]
    for part, matrix in zip(order, chapter_05.nameless(params), strict=True):
        assert matrix is params[f"blocks.0.time_mix.{part}.weight"]


ORDER = chapter_05.shuffled()


def min_p(logits, temperature, least):
    return chapter_05.min_p(np.asarray(logits), temperature, least)


def whole(logits, temperature, least):
    return min_p(logits, temperature, 0)


def by_softmax(logits, temperature, least):
    p = torch.tensor(logits / temperature).softmax(0)
    p = torch.where(p >= least * p.max(), p, 0)
    return p / p.sum()


def changing(logits, temperature, least):
    logits /= temperature
    return min_p(logits, 1, least)


def cut_then_warmed(logits, temperature, least):
    return min_p(logits, 1, least) ** (1 / temperature)


def cut_scores(logits, temperature, least):
    kept = min_p(logits, temperature, least) > 0
    return np.where(kept, logits / temperature, -np.inf)


def keeping(cut, divide=True):
    """Another rule for what is kept: cut(probabilities, logits, least)."""

    def answer(logits, temperature, least):
        p = whole(logits, temperature, least)
        p = np.where(cut(p, logits, least), p, 0)
        return p / p.sum() if divide else p

    return answer


@np.errstate(over="ignore", invalid="ignore")
def overflowing(logits, temperature, least):
    weights = np.exp(logits / temperature)
    weights[weights < least * weights.max()] = 0
    return weights / weights.sum()


@np.errstate(invalid="ignore")
def without_ties(logits, temperature, least):
    p = whole(logits, temperature, least)
    p = np.where(p > least * p.max(), p, 0)
    return p / p.sum()


ANSWERS = [
    *of(
        "05.1",
        (RIGHT, "Right. 430,397,440"),
        (float(RIGHT), "Right. 430,397,440"),
        (430_397_440, "Right. 430,397,440"),
        (RIGHT - V * C, "Embedding and head are two tables"),
        (RIGHT - 2 * V * C, "Embedding and head are missing"),
        (2 * RIGHT, "the bytes of a file"),
        (2 * V * C + 12 * C**2 * L + C * (11 * L + 4), "A matrix of C² is missing"),
        (
            2 * V * C + 7 * C**2 * L + C * (11 * L + 4),
            "Channel mixing widens to 4C",
        ),
        (2 * V * C + 13 * C**2 * L, "That is the matrices alone"),
        (
            2 * V * C + 13 * C**2 * L + 11 * C * L,
            "The two norms outside the layers",
        ),
        (
            2 * V * C + 13 * C**2 * L + C * (11 * L + 2),
            "One norm outside the layers",
        ),
        (2 * V * C + 13 * C**2 * L + C * (7 * L + 4), "The norms in the layers"),
        (2 * V * C + 13 * C**2 * L + C * (9 * L + 4), "Two vectors a layer"),
        (2 * V * C + (13 * C**2 + 15 * C) * L, "there once, not in every layer"),
        (RIGHT + 512, "Nearly: the millions are right"),
        (169_342_464, "It is not 169,342,464"),
    ),
    *of(
        "05.2",
        (12, "Right."),
        (0, "x_time and x_channel"),
        (1, "one token shift alone"),
        (2, "the token shifts of one layer"),
        (3, "That is one layer"),
        (4, "One step a layer is too few"),
        (8, "with no decay in it: one more"),
        (13, "the newest is 0 back"),
        (40, "It is not 40"),
    ),
    *of(
        "05.3",
        (choose, "Right. 50 steps, and the model would go on with 'rd, good night.'"),
        (lambda *a: choose(*a).tolist(), "Right."),
        (reading_again, "The costs are right, and took"),
        (
            lambda *a: choose(*a) / [len(ending) for ending in a[1]],
            "the sum is asked for",
        ),
        (lambda *a: -choose(*a), "The sign is turned"),
        (lambda *a: choose(*a, carry="logits"), "from the logits after the text"),
        (lambda *a: choose(*a, again=[0]), "stands before a text, not before"),
        (lambda *a: choose(*a) + choose("", [a[0]], a[2]), "the text costs, too"),
        (
            lambda *a: np.add(choose(*a), [0, 1, 0]),
            "The ending 'rd, good night.' costs",
        ),
        (lambda *a: choose(*a, start=[]), "not with the byte END before it"),
        (lambda *a: choose(*a, carry="state"), "from the state after the text"),
        (lambda *a: choose(*a, carry="both"), "the logits and the state after"),
        (lambda text, *a: choose("", *a), "without the text before them"),
        (lambda *a: choose(*a, skip=1), "The first byte of each ending is missing"),
        (
            lambda *a: np.add(choose(*a), [1, 0, 0]),
            "The ending 've, good night.' costs",
        ),
        (lambda *a: choose(*a)[:2], "Three endings need three costs"),
        (lambda *a: torch.tensor(choose(*a)), "Right."),
        (lambda *a: [torch.tensor(cost) for cost in choose(*a)], "Right."),
        (lambda *a: tuple(np.float32(choose(*a))), "Right."),
        (lambda *a: choose(*a)[:, None], "Right."),
        (lambda *a: dict(zip(a[1], choose(*a), strict=True)), "Right."),
        (lambda *a: (cost for cost in choose(*a)), "Right."),
        (lambda *a: dict(enumerate(choose(*a))), "needs each ending as a key"),
        (lambda *a: a[1][1], "That is the ending that you choose"),
        (lambda *a: "the second", "a list of three costs"),
        (lambda *a: 1, "a list of three costs"),
        (lambda *a: np.argsort(choose(*a)), "Per byte: -ln of the softmax"),
        (lambda *a: choose(*a) / np.log(2), "Those are bits"),
        (lambda *a: -choose(*a) / np.log(2), "and these are bits"),
        (lambda *a: choose(*a) / np.log(10), "base 10"),
        (lambda *a: np.exp(-choose(*a)), "Those are probabilities"),
        (lambda *a: np.add(choose(*a), [0, 0, np.inf]), "A cost is not finite"),
        (lambda *a: np.zeros(3), "All costs are 0"),
        (lambda *a: choose(*a, scored="after"), "score first, then step"),
        (lambda *a: choose(*a, scored="before"), "one step too early"),
        (lambda *a: choose(*a, scored="logits"), "sums of minus the logits"),
        (lambda *a: choose(*a, scored="p"), "Those are sums of p"),
        (lambda *a: choose(*a, last=-1), "The last byte of each ending is missing"),
        (lambda *a: choose(*a) + 1, "Per byte: -ln of the softmax"),
        (lambda *a: None, "returns nothing"),
        (7, "It should be a function"),
    ),
    *of(
        "05.4",
        (ORDER, "Right."),
        (tuple(ORDER), "Right."),
        ([ORDER[1], ORDER[0], *ORDER[2:]], "2 of the 4 are where they belong"),
        (ORDER[1:] + ORDER[:1], "0 of the 4"),
        ("key", "each of these names once"),
        (["key"] * 4, "each of these names once"),
        (4, "each of these names once"),
        ({"key": 1}, "each of these names once"),
    ),
    *of(
        "05.5",
        (min_p, "Right. 7 of 8 are kept here"),
        (lambda *a: torch.tensor(min_p(*a)), "Right."),
        (lambda *a: min_p(*a).tolist(), "Right."),
        (lambda *a: min_p(*a)[None], "Right."),
        (lambda *a: np.float32(min_p(*a)), "Right."),
        (by_softmax, "Right."),
        (7, "It should be a function"),
        (lambda *a: None, "returns nothing"),
        (lambda *a: "all", "an array of 8 probabilities"),
        (lambda *a: 4, "such as the token drawn"),
        (lambda *a: min_p(*a)[min_p(*a) > 0], "a token that is cut stays"),
        (changing, "changes the logits"),
        (lambda *a: np.where(min_p(*a) > 0, whole(*a), 0), "add up to less than 1"),
        (lambda *a: whole(*a), "Nothing is cut"),
        (lambda z, t, least: min_p(z, 1, least), "The temperature does nothing"),
        (lambda z, t, least: min_p(z, 1 / t, least), "the other way round"),
        (lambda *a: chapter_05.min_p(*a, warm_first=False), "cut comes before"),
        (cut_then_warmed, "Cut, then warmed"),
        (keeping(lambda p, z, least: p >= least), "made at probability `least` itself"),
        (keeping(lambda p, z, least: z >= least * z.max()), "compares scores"),
        (keeping(lambda p, z, least: p >= p.max() - least), "The cut is a difference"),
        (keeping(lambda p, z, least: z >= z.max() - least), "The cut is a difference"),
        (
            keeping(lambda p, z, least: p >= p.max() - least, divide=False),
            "at least `least` *times* as likely as the likeliest one. (And the rest",
        ),
        (keeping(lambda p, z, least: p < least * p.max()), "turned round"),
        (
            keeping(lambda p, z, least: chapter_05.nucleus(p, least)),
            "That is top-p",
        ),
        (
            keeping(lambda p, z, least: p >= least, divide=False),
            "(And the rest should add up to 1.)",
        ),
        (cut_scores, "the softmax makes probabilities"),
        (lambda *a: np.sort(min_p(*a))[::-1], "the right numbers, sorted"),
        (lambda *a: np.full(len(a[0]), 1 / len(a[0])), "Of the scores"),
        (overflowing, "it gives NaN"),
        (without_ties, "four equal scores"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_05, ANSWERS)
