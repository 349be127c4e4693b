"""What the checks of chapter 3 say about right answers and about the usual mistakes."""

import math

import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.attention import features, softmax_attention
from rwkv_book.exercises import chapter_03


def loop(phi=features, divided=True, late=False, keep_num=1.0, keep_den=1.0, again=1.0):
    """Masked linear attention; its options are the usual mistakes."""

    def my_loop(query, key, value, decay_rate=0.0):
        query, key = phi(query), phi(key)
        num, den = torch.zeros(4, 4).to(key), torch.zeros(4).to(key)
        out = []
        for q, k, v in zip(query, key, value, strict=True):
            fade_num = math.exp(-keep_num * decay_rate)
            fade_den = math.exp(-keep_den * decay_rate)
            before = num, den
            num, den = fade_num * num + torch.outer(k, v), fade_den * den + k
            read_num, read_den = before if late else (num, den)
            out.append(q @ read_num / (q @ read_den if divided else 1))
        return again * torch.stack(out)

    return my_loop


def all_at_once(query, key, value):
    query, key = features(query), features(key)
    return query @ (key.T @ value) / (query @ key.sum(0))[:, None]


def all_at_once_fading(query, key, value, decay_rate):
    return all_at_once(query, key, value)


def one_step_late(query, key, value, decay_rate):
    """The token before the newest has not faded yet."""
    query, key = features(query), features(key)
    num, den, out = 0, 0, []
    for q, k, v in zip(query, key, value, strict=True):
        here = num + torch.outer(k, v), den + k
        out.append(q @ here[0] / (q @ here[1]))
        fade = math.exp(-decay_rate)
        num, den = fade * num + torch.outer(k, v), fade * den + k
    return torch.stack(out)


def linear(
    phi_query=features, phi_key=features, order="key first", below="q @ den", fade=1.0
):
    """The loop again, with the slips that concern one letter of a line."""

    def my_linear(query, key, value, decay_rate=0.0):
        num, den, out = 0, 0, []
        kept = math.exp(-fade * decay_rate)
        for q, k, v in zip(phi_query(query), phi_key(key), value, strict=True):
            outer = torch.outer(k, v) if order == "key first" else torch.outer(v, k)
            num, den = kept * num + outer, kept * den + k
            divisors = {"q @ den": q @ den, "den": den.sum(), "count": len(out) + 1}
            out.append(q @ num / divisors[below])
        return torch.stack(out)

    return my_linear


def by_channel(query, key, value):
    key = features(key)
    return (key * value).cumsum(0) / key.cumsum(0)


def faster_and_faster(query, key, value, decay_rate):
    query, key = features(query), features(key)
    num, den, out = 0, 0, []
    for t, (q, k, v) in enumerate(zip(query, key, value, strict=True)):
        kept = math.exp(-decay_rate * t)
        num, den = kept * num + torch.outer(k, v), kept * den + k
        out.append(q @ num / (q @ den))
    return torch.stack(out)


def newest_times_the_rest(query, key, value, decay_rate):
    """A leaky average in num: what fades and what comes add up to 1."""
    new = 1 - math.exp(-decay_rate)
    return loop()(query, key, new * value, decay_rate)


def query_bare_above(query, key, value):
    num, den, out = 0, 0, []
    for q, k, v in zip(query, features(key), value, strict=True):
        num, den = num + torch.outer(k, v), den + k
        out.append(q @ num / (features(q) @ den))
    return torch.stack(out)


def of_pairs(query, key, value, decay_rate=0.0):
    """Right, with the matrix that the exercise is there to avoid."""
    age = torch.arange(len(key))[:, None] - torch.arange(len(key))
    weights = features(query) @ features(key).T
    weights = (weights * torch.exp(-decay_rate * age.clamp(min=0))).tril()
    return weights @ value / weights.sum(-1, keepdim=True)


def looking_back(query, key, value):
    """Right, row by row, with all that was read before read again."""
    query, key = features(query), features(key)
    rows = [key[: t + 1] @ q for t, q in enumerate(query)]
    return torch.stack(
        [row @ value[: len(row)] / row.sum() for row in rows],
    )


def features_in_the_loop(query, key, value):
    num, den, out = 0, 0, []
    for t, v in enumerate(value):
        q, k = features(query)[t], features(key)[t]
        num, den = num + torch.outer(k, v), den + k
        out.append(q @ num / (q @ den))
    return torch.stack(out)


