"""Chapter 6's checks: the right answer passes, each usual mistake hears its name."""

import math

import torch
from helpers.exercises import all_heard, of, told

from rwkv_book import cost
from rwkv_book.exercises import chapter_06
from rwkv_book.rwkv4.wkv import WkvState


def read(tokens, network, piece, carry=True, lose=0, same=0, sign=-1):
    """The right answer of 06.3, and with `carry`, `lose` or `same` a wrong one."""
    state, nats = None, []
    inputs, targets = tokens[:-1].split(piece), tokens[1 - same :].split(piece)
    for x, y in zip(inputs, targets, strict=False):
        logits, after = network(x[None], state)
        state = after if carry else None
        log_p = logits[0].log_softmax(-1).gather(1, y[: len(x), None])[:, 0]
        nats.append(sign * log_p[lose:])
    return torch.cat(nats)


def overlapping(tokens, network, piece):
    """Each piece but the first begins with the last token of the one before."""
    length, state, nats = len(tokens) - 1, None, []
    for begin in range(0, length, piece):
        end = min(begin + piece, length)
        logits, state = network(tokens[None, max(0, begin - 1) : end], state)
        log_p = logits[0, begin - end :].log_softmax(-1)
        nats.append(-log_p.gather(1, tokens[begin + 1 : end + 1, None])[:, 0])
    return torch.cat(nats)


def over_time(tokens, network, piece):
    state, nats = None, []
    for x, y in zip(tokens[:-1].split(piece), tokens[1:].split(piece), strict=True):
        logits, state = network(x[None], state)
        nats.append(-logits[0].log_softmax(0).gather(1, y[:, None])[:, 0])
    return torch.cat(nats)


def unnormalised(tokens, network, piece):
    state, nats = None, []
    for x, y in zip(tokens[:-1].split(piece), tokens[1:].split(piece), strict=True):
        logits, state = network(x[None], state)
        nats.append(-logits[0].gather(1, y[:, None])[:, 0])
    return torch.cat(nats)


def averaged(tokens, network, piece):
    """The mean over each piece."""
    return torch.stack(
        [nats.mean() for nats in read(tokens, network, piece).split(piece)]
    )


def counted_twice(tokens, network, piece):
    """Pieces that begin with the last byte of the previous one, all of it judged."""
    state, nats = None, []
    for start in range(0, len(tokens) - 1, max(1, piece - 1)):
        some = tokens[start : start + piece + 1]
        logits, state = network(some[None, :-1], state)
        log_p = logits[0].log_softmax(-1)
        nats.append(-log_p.gather(1, some[1:, None])[:, 0])
    return torch.cat(nats)


