"""Exercises of chapter 2: attention by hand, its cache, a leak, and what it costs."""

import math

import torch

from rwkv_book.attention import scores, softmax_attention, visible
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    around,
    result,
    returned,
    wrong_unless,
)
from rwkv_book.training import Run, make_optimizer, training_step
from rwkv_book.transformer import GPT, Config

ROOT = 2 ** (1 / math.sqrt(2))  # what 2 becomes when products are divided by √2
CACHE = 2 * 24 * 1024 * 1000 * 2  # bytes

pose(
    "02.1",
    NumberQuestion(
        right=6,
        mistakes={
            36: "That is the sum of weighted values: divide by the sum of the weights.",
            36 / 5: "The word that asks is asked too: there are four weights.",
            9: "The products are logarithms: weights are e to them, and 0 gives 1, not "
            "0.",
            4.5: "That is the plain mean: the weights are not equal.",
            around(18 * ROOT / (2 * ROOT + 2), 0.002): "The table leaves the root out.",
        },
        hint="Products ln 2, ln 2, 0, 0; what is e to each of them?",
        praise="Weights 2, 2, 1 and 1 over 6: she asks for both, and gets a mixture.",
        absolute=1e-6,
    ),
)
pose(
    "02.2",
    NumberQuestion(
        right=CACHE,
        mistakes={
            CACHE / 4: "Count values as well as keys, and bytes and not numbers.",
            CACHE / 2: "Half of it: keys and values are kept, each number in 2 bytes.",
            2 * CACHE: "That is at 4 bytes a number.",
            16 * CACHE: "The heads share the 1024 channels out: they don't multiply "
            "them.",
            CACHE / 16: "That is one head: all 16 of them keep their keys and values.",
            CACHE / 24: "That is one layer.",
            CACHE / 1000: "That is one token.",
            CACHE / 1e6: "Right, in megabytes: give bytes.",
            CACHE / 2**20: "Right, in mebibytes: give bytes.",
        },
        hint="Count numbers: 2, layers, channels and tokens, times 2 bytes each.",
        praise=f"{CACHE:,} bytes: nearly 100 KB for every token.",
        relative=0.002,
    ),
)


def asked(length, scale=1.0):
    """A query, key and value (T,N) of scale `scale`, N = 4."""
    generator = torch.Generator().manual_seed(0)
    return (scale * torch.randn(3, length, 4, generator=generator)).unbind(0)


def attention(query, key, value, mask=None, divisor=2.0, axis=1):
    """Attention with the usual mistakes as options; right without them."""
    products = query @ key.T / divisor
    if mask is None:
        mask = visible(*products.shape)
    return products.masked_fill(~mask, -torch.inf).softmax(axis) @ value


@exercise("02.3")
def attention_in_five_lines(my_attention):
    query, key, value = arguments = asked(9)
    found = returned(my_attention(*(x.clone() for x in arguments)), (9, 4), "averages")
    all_seen = torch.ones(9, 9, dtype=torch.bool)
    unmasked = attention(*arguments, mask=all_seen)
    seen = visible(9, 9)
    product = (query @ key.T / 2).softmax(1) * seen
    zeros = ((query @ key.T / 2) * seen).softmax(1) @ value
    mistakes = [
        (unmasked, "Each token sees the later ones too: the mask is missing."),
        (attention(*arguments, mask=seen.T), "The mask is the wrong way round."),
        (
            attention(*arguments, mask=all_seen.tril(1)),
            "Each token sees the next one: the mask is off by one.",
        ),
        (
            product @ value,
            "Masked after the softmax, the weights no longer sum to 1: mask before it.",
        ),
        (zeros, "A product of 0 has the weight e^0 = 1: mask with -inf."),
        (attention(*arguments, divisor=1), "Products are divided by sqrt(N)."),
        (attention(*arguments, divisor=4), "Divide by sqrt(N), not by N."),
        (
            attention(*arguments, divisor=3),
            "N counts the channels, not the tokens.",
        ),
        (
            attention(*arguments, axis=0),
            "The softmax runs over those who ask: each row should sum to 1.",
        ),
    ]
    first = torch.isnan(found[0]).any()
    hint = (
        "The first token gets NaN: it should see itself."
        if first
        else "The averages are not those of the formula."
    )
    result(found, attention(*arguments), mistakes, hint, close)
    large = asked(9, scale=100)
    found = my_attention(*(x.clone() for x in large))
    wrong_unless(
        torch.isfinite(found).all().item(),
        "With products of thousands it overflows: torch's softmax takes out a maximum.",
    )
    wrong_unless(close(found, attention(*large)), "It is wrong for large products.")
    return "The formula, the mask, and products of thousands."


