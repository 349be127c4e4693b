"""Exercises of chapter 2: attention by hand, its cache, a leak, and what it costs."""

import copy
import math
import sys
from contextlib import suppress

import numpy as np
import torch

from rwkv_book.attention import scores, softmax_attention, visible
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Wrong,
    around,
    not_one_of,
    returned,
    wrong_unless,
)
from rwkv_book.training import Run, make_optimizer, training_step
from rwkv_book.transformer import GPT, Config

ROOT = 2 ** (1 / math.sqrt(2))  # what 2 becomes when products are divided by √2
CACHE = 2 * 24 * 1024 * 1000 * 2  # bytes
READY_MADE = {
    "scaled_dot_product_attention",
    "multi_head_attention_forward",
    "_native_multi_head_attention",
}

pose(
    "02.1",
    NumberQuestion(
        right=6.5,
        mistakes={
            39: "That is the sum of weighted values: divide by the sum of the weights.",
            36 / 5: "The word that asks is asked too: there are four weights.",
            75 / 10: "That has weights of 4: e to the ln 2 is 2.",
            9: "The products are logarithms: weights are e to them, and 0 gives 1, not "
            "0.",
            21 / 4: "That is the plain mean: the weights are not equal.",
            33 / 5: "Her query is (ln 2, ln 2): an action counts as much as a name.",
            27 / 5: "Her query is (ln 2, ln 2): a name counts as much as an action.",
            around(
                (18 * ROOT + 3) / (2 * ROOT + 2), 0.002
            ): "The table leaves the root out.",
        },
        hint="Products ln 2, ln 2, 0, 0; what is e to each of them?",
        praise="Weights 2, 2, 1 and 1 over 6: she asks for both, and gets a mixture.",
        absolute=0.005,
    ),
)
pose(
    "02.2",
    NumberQuestion(
        right=CACHE,
        mistakes={
            CACHE / 4: "Count values as well as keys, and bytes instead of numbers.",
            CACHE / 2: "Twice that. One factor of 2 is missing: there are keys and "
            "values, and each number takes 2 bytes.",
            2 * CACHE: "That is at 4 bytes a number.",
            8 * CACHE: "Those are bits.",
            16 * CACHE: "The heads share the 1024 channels out: they don't multiply "
            "them.",
            CACHE / 16: "That is one head: all 16 of them keep their keys and values.",
            CACHE / 24: "That is one layer.",
            CACHE / 1000: "That is one token.",
            CACHE * 1000: "A cache holds tokens, not pairs of tokens: T and not T².",
            24 * 16 * 1000**2 * 2: "Those are the maps of weights: nobody keeps them.",
            CACHE / 1e6: "Right, in megabytes: give bytes.",
            CACHE / 2**20: "Right, in mebibytes: give bytes.",
            CACHE / 1e9: "Right, in gigabytes: give bytes.",
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


def tensor_of(found, shape, what):
    """What a function returned as a tensor of this shape; axes of length 1 may differ.

    An array or a list will do. Wrong, in the words of `returned`, for anything else.
    """
    if isinstance(found, list | tuple) and found:
        tensors = all(isinstance(each, torch.Tensor) for each in found)
        with suppress(TypeError, ValueError, RuntimeError):  # no table of numbers
            found = torch.stack(tuple(found)) if tensors else torch.tensor(found)
    elif isinstance(found, np.ndarray):
        found = torch.from_numpy(found)
    flat = torch.Size(n for n in shape if n != 1)
    if isinstance(found, torch.Tensor) and found.squeeze().shape == flat:
        found = found.reshape(shape)
    found = returned(found, shape, what).detach()
    wrong_unless(
        found.dtype not in (torch.float16, torch.bfloat16),
        "Numbers of 16 bits are too coarse: return as many bits as you are given.",
    )
    return found


def watched(function, *arguments):
    """What a function returns, and the ready-made attention that it called, or None."""
    wrong_unless(
        callable(function),
        "Hand over the function itself, without calling it.",
    )
    called = []

    def watch(frame, event, built_in):
        if event == "call":
            name = frame.f_code.co_name
            module = frame.f_globals.get("__name__", "")
            if module.startswith("rwkv_book.") or name in READY_MADE:
                called.append(name)
        elif event == "c_call" and built_in.__name__ in READY_MADE:
            called.append(built_in.__name__)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        found = function(*arguments)
    finally:
        sys.setprofile(before)
    return found, called[0] if called else None


@exercise("02.3")
def attention_in_five_lines(my_attention):
    arguments = asked(9)
    found, called = watched(my_attention, *(x.clone() for x in arguments))
    wrong_unless(
        getattr(found, "shape", ()) != (9, 9),
        "That is a table of (T,T), the weights: multiply it by the values.",
    )
    found = tensor_of(found, (9, 4), "averages")
    right = attention(*arguments)
    if not close(found, right):
        not_one_of(found, slips(*arguments), close_but_for_the_first)
        probe(my_attention, *arguments)
        raise Wrong(where_it_differs(found, right))
    wrong_unless(
        called is None,
        f"The numbers are right, but {called} has worked them out. Write the products, "
        "the mask and the softmax yourself.",
    )
    survives_thousands(my_attention)
    return "The formula, the mask, and products of thousands."


def slips(query, key, value):
    """The usual mistakes: pairs of the averages that they give and a sentence."""
    arguments = query, key, value
    everyone = torch.ones(len(query), len(query), dtype=torch.bool)
    seen = visible(*everyone.shape)
    products = query @ key.T / 2
    weights = products.exp() * seen
    yield (
        attention(*arguments, mask=everyone),
        "Each token sees the later ones too: the mask is missing.",
    )
    yield attention(*arguments, mask=seen.T), "The mask is the wrong way round."
    yield (
        attention(*arguments, mask=everyone.tril(1)),
        "Each token sees the next one: the mask is off by one.",
    )
    yield (
        attention(*arguments, mask=everyone.tril(-1)),
        "The mask hides each token from itself: mask what is above the diagonal, and "
        "leave the diagonal. (As it is, the first token sees nobody at all.)",
    )
    yield (
        attention(key, query, value),
        "You have key @ query.T. Its row t holds what token t is asked, not what it "
        "asks: query @ key.T.",
    )
    yield (
        (key @ query.T / 2).masked_fill(~seen.T, -torch.inf).softmax(0) @ value,
        "Your table has those who ask as its columns: transpose it, or begin with "
        "query @ key.T.",
    )
    yield (
        products.softmax(1) * seen @ value,
        "Masked after the softmax, the weights no longer sum to 1: mask before it.",
    )
    yield (
        (products * seen).softmax(1) @ value,
        "A product of 0 has the weight e^0 = 1: mask with -inf.",
    )
    yield attention(*arguments, divisor=1), "Products are divided by sqrt(N)."
    yield attention(*arguments, divisor=0.5), "Divide by sqrt(N): you multiply by it."
    yield attention(*arguments, divisor=4), "Divide by sqrt(N), not by N."
    yield (
        attention(*arguments, divisor=math.sqrt(len(query))),
        "N counts the channels, not the tokens.",
    )
    yield (
        attention(*arguments, divisor=1) / 2,
        "You divide by sqrt(N) after the softmax, when the weights already sum to 1: "
        "divide the products.",
    )
    yield (
        attention(*arguments, axis=0),
        "The softmax runs over those who ask: each row should sum to 1.",
    )
    yield (
        products * seen @ value,
        "The softmax is missing: you add up values by the bare products.",
    )
    yield weights @ value, "Divide by the sum of the weights: it is an average."
    yield (
        attention(query, key, key),
        "You average the keys. They only decide the weights; what arrives is values.",
    )
    yield (
        attention(query, query, value),
        "Each query is compared with the queries: compare it with the keys.",
    )


def probe(my_attention, query, key, value):
    """For mistakes that nobody foresaw, or two at once: what no attention may do."""

    def answer(value):
        found = my_attention(query.clone(), key.clone(), value.clone())
        return tensor_of(found, value.shape, "averages").double()

    found, ones = answer(value), answer(torch.ones_like(value))
    wrong_unless(
        not torch.isnan(found).any(),
        "Some averages are NaN. A row in which everything is masked gives that, and so "
        "does 0 times inf: set later products to -inf with masked_fill.",
    )
    later = answer(torch.cat([value[:-1], value[-1:] + 100]))
    wrong_unless(
        close(found[:-1], later[:-1]),
        "An earlier token hears the last one: the mask is missing or wrong. And that "
        "is not the only mistake.",
    )
    wrong_unless(
        close(ones, torch.ones_like(ones)),
        "If all values were 1, every average should be 1. Yours would not be: the "
        "weights in a row of (T,T) should sum to 1.",
    )


def where_it_differs(found, right):
    """For a mistake that even `probe` lets pass: the first token that it concerns."""
    good = [close(one, other) for one, other in zip(found, right, strict=True)]
    first = good.index(False)
    told = ", ".join(f"{x:.2f}" for x in found[first].double())
    wanted = ", ".join(f"{x:.2f}" for x in right[first].double())
    return (
        f"The averages are not those of the formula: token {first} should get "
        f"({wanted}), and gets ({told})."
    )


def survives_thousands(my_attention):
    """Wrong unless averages are right where products are in the thousands."""
    large = asked(9, scale=100)
    found = tensor_of(my_attention(*(x.clone() for x in large)), (9, 4), "averages")
    wrong_unless(
        torch.isfinite(found).all().item(),
        "With products of thousands it overflows: take its own largest product out of "
        "each row before e, as torch's softmax does.",
    )
    query, key, value = large
    ending = torch.cat([value[:-1], 1e6 + value[-1:]])
    again = tensor_of(my_attention(query, key, ending), (9, 4), "averages")
    wrong_unless(
        close(found[:-1], again[:-1]),
        "With products of thousands later tokens shine through: mask with -inf, not "
        "with a number.",
    )
    wrong_unless(
        close(found, attention(*large)),
        "It is right for small products and wrong for those of thousands.",
    )


def close(one, other):
    return torch.allclose(one.double(), other.double(), atol=1e-5, equal_nan=True)


def close_but_for_the_first(one, other):
    """Whether all averages but the first token's are the same.

    With a mask that leaves the first token nobody to see, it may get NaN or anything.
    """
    return close(one[1:], other[1:])


@exercise("02.4")
def one_more_token(my_step):
    arguments = asked(6)
    wanted = attention(*arguments)
    cache, states = None, []
    for t, (query, key, value) in enumerate(zip(*arguments, strict=True)):
        found, after = stepped(my_step, query, key, value, cache)
        check_step(found, t, arguments, wanted)
        check_cache(after, t, arguments)
        cache = after
        states.append(cache)
    # a second future for the text: its third token again, after the first three
    first = [torch.cat([x[:3], x[:1]]) for x in arguments]
    for _ in range(2):
        branch, _ = stepped(my_step, *(x[0] for x in arguments), states[2])
        wrong_unless(
            close(branch, attention(*first)[-1]),
            "The cache that you return is not all that you remember: after an older "
            "cache the output is wrong. Keep nothing outside of it.",
        )
    return "Token by token it is the whole, and a text can branch."


def stepped(my_step, query, key, value, cache):
    """What a step returns, (output, cache); Wrong if it has changed the old cache."""
    before = copy.deepcopy(cache)
    answer = my_step(query.clone(), key.clone(), value.clone(), cache)
    wrong_unless(
        isinstance(answer, tuple | list) and len(answer) == 2,
        "Return two things: the output, and the new cache.",
    )
    unchanged = before is None or (
        len(before) == len(cache)
        and all(
            map(torch.equal, map(torch.as_tensor, before), map(torch.as_tensor, cache))
        )
    )
    wrong_unless(unchanged, "The old cache was changed: make a new one.")
    return tensor_of(answer[0], (4,), "an output"), answer[1]


def check_cache(cache, t, arguments):
    """Wrong unless it is a pair: the keys (t+1,4) and the values up to token t."""
    wrong_unless(
        cache is not None,
        "Return the new cache, for the first token too: it has no old one.",
    )
    wrong_unless(
        isinstance(cache, tuple | list | torch.Tensor | np.ndarray) and len(cache) == 2,
        "The cache should be a pair: all keys, all values.",
    )
    length = t + 1
    for part in cache:
        wrong_unless(
            isinstance(part, torch.Tensor | np.ndarray),
            "Each part of the cache should be one tensor, and is a "
            f"{type(part).__name__}: stack its rows.",
        )
        shape = tuple(part.shape)
        wrong_unless(
            t == 0 or shape not in ((1, 4), (4,)),
            f"With token {t} the cache holds only the newest: put its key and value "
            "behind the old ones.",
        )
        wrong_unless(
            t == 0 or shape not in ((4 * length,), (1, 4 * length)),
            "Keys are joined end to end: a new token is a new row, so use axis 0.",
        )
        wrong_unless(
            shape == (length, 4),
            f"With token {t} each part of the cache should be ({length}, 4), a token a "
            f"row, and one is {shape}.",
        )
    keys, values = (by_size(part) for part in cache)
    _, right_keys, right_values = (by_size(x[:length]) for x in arguments)
    wrong_unless(
        not (close(keys, right_values) and close(values, right_keys)),
        "The cache has the values first: it should be the keys, then the values.",
    )
    wrong_unless(
        close(keys, right_keys) and close(values, right_values),
        "The cache should hold the keys and the values as they came.",
    )


def by_size(rows):
    """Rows in an order of their own: the oldest may come first in a cache, or last."""
    rows = torch.as_tensor(rows).detach()
    return rows[rows[:, 0].argsort()]


def check_step(found, t, arguments, wanted):
    """Wrong unless the output of token t is right."""
    query, key, value = (x[: t + 1] for x in arguments)
    products = key @ query[-1]
    older = (products[:-1] / 2).softmax(0) @ value[:-1]  # zeros for token 0
    mistakes = [
        (older, "The new token should see itself, too."),
        (products.softmax(0) @ value, "Products are divided by sqrt(N)."),
        ((products / 4).softmax(0) @ value, "Divide by sqrt(N), not by N."),
        (
            (products / math.sqrt(t + 1)).softmax(0) @ value,
            "Divide by the root of the channels, N, not of the tokens in the cache.",
        ),
        (
            (value @ query[-1] / 2).softmax(0) @ key,
            "Keys and values have changed places.",
        ),
        (
            value[-1],
            "Only the new token is heard: ask the keys of the cache, too.",
        ),
        (value.mean(0), "That is the plain mean of the values: weigh them."),
        (
            value.sum(0),
            "Every weight is 1: the softmax should run over the tokens.",
        ),
        (products / 2 @ value, "The softmax is missing."),
        (
            (products / 2).exp() @ value,
            "Divide by the sum of the weights: it is an average.",
        ),
    ]
    if not close(found, wanted[t]):
        not_one_of(found, mistakes, close)
        raise Wrong(f"The output of token {t} is not that of the formula.")


@exercise("02.5")
def spring_a_leak(my_leak):
    query, key, value = (x[None, None] for x in asked(6))
    found = tensor_of(my_leak(query, key, value, True), query.shape, "averages")
    products = scores(query, key)
    everyone = torch.ones(6, 6, dtype=torch.bool)

    def seeing(mask, scale=1):
        return (scale * products).masked_fill(~mask, -torch.inf).softmax(-1) @ value

    honest = softmax_attention(query, key, value, causal=True)
    masked_late = products.softmax(-1) * everyone.tril(1) @ value
    past_gone = "The past is gone: keep it, and add the next one."
    mistakes = [
        (honest, "Nothing leaks: that is the honest mask."),
        (seeing(everyone), "Every token sees all: leak only one."),
        (seeing(everyone.tril(2)), "Two later tokens are seen: leak only the next."),
        (
            seeing(everyone.tril(-1)),
            "That hides a token from itself: tril(-1) takes a diagonal away, tril(1) "
            "adds one.",
        ),
        (seeing(everyone.tril(1).triu(1)), past_gone),
        (seeing(everyone.tril(1).triu()), past_gone),
        (
            seeing(everyone.tril(1), scale=2),  # as N is 4
            "It leaks as it should, but products are divided by sqrt(N).",
        ),
        (
            seeing(everyone.triu(-1)),
            "The mask is the wrong way round: a token sees itself, the previous one "
            "and all later ones.",
        ),
        (
            (products * everyone.tril(1)).softmax(-1) @ value,
            "A product of 0 has the weight e^0 = 1: mask with -inf.",
        ),
        (
            products.masked_fill(~everyone.tril(1), -torch.inf).softmax(-2) @ value,
            "The softmax runs over those who ask: each row should sum to 1.",
        ),
        (
            masked_late,
            "Masked after the softmax, the weights no longer sum to 1: mask before it.",
        ),
    ]
    right = seeing(everyone.tril(1))
    if not close(found, right):
        not_one_of(found, mistakes, close_but_at_the_ends)
        raise Wrong("A token should see itself, all before it and the next one.")
    loss = loss_on_random_letters(my_leak)
    wrong_unless(loss < 0.7, f"The loss is {loss:.2f}: the leak does not help it.")
    return (
        f"The loss is {loss:.1f}, far below ln 4 = {math.log(4):.2f}: impossible, so "
        "something is wrong."
    )


def close_but_at_the_ends(one, other):
    """Whether averages are the same, but for tokens without a past or a next one."""
    return close(one[..., 1:-1, :], other[..., 1:-1, :])


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
            384: "That is for C = 64, the GPT of the chapter.",
            6: "Multiply by C: it is 6 tokens for each channel.",
            6 * 1024**2: "C² over C: one C is left.",
            24 * 1024: "A comparison takes 4C: the key's product, and the value's.",
        },
        hint="Set 4·C·T equal to 2·12·C², and solve for T.",
        praise="T = 6·C = 6144: a long chapter, for a small model.",
        relative=0.01,
    ),
)
