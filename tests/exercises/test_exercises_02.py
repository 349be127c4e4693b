"""What the checks of chapter 2 say about right answers and about the usual mistakes."""

import math
from fractions import Fraction

import numpy as np
import torch
from helpers.exercises import all_heard, of, told
from torch.nn.functional import scaled_dot_product_attention

from rwkv_book.attention import KvCache, scores, softmax_attention
from rwkv_book.exercises import chapter_02
from rwkv_book.exercises.chapter_02 import loss_on_random_letters

BYTES = 2 * 24 * 1024 * 1000 * 2


def seen_by(ahead=0, upper=False, divided=True):
    """An attention that sees tokens up to `ahead` later; negative: only older ones."""

    def my_attention(query, key, value):
        mask = torch.ones(len(query), len(query)).tril(ahead)
        products = query @ key.T / (math.sqrt(query.shape[1]) if divided else 1)
        hidden = (mask.T if upper else mask) == 0
        return products.masked_fill(hidden, -torch.inf).softmax(1) @ value

    return my_attention


def divided_by(divisor):
    def my_attention(query, key, value):
        products = query @ key.T / divisor(query)
        later = torch.ones(len(query), len(query)).triu(1) > 0
        return products.masked_fill(later, -torch.inf).softmax(1) @ value

    return my_attention


def root_of_channels(query):
    return math.sqrt(query.shape[1])


right_attention = divided_by(root_of_channels)


def swapped(one, other, third):
    """Attention with its arguments in another order, or one of them twice."""

    def my_attention(query, key, value):
        given = {"query": query, "key": key, "value": value}
        return right_attention(given[one], given[other], given[third])

    return my_attention


def asked_in_columns(query, key, value):
    earlier = torch.ones(len(query), len(query)).tril(-1) > 0
    return (key @ query.T / 2).masked_fill(earlier, -torch.inf).softmax(0) @ value


def transposed_back(query, key, value):
    earlier = torch.ones(len(query), len(query)).tril(-1) > 0
    products = (key @ query.T / 2).masked_fill(earlier, -torch.inf)
    return products.softmax(0).T @ value


def hides_itself(fill, nan_to=None):
    def my_attention(query, key, value):
        hidden = torch.ones(len(query), len(query)).triu() > 0
        weights = (query @ key.T / 2).masked_fill(hidden, fill).softmax(1)
        return (weights if nan_to is None else weights.nan_to_num(nan_to)) @ value

    return my_attention


def masked_with(fill):
    def my_attention(query, key, value):
        later = torch.ones(len(query), len(query)).triu(1) > 0
        return (query @ key.T / 2).masked_fill(later, fill).softmax(1) @ value

    return my_attention


def token_by_token(query, key, value):
    """Right, without a mask: a loop over those who ask, and a list of tensors back."""
    return [
        (key[: t + 1] @ query[t] / 2).softmax(0) @ value[: t + 1]
        for t in range(len(query))
    ]


def in_numpy(query, key, value):
    query, key, value = (x.double().numpy() for x in (query, key, value))
    products = np.where(np.tri(len(query)), query @ key.T / 2, -np.inf)
    weights = np.exp(products - products.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True) @ value


def from_pytorch(query, key, value):
    return scaled_dot_product_attention(query, key, value, is_causal=True)


def from_the_book(query, key, value):
    return softmax_attention(query[None], key[None], value[None], causal=True)[0]


def divided_late(query, key, value):
    return divided_by(lambda _: 1)(query, key, value) / math.sqrt(query.shape[1])


def bare_products(query, key, value):
    return (query @ key.T / 2).tril() @ value


def not_divided_by_the_sum(query, key, value):
    return (query @ key.T / 2).exp().tril() @ value


def divided_by_columns(query, key, value):
    """The sums of the rows, in the place of columns: keepdim is missing."""
    weights = (query @ key.T / 2).exp().tril()
    return weights / weights.sum(1) @ value


def masked_by_a_product(query, key, value):
    later = torch.ones(len(query), len(query)).triu(1)
    return (query @ key.T / 2 + later * -torch.inf).softmax(1) @ value


def less_one_maximum(query, key, value):
    """One maximum for all rows: some of them underflow to 0 / 0."""
    products = query @ key.T / 2
    weights = (products - products.max()).exp().tril()
    return weights / weights.sum(1, keepdim=True) @ value


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


