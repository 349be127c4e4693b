"""Exercises of chapter 12: a table for a state."""

import math

import numpy as np

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Span,
    result,
    returned,
    wrong_unless,
)

pose(
    "12.1",
    NumberQuestion(
        right=9,
        mistakes={
            3: "That is what the table says: token 3 is heard too, through its bonus.",
            6: "That is token 3 alone: the first two are in the table.",
            8.5: "Token 3 asks before the table fades for it: column 1 has been halved "
            "once, by token 2.",
            8: "Only column 1 fades: the second keeps everything.",
            10: "Nothing has faded there: token 2 halves column 1, and then writes.",
            11: "That is the second number: the first one is asked for.",
            5: "That table lies on its side: a column is a key, a row a number of the "
            "value.",
            13: "The 4 stands in the second row, and the first number comes from the "
            "first.",
        },
        hint="Write the table after token 2 as two rows, then multiply by (1, 1), and "
        "add token 3: its value times the product of its key and the question.",
        praise="1 + 2 from the table, and 6 from token 3 itself.",
        absolute=0.01,
    ),
)

MIB = 30 * 32 * 66 * 4096 * 4 / 2**20
pose(
    "12.2",
    NumberQuestion(
        right=MIB,
        mistakes={
            MIB / 30: "That is one reader.",
            MIB
            * 64
            / 66: "The tables are right. A layer also keeps two rows for token shift.",
            MIB * 65 / 66: "Token shift takes two rows: time mixing has one, and "
            "channel mixing.",
            MIB / 2: "A float32 takes four bytes.",
            MIB / 4: "Those are numbers: each takes four bytes.",
            MIB * 5 / 66: "That is RWKV-4, with five rows a layer.",
            MIB / 32: "That is one layer: there are 32.",
            Span(MIB * 2**20 / 1e6 * 0.999, MIB * 2**20 / 1e6 * 1.001): "Those are "
            "millions of bytes: a MiB has 2 to the 20.",
            MIB * 1024: "Those are KiB: divide once more.",
            30 * 32 * 4098 * 4096 * 4 / 2**20: "A table is as wide as a head, 64, and "
            "not as the model.",
        },
        hint="Layers, times 64 + 2 rows, times channels, times four bytes, times "
        "readers.",
        praise="{answer:,.0f} MiB: 33 for each reader, after any number of tokens.",
        relative=0.0005,
    ),
)

SIZE = 5


def an_example(seed=0, size=SIZE):
    """decay, bonus, receptance, key, value (N,) and a table (N,N) to try."""
    generator = np.random.default_rng(seed)
    decay = generator.uniform(0.2, 0.9, size)
    return decay, *generator.normal(size=(4, size)), generator.normal(size=(size, size))


def right_step(decay, bonus, receptance, key, value, table):
    new = np.outer(value, key)
    return (table + new * bonus) @ receptance, table * decay + new


def wrong_answers(decay, bonus, receptance, key, value, table):
    """(answer, sentence) of the usual mistakes."""
    new = np.outer(value, key)
    yield table @ receptance, "The newest token is not heard: add it, with its bonus."
    yield (table + new) @ receptance, "The bonus is missing from the answer."
    yield (
        (table * decay + new) @ receptance,
        "That asks the table after it was written: ask first, with the bonus.",
    )
    yield (
        (table * decay + new * bonus) @ receptance,
        "The table fades before it is asked: ask first, fade afterwards.",
    )
    yield (
        (table + new * bonus[:, None]) @ receptance,
        "The bonus belongs to the keys, which are columns; yours multiplies the rows.",
    )
    yield (
        receptance @ (table + new * bonus),
        "The question runs over the keys, the columns: table @ receptance.",
    )
    yield (
        (table + np.outer(value, key + bonus)) @ receptance,
        "The bonus is added to the key, as in RWKV-4: here it multiplies the key.",
    )
    yield (
        (table + new * bonus) @ (1 / (1 + np.exp(-receptance))),
        "There is no sigmoid on the receptance any more: it is the question itself.",
    )
    yield (
        (table + np.outer(key * bonus, value)) @ receptance,
        "The outer product lies on its side: values are rows and keys are columns.",
    )


def wrong_tables(decay, bonus, receptance, key, value, table):
    """(new table, sentence) of the usual mistakes."""
    new = np.outer(value, key)
    yield table + new, "The answer is right, and nothing fades in the table."
    yield (
        (table.T * decay).T + new,
        "The answer is right. Each key fades, so columns do; yours fades rows.",
    )
    yield (
        table * decay + new * bonus,
        "The answer is right, and the bonus was stored: it is for now only.",
    )
    yield (
        (table + new) * decay,
        "The answer is right. The table fades before the token is written, so the new "
        "token is stored whole.",
    )
    yield (
        table * decay + new.T,
        "The answer is right, and what is written lies on its side.",
    )
    yield (
        table * np.exp(-decay) + new,
        "The answer is right. The decay that you are given is the share kept itself: "
        "no exponential.",
    )
    yield table, "The answer is right, and the table is as it was: fade it, write."


