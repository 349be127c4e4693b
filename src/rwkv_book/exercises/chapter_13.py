"""Exercises of chapter 13: correct a table by hand, in code, for all tokens at once."""

import numpy as np

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Wrong,
    around,
    result,
    returned,
    wrong_unless,
)

pose(
    "13.1",
    NumberQuestion(
        right=5,
        mistakes={
            12: "12 is the sum: that is what a table gives to which you only add.",
            8: "8 is what a rate of 1 leaves: the old value is all gone.",
            6: "The first write has a rate of ½ too: it leaves 2, not 4.",
            10: "10 erases half and writes all: the rate is for both.",
            9: "9 writes all of 8 beside half of 2: the rate is for both.",
            3: "3 is the step of the second write: add it to what was there.",
            2: "2 is the first write alone: a second one follows.",
            4: "4 is half of 8 alone: half of what was there stays.",
        },
        hint="Each write goes half of the way from what is there to the new value.",
        praise="From 0 to 2, then half of the way from 2 to 8.",
    ),
)

LAYERS, WIDTH, SIZE = 12, 768, 64
NUMBERS = LAYERS * (2 + SIZE) * WIDTH

pose(
    "13.2",
    NumberQuestion(
        right=NUMBERS,
        mistakes={
            LAYERS * SIZE * WIDTH: "Those are the tables. Each layer also keeps two "
            "rows, the previous token of each sublayer.",
            LAYERS * (1 + SIZE) * WIDTH: "One row is missing: both sublayers shift.",
            LAYERS * 5 * WIDTH: "That is RWKV-4's state, five rows a layer.",
            LAYERS * WIDTH * WIDTH: "A table of C by C in each layer: but each head "
            "has its own, N by N.",
            LAYERS * SIZE * SIZE: "That is one head. A layer has 768 / 64 of them.",
            NUMBERS // LAYERS: "That is one layer.",
            4 * NUMBERS: "Those are bytes, at four a number. How many numbers?",
            2 * NUMBERS: "Those are bytes, at two a number. How many numbers?",
        },
        hint="A layer keeps C / N tables of N by N, and two rows of C.",
        praise="12 layers of 66 rows of 768: {answer:,.0f}, at any length of text.",
    ),
)


def step(table, decay, key, value, removed, rate, seen=None):
    """One head corrects its table; `seen` is the table in which it looks up."""
    found = (table if seen is None else seen) @ removed
    return table * decay - np.outer(found, removed * rate) + np.outer(value, key)


def head(size=4, seed=0):
    """table (N,N), decay, key, value, removed, rate (N,): an example of one head."""
    random = np.random.default_rng(seed)
    table, (key, value, removed) = (
        random.normal(size=(size, size)),
        random.normal(size=(3, size)),
    )
    decay, rate = random.uniform(0.55, 0.95, size), random.uniform(0.1, 0.9, size)
    return table, decay, key, value, removed / np.linalg.norm(removed), rate


@exercise("13.3")
def correct_a_table(my_correct):
    arguments = head()
    given = [each.copy() for each in arguments]
    found = my_correct(*given)
    found = found if found is None or isinstance(found, tuple) else np.array(found)
    returned(found, arguments[0].shape, "the new table")
    result(
        found,
        step(*arguments),
        slips(*arguments),
        "It is not the new table. Four terms: what decays, what is found, what goes, "
        "what comes; try each alone with the others at zero.",
        np.allclose,
    )
    wrong_unless(
        all(np.array_equal(a, b) for a, b in zip(given, arguments, strict=True)),
        "The numbers are right, but your function changes the table that it was given: "
        "whoever kept the old state has lost it. Make a new one.",
    )
    return "It looks up first, and decays, erases and writes after that."