def step(
    itself=True, divisor=lambda n, t: math.sqrt(n), swapped=False, kept=True, noise=0.0
):
    """One step with a cache, with one of the usual mistakes in it."""

    def my_step(query, key, value, cache):
        keys, values = key[None], value[None]
        if cache is not None:
            keys, values = torch.cat([cache[0], keys]), torch.cat([cache[1], values])
        end = None if itself or cache is None else -1
        products = keys[:end] @ query / divisor(len(query), len(keys))
        out = products.softmax(0) @ values[:end]
        if swapped:
            out = (values @ query / math.sqrt(len(query))).softmax(0) @ keys
        return out + noise, (keys, values) if kept else (key[None], value[None])

    return my_step


def step_with(weigh):
    """A right cache, and what weigh(products, values) makes of it."""

    def my_step(query, key, value, cache):
        _, (keys, values) = step()(query, key, value, cache)
        return weigh(keys @ query / math.sqrt(len(query)), values), (keys, values)

    return my_step


def kept_as(change):
    """Right outputs, and a cache of another form: change(keys, values)."""

    def my_step(query, key, value, cache):
        out, new = step()(query, key, value, cache and tuple(cache))
        return out, change(*new)

    return my_step


def values_first(query, key, value, cache):
    out, (keys, values) = step()(query, key, value, cache and cache[::-1])
    return out, (values, keys)


def newest_first(query, key, value, cache):
    keys, values = key[None], value[None]
    if cache is not None:
        keys, values = torch.cat([keys, cache[0]]), torch.cat([values, cache[1]])
    return (keys @ query / 2).softmax(0) @ values, (keys, values)


def stacked(query, key, value, cache):
    """Right: one tensor (2,t,N) for the pair, and an output (1,N)."""
    out, new = step()(query, key, value, None if cache is None else tuple(cache))
    return out[None], torch.stack(new)


def end_to_end(query, key, value, cache):
    keys, values = key[None], value[None]
    if cache is not None:
        keys, values = torch.cat([cache[0], keys], 1), torch.cat([cache[1], values], 1)
    tokens = keys.view(-1, 4), values.view(-1, 4)
    return (tokens[0] @ query / 2).softmax(0) @ tokens[1], (keys, values)


def as_lists(query, key, value, cache):
    keys, values = cache or ([], [])
    out, _ = step()(query, key, value, None)
    return out, ([*keys, key], [*values, value])


def as_arrays(query, key, value, cache):
    """Right: NumPy's arrays, in and out."""
    cache = cache and tuple(map(torch.from_numpy, cache))
    out, new = step()(query, key, value, cache)
    return out.numpy(), tuple(part.numpy() for part in new)


def in_columns(query, key, value, cache):
    out, new = step()(query, key, value, cache and tuple(part.T for part in cache))
    return out, tuple(part.T for part in new)


def in_place(query, key, value, cache):
    out, new = step()(query, key, value, cache)
    if cache is not None:
        cache[0].zero_()
    return out, new


def appended_to_a_list(query, key, value, cache):
    if cache is None:
        cache = [key[None], value[None]]
    else:
        cache[0] = torch.cat([cache[0], key[None]])
        cache[1] = torch.cat([cache[1], value[None]])
    return (cache[0] @ query / 2).softmax(0) @ cache[1], cache


def written_over(query, key, value, cache):
    """The old cache's last row is replaced: it changes, and doesn't grow."""
    if cache is None:
        return step()(query, key, value, cache)
    cache[0][-1], cache[1][-1] = key, value
    out = step()(query, key, value, cache)[0]
    return out, cache


def remembering():
    """Keys and values in a list of its own; what it returns is for show."""
    read = []

    def my_step(query, key, value, cache):
        read.append((key, value))
        keys, values = (torch.stack(part) for part in zip(*read, strict=True))
        return (keys @ query / 2).softmax(0) @ values, (keys, values)

    return my_step


def leak(ahead, only=False):
    def my_leak(query, key, value, causal):
        products = scores(query, key)
        mask = torch.ones_like(products).tril(ahead)
        if only:
            mask = mask.triu(ahead)
            mask[..., -1, -1] = 1
        return products.masked_fill(mask == 0, -torch.inf).softmax(-1) @ value

    return my_leak


