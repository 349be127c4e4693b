"""Chapter 5's checks: the right answer passes, each usual mistake hears its name."""

import numpy as np
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

ANSWERS = [
    *of(
        "05.1",
        (RIGHT, "Right. 430,397,440"),
        (float(RIGHT), "Right. 430,397,440"),
        (430_397_440, "Right. 430,397,440"),
        (RIGHT - V * C, "Embedding and head are two tables"),
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
        (169_342_464, "169,342,464 it is not"),
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
        (40, "40 it is not"),
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
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_05, ANSWERS)