def slips(table, decay, key, value, removed, rate):
    """What the usual mistakes give, each with its sentence."""
    found, write = table @ removed, np.outer(value, key)
    goes = np.outer(found, removed * rate)
    yield (
        step(table, decay, key, value, removed, rate, seen=table * decay),
        "You look up in the table after it has decayed. RWKV-7 looks first; it is "
        "Gated DeltaNet and Kimi that look after.",
    )
    yield (
        step(table, decay, key, value, removed, rate, seen=table + write),
        "You look up after you have written, and take out what has just come.",
    )
    yield (
        table * decay + goes + write,
        "What is found is added once more, and should be taken out: mind the sign.",
    )
    yield table * decay + write, "Nothing is taken out: this is RWKV-6."
    yield (
        table * np.exp(-decay) - goes + write,
        "The decay that you are given is the share kept itself: no exponential.",
    )
    yield (
        (table - goes) * decay + write,
        "What goes has decayed as well: only the table decays, beside what goes.",
    )
    yield (
        (table - goes + write) * decay,
        "What comes has decayed already: a token does not fade in its own step.",
    )
    yield table - goes + write, "Nothing decays."
    yield (
        table * decay[:, None] - goes + write,
        "The decay is on the rows, which are values: it belongs to the keys, so to "
        "the columns.",
    )
    yield (
        table * decay - np.outer(found, removed) + write,
        "All that is found goes: the rate is missing.",
    )
    yield (
        table * decay - np.outer(found * rate, removed) + write,
        "The rate is on the rows, which are values: it belongs to the keys, so to the "
        "columns.",
    )
    yield (
        table * decay - np.outer(table @ (removed * rate), removed) + write,
        "The rate is in the look-up. Look up under the whole removal key, and take "
        "out at the rate.",
    )
    yield (
        table * decay - np.outer(table @ (removed * rate), removed * rate) + write,
        "The rate is there twice: once in the look-up, where it does not belong.",
    )
    yield (
        table * decay - goes + np.outer(value, key * rate),
        "The new value is written at the rate: the key that you are given has been "
        "scaled already.",
    )
    yield (
        table * decay - goes + write.T,
        "What is written is turned: values are rows, keys are columns.",
    )
    yield (
        table * decay - goes.T + write,
        "What goes is turned: values are rows, keys are columns.",
    )
    yield (
        step(table, decay, key, value, key, rate),
        "You take out under the key. It has a removal key of its own.",
    )
    yield (
        step(table, decay, removed, value, removed, rate),
        "You write under the removal key. It writes under the key.",
    )
    yield (
        table * decay - np.outer(table.T @ removed, removed * rate) + write,
        "You look up in the turned table: S times the removal key, not the removal "
        "key times S.",
    )


def tokens(length=5, size=4, values=3, seed=1):
    """removed, rate, key (T,N), value (T,M): an example of several tokens."""
    random = np.random.default_rng(seed)
    removed, key = random.normal(size=(2, length, size))
    removed /= np.linalg.norm(removed, axis=1, keepdims=True)
    rate = random.uniform(0.1, 0.9, (length, size))
    return removed, rate, key, random.normal(size=(length, values))


def solved(removed, rate, key, value, own=True, turned=False, sign=1):
    """What each token finds (T,M), from one triangular system; options are slips."""
    pairs = key @ removed.T if turned else removed @ key.T
    known = np.tril(pairs, -1) @ value
    others = np.tril(removed @ (removed * rate).T, -1)
    return np.linalg.solve(np.eye(len(key)) + sign * own * others, known)