def leak_unscaled(query, key, value, causal):
    return leak(1)(2 * query, key, value, causal)


def leak_masked_late(query, key, value, causal):
    return scores(query, key).softmax(-1).tril(1) @ value


def leak_backwards(query, key, value, causal):
    products = scores(query, key)
    hidden = torch.ones_like(products).tril(-2) > 0
    return products.masked_fill(hidden, -torch.inf).softmax(-1) @ value


def leak_masked_with_0(query, key, value, causal):
    return scores(query, key).tril(1).softmax(-1) @ value


def leak_over_those_who_ask(query, key, value, causal):
    products = scores(query, key)
    hidden = torch.ones_like(products).triu(2) > 0
    return products.masked_fill(hidden, -torch.inf).softmax(-2) @ value


def leak_and_itself(query, key, value, causal):
    seen = torch.ones_like(scores(query, key)).tril(1).triu() > 0
    return scores(query, key).masked_fill(~seen, -torch.inf).softmax(-1) @ value


def only_for_six_tokens(query, key, value, causal):
    ahead = 1 if query.shape[2] == 6 else 0
    return leak(ahead)(query, key, value, causal)


def test_without_a_leak_nothing_random_can_be_predicted():
    assert loss_on_random_letters(softmax_attention) > math.log(4) - 0.1