def close(one, other):
    return torch.allclose(one.double(), other.double(), atol=1e-5, equal_nan=True)


@exercise("02.4")
def one_more_token(my_step):
    arguments = asked(6)
    wanted = attention(*arguments)
    cache, states = None, []
    for t, (query, key, value) in enumerate(zip(*arguments, strict=True)):
        before = None if cache is None else [part.clone() for part in cache]
        stepped = my_step(query, key, value, cache)
        wrong_unless(
            isinstance(stepped, tuple | list) and len(stepped) == 2,
            "Return two things: the output, and the new cache.",
        )
        found, after = stepped
        returned(found, (4,), "an output")
        check_cache(after, t + 1)
        unchanged = before is None or all(map(torch.equal, before, cache))
        wrong_unless(unchanged, "The old cache was changed: make a new one.")
        check_step(found, t, arguments, wanted)
        cache = after
        states.append(cache)
    branch, _ = my_step(*(x[0] for x in arguments), states[2])
    again, _ = my_step(*(x[0] for x in arguments), states[2])
    wrong_unless(torch.equal(branch, again), "The same cache gives two answers.")
    return "Token by token it is the whole, and a text can branch."


def check_cache(cache, length):
    """Wrong unless it is a pair of tensors (t,4)."""
    wrong_unless(
        isinstance(cache, tuple | list) and len(cache) == 2,
        "The cache should be a pair: all keys, all values.",
    )
    for part in cache:
        shape = tuple(getattr(part, "shape", ()))
        kept = shape == (length, 4)
        sentence = f"After {length} tokens each part of the cache should be "
        wrong_unless(kept, f"{sentence}({length}, 4), and one is {shape}.")


def check_step(found, t, arguments, wanted):
    """Wrong unless the output of token t is right."""
    query, key, value = (x[: t + 1] for x in arguments)
    mistakes = [
        (
            (key[:-1] @ query[-1] / 2).softmax(0) @ value[:-1],  # zeros for token 0
            "The new token should see itself, too.",
        ),
        ((key @ query[-1]).softmax(0) @ value, "Products are divided by sqrt(N)."),
        (
            (value @ query[-1] / 2).softmax(0) @ key,
            "Keys and values have changed places.",
        ),
    ]
    hint = f"The output of token {t} is not that of the formula."
    result(found, wanted[t], mistakes, hint, close)


@exercise("02.5")
def spring_a_leak(my_leak):
    query, key, value = (x[None, None] for x in asked(6))
    found = returned(my_leak(query, key, value, True), query.shape, "averages")
    honest = softmax_attention(query, key, value, causal=True)
    everything = softmax_attention(query, key, value)
    seen = torch.ones(6, 6, dtype=torch.bool).tril(1)
    leaky = scores(query, key).masked_fill(~seen, -torch.inf).softmax(-1) @ value
    mistakes = [
        (honest, "Nothing leaks: that is the honest mask."),
        (everything, "Every token sees all: leak only one."),
    ]
    hint = "A token should see itself, all before it and the next one."
    result(found, leaky, mistakes, hint, close)
    loss = loss_on_random_letters(my_leak)
    wrong_unless(loss < 0.7, f"The loss is {loss:.2f}: the leak does not help it.")
    return (
        f"The loss is {loss:.1f}, far below ln 4 = {math.log(4):.2f}: impossible, so "
        "something is wrong."
    )


def loss_on_random_letters(attention, steps=100):
    """The last loss of a tiny GPT on letters that nobody can predict."""
    run = Run(steps=steps, learning_rate=1e-2, final_learning_rate=1e-2, warm_up=10)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT(Config(4, layers=1, width=32, heads=2), attention)
        optimizer = make_optimizer(model, run)
        for step in range(steps):
            letters = torch.randint(4, (16, 25))
            inputs, targets = letters[:, :-1], letters[:, 1:]
            loss = training_step(model, optimizer, inputs, targets, run, step)
    return loss.item()


pose(
    "02.6",
    NumberQuestion(
        right=6 * 1024,
        mistakes={
            12 * 1024: "Twice too far: each of the T others costs 4·C, for the product "
            "with its key and for its value's share.",
            3 * 1024: "A weight costs two FLOPs: 24 C² in all.",
            6: "Multiply by C: it is 6 tokens for each channel.",
            6 * 1024**2: "C² over C: one C is left.",
            24 * 1024: "A comparison takes 4C: the key's product, and the value's.",
        },
        hint="Set 4·C·T equal to 2·12·C², and solve for T.",
        praise="T = 6·C = 6144: a long chapter, for a small model.",
        relative=0.01,
    ),
)