@exercise("13.4")
def what_each_token_finds(my_found):
    arguments = tokens()
    removed, rate, key, value = arguments
    found = my_found(*(each.copy() for each in arguments))
    found = found if found is None or isinstance(found, tuple) else np.array(found)
    returned(found, value.shape, "what each token finds")
    flat = np.ones_like(rate)
    wrong_unless(
        np.allclose(found[0], 0),
        "The first token finds something in an empty table: is a token's own writing "
        "in it, or that of a later one? Only i < t counts.",
    )
    mistakes = [
        (
            solved(*arguments, own=False),
            "That is what was written, as if nobody had ever taken anything out.",
        ),
        (
            solved(*arguments, sign=-1),
            "What others took out is added, and should be missing: mind the sign.",
        ),
        (solved(removed, flat, key, value), "All that is found goes: mind the rate."),
        (
            np.linalg.solve(
                np.eye(len(key)) + np.tril((removed * rate) @ removed.T, -1),
                np.tril(removed @ key.T, -1) @ value,
            ),
            "The rate is that of the token that asks: it should be that of the one "
            "that took out.",
        ),
        (
            solved(removed, rate, removed, value),
            "What is written stands under the key, and you ask as if it stood under "
            "the removal key: there are two matrices.",
        ),
        (
            solved(removed, rate, key * rate, value),
            "What comes is written in full: the rate is for what goes.",
        ),
        (
            solved(removed, rate, key, value, turned=True),
            "You ask with the key what stands under the removal key: it is the other "
            "way round.",
        ),
        (
            one_round(*arguments),
            "What others found is taken as if nothing had been taken out before them: "
            "that holds for two tokens. Solve the system.",
        ),
    ]
    hint = (
        "The first two tokens are right and the third is not: what it finds depends "
        "on what the second took out."
        if np.allclose(found[:2], solved(*arguments)[:2])
        else "The second token should find (key 1 · removed 2) times value 1."
    )
    result(found, solved(*arguments), mistakes, hint, np.allclose)
    return "All tokens at once, and no table anywhere."


def one_round(removed, rate, key, value):
    """What is written, less what all would take out of that: not yet solved."""
    written = solved(removed, rate, key, value, own=False)
    return written - np.tril(removed @ (removed * rate).T, -1) @ written


@exercise("13.5")
def two_steps_that_grow(answer):
    try:
        vectors = [np.asarray(each, dtype=float) for each in answer]
    except (TypeError, ValueError):
        vectors = []
    wrong_unless(
        [each.shape for each in vectors] == [(2,)] * 4,
        "It should be four pairs of numbers: removed, rate, removed, rate.",
    )
    first, first_rate, second, second_rate = vectors
    rates = np.concatenate([first_rate, second_rate])
    wrong_unless(
        np.all((rates >= 0) & (rates <= 1)), "A rate is a sigmoid: between 0 and 1."
    )
    lengths = [np.linalg.norm(each) for each in (first, second)]
    wrong_unless(
        np.allclose(lengths, 1, atol=1e-3),
        f"Removal keys have length 1, and yours have {lengths[0]:.3f} and "
        f"{lengths[1]:.3f}. (Without that rule it would be too easy.)",
    )
    steps = [
        np.eye(2) - np.outer(key, key * rate)
        for key, rate in ((first, first_rate), (second, second_rate))
    ]
    growth = abs(np.linalg.eigvals(steps[0] @ steps[1])).max()
    if growth <= 1 + 1e-6:
        raise Wrong(
            f"Two steps multiply by {growth:.3f} at most: nothing grows. Let the first "
            "take out in one channel only, and the second in the other."
        )
    wrong_unless(
        growth >= 1.2,
        f"It grows, by {growth:.3f} in two steps; there is a pair that makes 1.2.",
    )
    return f"Two steps that are harmless alone multiply by {growth:.3f} together."


pose(
    "13.6",
    NumberQuestion(
        right=2**0.5,
        mistakes={
            2: "The error is multiplied by 1 - |k|², so |k|² is what has to stay "
            "below 2.",
            1: "At 1 the error is gone at once. Keys may be somewhat longer.",
            0.5**0.5: "Shorter keys are only slower; find the longest that still "
            "settles.",
            around(
                1.4, absolute=0.0025
            ): "1.4 settles, and so do keys a little longer: give two decimals.",
            around(1.46, absolute=0.03): "That one grows already, slowly: wait longer.",
        },
        hint="By which number is the error multiplied each time? It has to stay "
        "between -1 and 1.",
        praise="Beyond the square root of 2 each correction overshoots by more than "
        "it corrects.",
        absolute=0.011,
    ),
)