def in_windows(tokens, network, piece):
    """The second half of windows that overlap by half, each from nothing."""
    nats, half = [], max(1, piece // 2)
    for start in range(0, len(tokens) - 1, half):
        begin = max(0, start - half)
        some = tokens[begin : start + half + 1]
        log_p = network(some[None, :-1])[0][0].log_softmax(-1)
        nats.append(-log_p.gather(1, some[1:, None])[start - begin :, 0])
    return torch.cat(nats)


def test_the_harms_are_those_of_the_shipped_model():
    parts = chapter_06.PARTS.items()
    harms = {name: round(float(chapter_06.harm(part)), 1) for name, part in parts}
    assert harms == chapter_06.HARMS
    assert chapter_06.harm([], length=100) < min(harms.values())


def total(parts, lengths, decay_rate, steps=lambda lengths, i: lengths[i]):
    """The right answer of 06.5; other `steps` make it a wrong one."""
    whole = parts[0]
    for i, part in enumerate(parts[1:], 1):
        whole = whole.decay(steps(lengths, i) * decay_rate).merge(part)
    return whole


def with_the_factor(parts, lengths, decay_rate):
    whole = parts[0]
    for part, length in zip(parts[1:], lengths[1:], strict=True):
        whole = whole.decay(torch.exp(-length * decay_rate)).merge(part)
    return whole


def merging_in_vain(parts, lengths, decay_rate):
    """`merge` returns a new state, and nobody keeps it."""
    whole = parts[0]
    for part, length in zip(parts[1:], lengths[1:], strict=True):
        whole = whole.decay(length * decay_rate)
        whole.merge(part)
    return whole


def as_they_are(parts, lengths, decay_rate):
    num, den = (sum(part[n] for part in parts) for n in (0, 1))
    return WkvState(num, den, parts[-1].log_scale)


def fading_the_new(parts, lengths, decay_rate):
    whole = parts[0]
    for part, length in zip(parts[1:], lengths[1:], strict=True):
        whole = whole.merge(part.decay(length * decay_rate))
    return whole


def each_faded(parts, steps, decay_rate):
    """Folded from the right, each part faded by so many steps."""
    whole = parts[-1].decay(steps[-1] * decay_rate)
    for part, n in zip(parts[-2::-1], steps[-2::-1], strict=True):
        whole = part.decay(n * decay_rate).merge(whole)
    return whole


def from_the_right(parts, lengths, decay_rate):
    return each_faded(parts, [sum(lengths[i + 1 :]) for i in range(4)], decay_rate)


def plain(parts, lengths, decay_rate):
    """Sums without a common scale."""
    num = den = 0
    for part, length in zip(parts, lengths, strict=True):
        fade, here = (-length * decay_rate).exp(), part.log_scale.exp()
        num, den = num * fade + part.num * here, den * fade + part.den * here
    return WkvState(num, den, torch.zeros_like(den))


ANSWERS = [
    *of(
        "06.1",
        (8 * cost.break_even_tokens(cost.RWKV4["7B"]), "Right. 40 tokens"),
        (5, "That is without sharing"),
        (5 / 8, "more tokens, not fewer"),
        (20, "equally many bytes a number"),
        (80, "keys and values, both"),
        (32, "five rows a layer, not four"),
        (24, "more than its three sums"),
        (16, "five rows, not two"),
        (160, "Each 8 heads share"),
        (10, "by 8, not by 2"),
        (7, "7 it is not"),
    ),
    *of(
        "06.2",
        (3 * 166 / math.log(2), "Right. 718 bytes"),
        (718, "Right. 718 bytes"),
        (719, "Right. 718 bytes"),
        (720, "Right. 718 bytes"),
        (498, "keys are exponents of e"),
        (345, "Turn it round"),
        (166, "After one half-life"),
        (20, "how much louder"),
        (math.exp(3) * 166, "it is the logarithm"),
        (239.5, "for a key of 1"),
        (263, "no weight of 3"),
        (1654, "a logarithm to base 10"),
        (100, "100 it is not"),
    ),
    *of(
        "06.3",
        (read, "Right."),
        (lambda *a: read(*a).tolist(), "Right."),
        (lambda *a: read(*a).numpy(), "Right."),
        (
            lambda *a: read(*a, carry=False),
            "hand the state of one piece to the next",
        ),
        (lambda *a: read(*a).split(a[2]), "a list of pieces: torch.cat"),
        (lambda *a: -torch.exp(-read(*a)), "minus the probabilities"),
        (lambda *a: read(*a).cumsum(0), "a running total"),
        (lambda *a: read(*a, lose=1), "Is a byte lost at each seam?"),
        (
            lambda t, n, p: read(t, n, p)[: (len(t) - 1) // p * p],
            "shorter piece left",
        ),
        (lambda *a: read(*a)[None], "axis of the batch"),
        (overlapping, "read again at the start of the next"),
        (lambda *a: read(*a, same=1), "not the one that came next"),
        (lambda *a: read(*a, sign=1), "The sign is turned"),
        (lambda *a: read(*a) / math.log(2), "Those are in bits"),
        (lambda *a: read(*a) + 1, "Byte 1 is the first that is wrong"),
        (lambda *a: read(*a).mean(), "one number"),
        (lambda *a: read(*a).mean().item(), "one number"),
        (lambda t, n, p: read(t, n, 10**6), "tokens at once, and at most 64"),
        (
            lambda t, n, p: (read(t, n, p), read(t, n, p))[1],
            "don't read anything twice",
        ),
        (lambda *a: None, "returns nothing"),
        (lambda t, n, p: n(t), "not (1, n)"),
        (3.0, "It should be a function"),
        (lambda *a: torch.exp(-read(*a)), "Those are probabilities"),
        (over_time, "The softmax goes over time"),
        (unnormalised, "Those are logits, turned"),
        (averaged, "one number a piece"),
        (counted_twice, "Do your pieces overlap?"),
        (in_windows, "no substitute for all of it"),
        (lambda t, n, p: read(t, n, 1), "Right."),
    ),
    *of(
        "06.4",
        (
            ["x_time", "sums", "x_channel"],
            "Right. Nats per byte without it: x_time 1.6",
        ),
        (("x_time", "sums", "x_channel"), "Right."),
        (["x_channel", "sums", "x_time"], "Turn it round"),
        (["x_time", "x_channel", "sums"], "Without x_time the loss is 1.6"),
        (["x_time", "sums"], "each of these names once"),
        ("x_time", "each of these names once"),
    ),
    *of(
        "06.5",
        (total, "Right."),
        (lambda *a: tuple(total(*a)), "Right."),
        (lambda *a: total(*a, steps=lambda n, i: 0), "Nothing has faded"),
        (lambda *a: total(*a, steps=lambda n, i: 1), "one step a token"),
        (lambda *a: total(*a, steps=lambda n, i: n[i - 1]), "the earlier part"),
        (lambda *a: total(*a, steps=lambda n, i: n[i] - 1), "One step too few"),
        (lambda p, n, w: total(p[::-1], n[::-1], w), "in the opposite order"),
        (lambda *a: total(*a, steps=lambda n, i: -n[i]), "The past grows"),
        (merging_in_vain, "No part has been added"),
        (as_they_are, "added as they are"),
        (with_the_factor, "not the factor exp(-n · w)"),
        (fading_the_new, "it is the past that fades"),
        (from_the_right, "Right."),
        (lambda p, n, w: each_faded(p, [*n[1:], 0], w), "the next part alone"),
        (lambda p, n, w: each_faded(p, n, w), "it has faded by that already"),
        (
            lambda p, n, w: each_faded(p, [sum(n[i:]) for i in range(4)], w),
            "only the tokens after it count",
        ),
        (lambda p, n, w: total(p, n, 1 + 0 * w), "fades far too fast"),
        (lambda p, n, w: total(p, n, w.exp()), "fades far too fast"),
        (lambda p, n, w: total(p, n, w.log()), "it needs no logarithm"),
        (lambda p, n, w: p[-1], "The last part is all that is left"),
        (lambda p, n, w: p[0], "the first part alone"),
        (lambda p, n, w: total(p[:2], n, w), "not the state of the whole text"),
        (plain, "let `merge` choose the scale"),
        (lambda p, n, w: p, "It should return num, den and log_scale"),
        (lambda *a: None, "returns nothing"),
        ([], "It should be a function"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_06, ANSWERS)
