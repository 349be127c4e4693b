"""What the checks of chapter 2 say about right answers and about the usual mistakes."""

import math

import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.attention import scores, softmax_attention
from rwkv_book.exercises import chapter_02
from rwkv_book.exercises.chapter_02 import loss_on_random_letters

BYTES = 2 * 24 * 1024 * 1000 * 2


def seen_by(ahead=0, upper=False):
    """An attention that sees tokens up to `ahead` later; negative: only older ones."""

    def my_attention(query, key, value):
        mask = torch.ones(len(query), len(query)).tril(ahead)
        products = query @ key.T / math.sqrt(query.shape[1])
        hidden = (mask.T if upper else mask) == 0
        return products.masked_fill(hidden, -torch.inf).softmax(1) @ value

    return my_attention


def divided_by(divisor):
    def my_attention(query, key, value):
        scaled = query * math.sqrt(query.shape[1]) / divisor(query)
        return softmax_attention(scaled[None], key[None], value[None], True)[0]

    return my_attention


def masked_late(query, key, value):
    return (query @ key.T / 2).softmax(1).tril() @ value


def masked_with_zeros(query, key, value):
    return (query @ key.T / 2).tril().softmax(1) @ value


def over_those_who_ask(query, key, value):
    later = torch.ones(len(query), len(query)).triu(1) > 0
    return (query @ key.T / 2).masked_fill(later, -torch.inf).softmax(0) @ value


def without_a_maximum(query, key, value):
    weights = (query @ key.T / 2).exp().tril()
    return weights / weights.sum(1, keepdim=True) @ value


def clipped(query, key, value):
    weights = (query @ key.T / 2).clamp(-80, 80).exp().tril()
    return weights / weights.sum(1, keepdim=True) @ value


def step(itself=True, root=True, swapped=False, kept=True, noise=0.0):
    """One step with a cache, with one of the usual mistakes in it."""

    def my_step(query, key, value, cache):
        keys, values = key[None], value[None]
        if cache is not None:
            keys, values = torch.cat([cache[0], keys]), torch.cat([cache[1], values])
        end = None if itself or cache is None else -1
        products = keys[:end] @ query / (math.sqrt(len(query)) if root else 1)
        out = products.softmax(0) @ values[:end]
        if swapped:
            out = (values @ query / math.sqrt(len(query))).softmax(0) @ keys
        return out + noise, (keys, values) if kept else (key[None], value[None])

    return my_step


def in_place(query, key, value, cache):
    out, new = step()(query, key, value, cache)
    if cache is not None:
        cache[0].zero_()
    return out, new


def forgetful(*arguments):
    return step()(*arguments)[0] + torch.rand(()) * 1e-6, step()(*arguments)[1]


def leak(ahead, only=False):
    def my_leak(query, key, value, causal):
        products = scores(query, key)
        mask = torch.ones_like(products).tril(ahead)
        if only:
            mask = mask.triu(ahead)
            mask[..., -1, -1] = 1
        return products.masked_fill(mask == 0, -torch.inf).softmax(-1) @ value

    return my_leak


def only_for_six_tokens(query, key, value, causal):
    ahead = 1 if query.shape[2] == 6 else 0
    return leak(ahead)(query, key, value, causal)


def test_without_a_leak_nothing_random_can_be_predicted():
    assert loss_on_random_letters(softmax_attention) > math.log(4) - 0.1


ANSWERS = [
    *of(
        "02.1",
        (6, "Right."),
        (36, "divide by the sum"),
        (36 / 5, "there are four weights"),
        (18 * math.log(2) / (2 * math.log(2)), "e to them"),
        ((12 + 6) / 4, "the plain mean"),
        (5.591, "leaves the root out"),
        (5, "what is e to each"),
    ),
    *of(
        "02.2",
        (f"{BYTES:,}", "Right."),
        (BYTES, "Right."),
        (24 * 1024 * 1000, "values as well as keys, and bytes"),
        (2 * 24 * 1024 * 1000, "Half of it"),
        (2 * BYTES, "4 bytes a number"),
        (16 * BYTES, "don't multiply them"),
        (BYTES / 16, "That is one head"),
        (BYTES / 24, "That is one layer"),
        (BYTES / 1000, "That is one token"),
        (98.304, "megabytes"),
        (93.75, "mebibytes"),
        (1, "Count numbers"),
    ),
    *of(
        "02.3",
        (seen_by(), "Right."),
        (divided_by(lambda query: math.sqrt(query.shape[1])), "Right."),
        (seen_by(ahead=99), "the mask is missing"),
        (seen_by(upper=True), "wrong way round"),
        (seen_by(ahead=1), "off by one"),
        (seen_by(ahead=-1), "it should see itself"),
        (masked_late, "Masked after the softmax"),
        (masked_with_zeros, "mask with -inf"),
        (divided_by(lambda _: 1), "divided by sqrt(N)"),
        (divided_by(lambda query: query.shape[1]), "not by N"),
        (divided_by(lambda query: math.sqrt(len(query))), "not the tokens"),
        (over_those_who_ask, "over those who ask"),
        (without_a_maximum, "it overflows"),
        (clipped, "wrong for large products"),
        (lambda query, key, value: value, "not those of the formula"),
        (lambda query, key, value: value[0], "returns shape (4,)"),
        (lambda *_: None, "returns nothing"),
    ),
    *of(
        "02.4",
        (step(), "Right."),
        (step(itself=False), "should see itself"),
        (step(root=False), "divided by sqrt(N)"),
        (step(swapped=True), "changed places"),
        (
            step(kept=False),
            "After 2 tokens each part of the cache should be (2, 4)",
        ),
        (step(noise=1.0), "The output of token 0"),
        (in_place, "The old cache was changed"),
        (forgetful, "two answers"),
        (lambda query, key, value, cache: value, "Return two things"),
        (lambda query, key, value, cache: (value, value), "should be a pair"),
        (
            lambda query, key, value, cache: (value[None], (value, key)),
            "shape (1, 4)",
        ),
    ),
    *of(
        "02.5",
        (leak(1), "Right."),
        (only_for_six_tokens, "the leak does not help it"),
        (leak(0), "Nothing leaks"),
        (leak(99), "Every token sees all"),
        (leak(2), "and the next one"),
        (leak(1, only=True), "and the next one"),
        (lambda query, key, value, causal: value[0], "returns shape"),
        (lambda *_: None, "returns nothing"),
    ),
    *of(
        "02.6",
        (6144, "Right."),
        (12 * 1024, "Twice too far"),
        (3 * 1024, "A weight costs two FLOPs"),
        (6, "for each channel"),
        (6 * 1024**2, "one C is left"),
        (24 * 1024, "A comparison takes 4C"),
        (1, "solve for T"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_02, ANSWERS)