@exercise("12.3")
def one_step(step):
    wrong_unless(callable(step), "It should be a function.")
    for seed in range(2):
        given = an_example(seed)
        before = [each.copy() for each in given]
        found = step(*(each.copy() for each in given[:-1]), given[-1])
        wrong_unless(
            found is not None, "The function returns nothing: return answer and table."
        )
        wrong_unless(
            isinstance(found, tuple | list) and len(found) == 2,
            "It should return two things: the answer and the new table.",
        )
        wrong_unless(
            np.shape(found[0]) != (SIZE, SIZE) or np.shape(found[1]) != (SIZE,),
            "The other way round: first the answer, then the new table.",
        )
        answer = returned(found[0], (SIZE,), "an answer")
        table = returned(found[1], (SIZE, SIZE), "a table")
        wrong_unless(
            np.array_equal(given[-1], before[-1]),
            "The table that came in has changed: return a new one. (With += NumPy "
            "changes it in place.)",
        )
        right, right_table = right_step(*before)
        result(
            answer, right, wrong_answers(*before), "The answer is wrong. Is it "
            "(table + value (bonus * key)ᵀ) times receptance?", near
        )  # fmt: skip
        result(
            table, right_table, wrong_tables(*before), "The answer is right, the table "
            "is not: columns times decay, and value times key added.", near
        )  # fmt: skip
    return "Asked, faded, written. That is all of RWKV-5 that is new."


def near(found, wanted):
    return np.allclose(np.asarray(found, float), wanted, rtol=1e-6, atol=1e-9)


def halves(seed=3, length=4, clears=False):
    """Tables after two halves, and the second half's log decays (T,N)."""
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, SIZE, SIZE))
    log_decay = -generator.uniform(0.1, 0.6, size=(length, SIZE))
    if clears:
        log_decay[1, 2] = -np.inf
    return first, second, log_decay


def wrong_joins(first, second, log_decay):
    """(table, sentence) of the usual mistakes."""
    kept = np.exp(log_decay.sum(0))
    yield first + second, "The first half has to fade, once for each later token."
    yield (
        first * np.exp(log_decay[-1]) + second,
        "It fades once for each token of the second half, not only for the last.",
    )
    yield (
        first * np.exp(log_decay[0]) + second,
        "It fades once for each token of the second half, not only for the first.",
    )
    yield (
        (first.T * kept).T + second,
        "Keys fade, and they are columns: yours fades the rows.",
    )
    yield (
        (first + second) * kept,
        "The second table has faded already, while its half was read: leave it.",
    )
    yield first + second * kept, "It is the older half that fades."
    yield (
        first * np.exp(log_decay).sum(0) + second,
        "Shares kept are multiplied, so their logarithms are added: sum first.",
    )
    yield (
        first * log_decay.sum(0) + second,
        "That is the logarithm of what is kept: take its exponential.",
    )
    yield (
        first / kept + second,
        "It grows: the log of a share kept is below zero already, so no minus.",
    )
    yield (
        first * np.exp(-np.exp(log_decay).sum(0)) + second,
        "Those are logarithms of shares kept, not of decay rates: one exponential.",
    )
    yield (
        first * np.exp(log_decay[1:].sum(0)) + second,
        "The first token of the second half makes the first table fade too.",
    )
    yield (
        first * np.exp(log_decay.sum()) + second,
        "Each column fades at its own pace: sum over the tokens, axis 0, alone.",
    )


@exercise("12.4")
def join(join):
    wrong_unless(callable(join), "It should be a function.")
    given = halves()
    found = returned(join(*(x.copy() for x in given)), (SIZE, SIZE), "a table")
    first, second, log_decay = given
    right = first * np.exp(log_decay.sum(0)) + second
    hint = "Not the table of the whole text: how much is left of each first column?"
    result(found, right, wrong_joins(*given), hint, near)
    first, second, log_decay = given = halves(clears=True)
    with np.errstate(all="ignore"):
        found = np.asarray(join(*(x.copy() for x in given)), float)
    wrong_unless(
        np.isfinite(found).all(),
        "With a column that is cleared, a log decay of -infinity, it gives NaN or "
        "infinity: add logarithms, and never divide.",
    )
    right = first * np.exp(log_decay.sum(0)) + second
    hint = "Right until a column is cleared by a log decay of -infinity: what then?"
    result(found, right, [], hint, near)
    return "Two tables and one number a column: so a text can be split."


pose(
    "12.5",
    NumberQuestion(
        right=64,
        mistakes={
            128: "That is for a half: a quarter is two halves.",
            63: "One more: 4 to the 63 is 2 to the 126, which a float32 still holds.",
            65: "One less: 4 to the 64 is 2 to the 128 already.",
            Span(74, 76): "There P itself is 0, or nearly: 1 / P is infinite before.",
            512: "That is in double precision.",
            Span(88, 89.5): "That is a limit for powers of e: these are powers of 4.",
            8: "That is float16, which ends at 65,504.",
            32: "A float32 has 32 bits, but its largest number is near 2 to the 128.",
        },
        hint="The largest float32 is just below 2 to the 128: which power of 4?",
        praise="4 to the 64 is 2 to the 128, one too many for a float32.",
    ),
)

ADDED = math.log(-math.log(0.01)) + 5
pose(
    "12.6",
    NumberQuestion(
        right=ADDED,
        mistakes={
            ADDED - 5: "That is the whole of log w: how far is it from -5?",
            ADDED - 10: "Mind the sign of -5: the sum of both has to be 1.53.",
            -math.log(0.01): "That is w: the model stores its logarithm.",
            -math.log(0.01) + 5: "That adds w: the model adds to log w.",
            math.log(0.01) + 5: "The share kept is exp(-exp(log w)): two logarithms.",
            math.log(0.99) + 5: "One percent is left, not lost.",
            math.log(-math.log10(0.01)) + 5: "The logarithm is the natural one.",
            math.log2(-math.log(0.01)) + 5: "Both logarithms are natural ones.",
            -ADDED: "Mind the sign: to forget more, log w has to rise.",
        },
        hint="Solve exp(-exp(-5 + x)) = 0.01 for x.",
        praise="log w = ln(-ln 0.01) = 1.53, and it stood at -5.",
        absolute=0.006,
    ),
)