ANSWERS = [
    *of(
        "02.1",
        (6.5, "Right."),
        (Fraction(13, 2), "Right."),
        (torch.tensor(39 / 6), "Right."),
        (39, "divide by the sum"),
        (36 / 5, "there are four weights"),
        ((4 * 12 + 4 * 6 + 3) / 10, "e to the ln 2 is 2"),
        (18 * math.log(2) / (2 * math.log(2)), "e to them"),
        ((12 + 6 + 3) / 4, "the plain mean"),
        ((2 * 12 + 6 + 3) / 5, "an action counts as much"),
        ((12 + 2 * 6 + 3) / 5, "a name counts as much"),
        (6.151, "leaves the root out"),
        (5, "what is e to each"),
    ),
    *of(
        "02.2",
        (f"{BYTES:,}", "Right."),
        (BYTES, "Right."),
        (24 * 1024 * 1000, "values as well as keys, and bytes"),
        (2 * 24 * 1024 * 1000, "Twice that. One factor of 2 is missing"),
        (8 * BYTES, "bits"),
        (2 * 24 * 1024 * 1000**2 * 2, "not pairs"),
        (24 * 16 * 1000**2 * 2, "maps of weights"),
        (0.098304, "gigabytes"),
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
        (right_attention, "Right."),
        (transposed_back, "Right."),
        (token_by_token, "Right."),
        (in_numpy, "Right."),
        (lambda *asked: right_attention(*asked)[None], "Right."),
        (lambda *asked: right_attention(*asked).double(), "Right."),
        (lambda *asked: right_attention(*asked).tolist(), "Right."),
        (masked_with(-1e9), "Right."),
        (from_pytorch, "scaled_dot_product_attention has worked them out"),
        (from_the_book, "softmax_attention has worked them out"),
        (seen_by(ahead=99), "the mask is missing"),
        (seen_by(upper=True), "wrong way round"),
        (seen_by(ahead=1), "off by one"),
        (seen_by(ahead=-1), "hides each token from itself"),
        (hides_itself(-torch.inf), "hides each token from itself"),
        (hides_itself(-torch.inf, nan_to=0), "hides each token from itself"),
        (hides_itself(-1e9), "hides each token from itself"),
        (swapped("key", "query", "value"), "You have key @ query.T"),
        (asked_in_columns, "those who ask as its columns"),
        (swapped("query", "key", "key"), "You average the keys"),
        (swapped("query", "query", "value"), "compared with the queries"),
        (masked_late, "Masked after the softmax"),
        (masked_with_zeros, "mask with -inf"),
        (divided_by(lambda _: 1), "divided by sqrt(N)"),
        (divided_by(lambda query: 1 / root_of_channels(query)), "you multiply by it"),
        (divided_by(lambda query: query.shape[1]), "not by N"),
        (divided_by(lambda query: math.sqrt(len(query))), "not the tokens"),
        (divided_late, "after the softmax, when"),
        (bare_products, "The softmax is missing"),
        (not_divided_by_the_sum, "Divide by the sum of the weights"),
        (over_those_who_ask, "over those who ask"),
        (without_a_maximum, "it overflows"),
        (less_one_maximum, "take its own largest product out"),
        (clipped, "wrong for those of thousands"),
        (masked_with(-1e3), "later tokens shine through"),
        (lambda query, key, value: value, "token 1 should get (-1.27, "),
        (seen_by(ahead=99, divided=False), "not the only mistake"),
        (lambda query, key, value: (key @ query.T).softmax(1) @ value, "the last one"),
        (divided_by_columns, "every average should be 1"),
        (masked_by_a_product, "0 times inf"),
        (lambda *asked: right_attention(*asked).half(), "16 bits"),
        ("right_attention", "Hand over the function itself"),
        (lambda query, key, value: (query @ key.T).softmax(1), "the weights"),
        (lambda query, key, value: value[0], "returns shape (4,)"),
        (lambda query, key, value: [value, "no"], "returns list"),
        (lambda *_: None, "returns nothing"),
    ),
    *of(
        "02.4",
        (step(), "Right."),
        (newest_first, "Right."),
        (stacked, "Right."),
        (kept_as(lambda keys, values: [keys, values]), "Right."),
        (kept_as(KvCache), "Right."),
        (step(itself=False), "should see itself"),
        (step(divisor=lambda n, t: 1), "divided by sqrt(N)"),
        (step(divisor=lambda n, t: n), "not by N"),
        (step(divisor=lambda n, t: math.sqrt(t)), "not of the tokens in the cache"),
        (step(swapped=True), "changed places"),
        (step_with(lambda products, values: values[-1]), "Only the new token"),
        (step_with(lambda products, values: values.mean(0)), "the plain mean"),
        (
            step_with(lambda products, values: products[:, None].softmax(1).T @ values),
            "should run over the tokens",
        ),
        (step_with(lambda products, values: products @ values), "softmax is missing"),
        (step_with(lambda products, values: products.exp() @ values), "an average"),
        (as_lists, "and is a list: stack its rows"),
        (as_arrays, "Right."),
        (in_columns, "(1, 4), a token a row, and one is (4, 1)"),
        (step(kept=False), "holds only the newest"),
        (end_to_end, "joined end to end"),
        (values_first, "The cache has the values first"),
        (kept_as(lambda keys, values: (keys, keys)), "as they came"),
        (step(noise=1.0), "The output of token 0"),
        (in_place, "The old cache was changed"),
        (appended_to_a_list, "The old cache was changed"),
        (written_over, "The old cache was changed"),
        (remembering(), "Keep nothing outside of it"),
        (lambda *asked: (step()(*asked)[0], None), "for the first token too"),
        (lambda *asked: (step()(*asked)[0], (asked[1],)), "should be a pair"),
        (lambda *asked: (step()(*asked)[0], asked[1:3]), "one is (4,)"),
        (lambda query, key, value, cache: value, "Return two things"),
    ),
    *of(
        "02.5",
        (leak(1), "Right."),
        (only_for_six_tokens, "the leak does not help it"),
        (leak(0), "Nothing leaks"),
        (leak(99), "Every token sees all"),
        (leak(2), "Two later tokens"),
        (leak(-1), "hides a token from itself"),
        (leak(1, only=True), "The past is gone"),
        (leak_and_itself, "The past is gone"),
        (leak_unscaled, "divided by sqrt(N)"),
        (leak_masked_late, "Masked after the softmax"),
        (leak_backwards, "The mask is the wrong way round"),
        (leak_masked_with_0, "has the weight e^0 = 1"),
        (leak_over_those_who_ask, "runs over those who ask"),
        (lambda query, key, value, causal: value, "all before it and the next one"),
        (lambda query, key, value, causal: value[..., 0], "returns shape"),
        (lambda *_: None, "returns nothing"),
    ),
    *of(
        "02.6",
        (6144, "Right."),
        (12 * 1024, "Twice too far"),
        (3 * 1024, "A weight costs two FLOPs"),
        (384, "That is for C = 64"),
        (6, "for each channel"),
        (6 * 1024**2, "one C is left"),
        (24 * 1024, "A comparison takes 4C"),
        (1, "solve for T"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_02, ANSWERS)