def running_sums(query, key, value):
    """Right, in one line a sum."""
    query, key = features(query), features(key)
    num = (key[:, :, None] * value[:, None]).cumsum(0)
    den = (query * key.cumsum(0)).sum(-1, keepdim=True)
    return torch.einsum("tn,tnm->tm", query, num) / den


def glued(query, key, value):
    """Right, with the outputs joined as they come."""
    query, key = features(query), features(key)
    num, den, out = 0, 0, value[:0]
    for q, k, v in zip(query, key, value, strict=True):
        num, den = num + torch.outer(k, v), den + k
        out = torch.cat([out, (q @ num / (q @ den))[None]])
    return out


def in_numpy(query, key, value):
    return loop()(query, key, value).numpy()


def of_softmax(query, key, value, decay_rate=0.0):
    return softmax_attention(query, key, value, causal=True)


ANSWERS = [
    *of(
        "03.1",
        (33, "Right."),
        (32, "4096 numbers"),
        (32.5, "Tokens are whole"),
        (64, "num and den"),
        (65, "a key and a value"),
        (66, "a key and a value"),
        (4096, "numbers with numbers"),
        (4160, "what the state holds"),
        (40, "Solve"),
        ("many", "should be a number"),
    ),
    *of(
        "03.2",
        (7, "Right."),
        (0, "does see later bytes"),
        (1, "may look at one mean"),
        (8, "Byte 0 itself"),
        (56, "hides all means but the first"),
        (63, "hides all means but the first"),
        (3, "Which bytes"),
    ),
    *of(
        "03.3",
        (loop(), "Right."),
        (loop(divided=False), "do not sum to 1"),
        (loop(phi=lambda x: x), "features are missing"),
        (all_at_once, "hears the last one"),
        (loop(late=True), "does not hear itself"),
        (glued, "Right."),
        (running_sums, "Right."),
        (in_numpy, "Right."),
        (of_pairs, "T×T matrix"),
        (looking_back, "times the work"),
        (features_in_the_loop, "times the work"),
        (linear(order="value first"), "wrong way round"),
        (linear(phi_query=lambda x: x), "The query needs features"),
        (linear(phi_key=lambda x: x), "The key needs its features"),
        (linear(phi_query=lambda x: features(x / 2)), "divided by √N"),
        (linear(below="den"), "No query below the line"),
        (linear(below="count"), "no count of tokens"),
        (by_channel, "Each channel goes its own way"),
        (loop(phi=lambda x: features(x) - 1), "the 1 is missing"),
        (lambda *a: list(loop()(*a)), "a list of 12: torch.stack"),
        (query_bare_above, "takes φ twice"),
        (of_softmax, "softmax attention"),
        (loop(again=2), "not those of linear attention"),
        (lambda *_: torch.zeros(3, 4), "returns shape (3, 4)"),
        (lambda *_: None, "returns nothing"),
        (lambda query, key: query, "raised TypeError"),
    ),
    *of(
        "03.4",
        (loop(), "Right."),
        (loop(keep_den=0), "Only num fades"),
        (loop(keep_num=0), "Only den fades"),
        (loop(keep_num=0, keep_den=0), "Nothing fades"),
        (loop(keep_num=-1, keep_den=-1), "The past grows"),
        (one_step_late, "before the newest"),
        (faster_and_faster, "faster and faster"),
        (newest_times_the_rest, "counts in full"),
        (of_pairs, "T×T matrix"),
        (linear(), "Right."),
        (linear(order="value first"), "wrong way round"),
        (linear(phi_query=lambda x: x), "The query needs features"),
        (linear(phi_key=lambda x: x), "The key needs its features"),
        (loop(phi=lambda x: x), "features are missing"),
        (loop(divided=False), "do not sum to 1"),
        (loop(late=True), "does not hear itself"),
        (all_at_once_fading, "hears the last one"),
        (lambda q, k, v, w: loop()(q, k, v, math.exp(w)), "not exp(-exp(w))"),
        (lambda q, k, v, w: loop()(q, k, v, -math.log(1 - w)), "not by 1 - w"),
        (lambda q, k, v, w: loop()(q, k, v, -math.log(w)), "not by w"),
        (loop(again=2), "not those of linear attention"),
    ),
    *of(
        "03.5",
        (9 * (2 * torch.eye(16) - 1), "Right."),
        ((9 * (2 * torch.eye(16) - 1)).tolist(), "Right."),
        (torch.eye(16), "orthogonal, and their features are not"),
        (torch.zeros(16, 16), "weight of only 0.06"),
        (5 * torch.eye(16) - 5, "all but one should be near 0"),
        (torch.eye(17), "returns shape (17, 17)"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_03, ANSWERS)
