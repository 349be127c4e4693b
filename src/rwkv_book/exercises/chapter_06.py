"""Exercises of chapter 6, two faces of one model."""

import math
from itertools import chain, permutations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from rwkv_book import checkpoint
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    OrderQuestion,
    result,
    returned,
    wrong_unless,
)
from rwkv_book.labs import recall
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import WkvState, empty_state, wkv_recurrent

pose(
    "06.1",
    NumberQuestion(
        right=40,  # 5LC·4 = 2LC·T·2 / 8
        mistakes={
            5: "That is without sharing: 8 heads have one key and one value between "
            "them.",
            0.625: "Sharing makes the cache smaller, so it takes more tokens, not "
            "fewer.",
            20: "That is with equally many bytes a number: the state takes 4, the "
            "cache 2.",
            80: "The cache keeps keys and values, both.",
            32: "The state has five rows a layer, not four: three sums and two x_prev.",
            24: "The state is more than its three sums: x_time and x_channel are kept "
            "too.",
            16: "A layer of the state has five rows, not two.",
            160: "Each 8 heads share: 32 heads keep 4 keys and values, not one.",
            10: "Sharing by 8 divides the cache by 8, not by 2.",
        },
        hint="{answer:g} it is not: set 5LC · 4 = 2LC · T · 2 / 8.",
        praise="40 tokens: sharing makes the slope 8 times smaller, and it still "
        "rises.",
    ),
)

HALF_LIFE, KEY = 166, 3
LOUD = KEY * HALF_LIFE / math.log(2)  # 3 / w with w = ln 2 / 166

pose(
    "06.2",
    NumberQuestion(
        right=LOUD,
        mistakes={
            KEY * HALF_LIFE: "Three half-lives are a factor of 2³ = 8, and the name "
            "begins at e³ = 20: keys are exponents of e, half-lives halve.",
            KEY * HALF_LIFE * math.log(2): "Turn it round: the decay rate is ln 2 / "
            "half-life, and 3 is to be divided by it.",
            HALF_LIFE: "After one half-life the name weighs half of e³, which is 10.",
            math.exp(KEY): "e³ is how much louder the name begins, not how long it "
            "lasts.",
            math.exp(KEY) * HALF_LIFE: "Weights fade by halves, so it is the logarithm "
            "of e³ that counts, not e³.",
            HALF_LIFE / math.log(2): "That is for a key of 1.",
            HALF_LIFE
            * math.log2(KEY): "A key of 3 is no weight of 3: the weight is e³.",
            KEY
            * HALF_LIFE
            / math.log10(2): "That w comes from a logarithm to base 10: "
            "the decay rate is the natural one of 2, over the half-life.",
        },
        hint="{answer:g} it is not: e^(3 - n · w) = 1, and w = ln 2 / 166.",
        praise=f"{LOUD:.0f} bytes: 3 / w, or {LOUD / HALF_LIFE:.1f} half-lives.",
        absolute=2,
    ),
)


@exercise("06.3")
def nats(answer):
    """-ln p of every byte, with the state carried and no piece too long."""
    wrong_unless(callable(answer), "It should be a function: tokens, network, piece.")
    network, tokens = small_network(), some_tokens(200)
    seen = []

    def watched(tokens, state=None):
        wrong_unless(
            tokens.ndim == 2 and len(tokens) == 1,
            f"The network was given shape {tuple(tokens.shape)}, not (1, n).",
        )
        seen.append(tokens.shape[1])
        return network(tokens, state)

    for length, piece in ((200, 64), (129, 64), (60, 64), (65, 1)):
        text = tokens[:length]
        seen.clear()
        found = answer(text.clone(), watched, piece)
        right = nats_of(text, network)
        wrong_unless(
            not (isinstance(found, list | tuple) and any(map(np.ndim, found))),
            "That is a list of pieces: torch.cat makes one tensor of them.",
        )
        if isinstance(found, (list, tuple, np.ndarray)) and len(found) == length - 1:
            found = torch.as_tensor(found)
        wrong_unless(
            getattr(found, "ndim", 1) != 0 and not isinstance(found, float),
            "That is one number: return -ln p of every byte, not their mean or sum.",
        )
        wrong_unless(
            getattr(found, "ndim", 1) == 1,
            f"The shape is {tuple(getattr(found, 'shape', ()))}: leave the axis of the "
            "batch out, one number a byte.",
        )
        short = length - 1 - len(found) if hasattr(found, "__len__") else 0
        seams = (length - 2) // piece
        wrong_unless(
            short <= 0 or len(found) != seams + 1,
            "That is one number a piece: the loss was averaged, and each byte should "
            'keep its own (`reduction="none"`).',
        )
        wrong_unless(
            short >= 0,
            f"{-short} numbers too many: each byte but the first is judged once. Do "
            "your pieces overlap?",
        )
        wrong_unless(
            short <= 0 or short - seams in (0, 1),
            f"{short} of {length - 1} bytes are missing. Is the last, shorter piece "
            "left out?",
        )
        wrong_unless(
            short <= 0,
            f"{short} of {length - 1} bytes are missing. Is a byte lost at each seam? "
            "The last input of a piece predicts the first byte of the next one.",
        )
        returned(found, (length - 1,), "-ln p of every byte but the first")
        found = found.float()
        wrong_unless(
            same(found, right) or sum(seen) != length - 1 + seams or seams == 0,
            "The last token of each piece is read again at the start of the next.",
        )
        wrong_unless(
            same(found, right) or sum(seen) <= length + seams,
            f"The network read {sum(seen)} tokens of a text of {length}. Reading a "
            "part of the past again is no substitute for all of it: carry the state.",
        )
        mistakes = usual_nats(text, network, piece, right)
        result(found, right, mistakes, first_wrong(found, right), same)
        wrong_unless(
            max(seen) <= piece,
            f"The network was given {max(seen)} tokens at once, and at most {piece} "
            "were allowed.",
        )
        wrong_unless(
            sum(seen) <= length,
            f"The network read {sum(seen)} tokens of a text of {length}: carry the "
            "state on, and don't read anything twice.",
        )
    return "The memory that it takes depends on the piece, and not on the text."


def same(found, wanted):
    return torch.allclose(found, wanted, atol=1e-3)


def usual_nats(text, network, piece, right):
    """The nats that usual mistakes give, each with its sentence."""
    yield -right, "The sign is turned: -ln p is positive."
    logits = network(text[None])[0][0]
    yield (
        cross_entropy(logits[:-1], text[:-1], reduction="none"),
        "Those are the byte that was read, not the one that came next: logits at t are "
        "for token t + 1.",
    )
    yield torch.exp(-right), "Those are probabilities: take -ln of them."
    yield -torch.exp(-right), "Those are minus the probabilities: take the logarithm."
    yield right.cumsum(0), "That is a running total: each byte should keep its own."
    yield (
        -logits[:-1].gather(1, text[1:, None])[:, 0],
        "Those are logits, turned: `log_softmax` over the vocabulary makes them ln p.",
    )
    pieces = list(zip(text[:-1].split(piece), text[1:].split(piece), strict=True))
    over_time = zip(logits[:-1].split(piece), text[1:].split(piece), strict=True)
    yield (
        torch.cat(
            [-x.log_softmax(0).gather(1, y[:, None])[:, 0] for x, y in over_time]
        ),
        "The softmax goes over time: it belongs over the vocabulary, the last axis.",
    )
    forgetful = [
        cross_entropy(network(inputs[None])[0][0], targets, reduction="none")
        for inputs, targets in pieces
    ]
    yield (
        torch.cat(forgetful),
        "The first piece is right, the others aren't: hand the state of one piece to "
        "the next.",
    )
    yield right / math.log(2), "Those are in bits: take the natural logarithm."


def first_wrong(found, right):
    first = int((~(found - right).abs().le(1e-3)).int().argmax())  # NaN is wrong
    return (
        f"Byte {first + 1} is the first that is wrong: {found[first]:.2f} nats, and it "
        f"costs {right[first]:.2f}."
    )


def nats_of(tokens, network):
    """-ln p of every token but the first, read in one go: (T+1,) -> (T,)"""
    logits, _ = network(tokens[None, :-1])
    return cross_entropy(logits[0], tokens[1:], reduction="none")


def small_network():
    """An RWKV whose predictions depend on all that it has read."""
    generator = torch.Generator().manual_seed(0)
    network = RWKV(Config(32, 2, 16)).requires_grad_(False)
    for weights in network.parameters():
        weights += 0.3 * torch.randn(weights.shape, generator=generator)
    return network


def some_tokens(length):
    return torch.randint(32, (length,), generator=torch.Generator().manual_seed(1))


PARTS = {"x_time": 0, "sums": slice(1, 4), "x_channel": 4}
HARMS = {"x_time": 1.6, "sums": 2.1, "x_channel": 2.4}  # what `harm` gives


def order_of_harm():
    """The parts of the state, from the loss that harms least to the worst."""
    right = tuple(sorted(HARMS, key=HARMS.get))
    mistakes = {
        wrong: "Without {} the loss is {:.1f} nats per byte, without {} {:.1f}, "
        "without {} {:.1f}.".format(*chain(*((part, HARMS[part]) for part in wrong)))
        for wrong in permutations(right)
    }
    mistakes[right[::-1]] = "Turn it round: the one that harms least first."
    del mistakes[right]
    told = ", ".join(f"{part} {HARMS[part]:.1f}" for part in right)
    return OrderQuestion(right, mistakes, "", f"Nats per byte without it: {told}.")


pose("06.4", order_of_harm())


def harm(part, length=1024):
    """Nats per byte of the scene when a part of the state is lost after each byte."""
    params = checkpoint.load(checkpoint.shipped())
    text = "".join(recall.SPEECHES).encode()[:length]
    state, empty, nats = minimal.initial_state(params), minimal.initial_state(params), 0
    for token, target in zip([0, *text], text, strict=False):
        logits, state = minimal.step(token, state, params)
        nats += np.logaddexp.reduce(logits.astype(float)) - logits[target]
        state[:, part] = empty[:, part]
    return nats / length


@exercise("06.5")
def total(answer):
    """The sums of a text, from the sums of its parts, each read from nothing."""
    wrong_unless(
        callable(answer), "It should be a function: parts, lengths, decay_rate."
    )
    for scale in (1, 300):
        decay_rate, parts, lengths, right = four_parts(scale)
        found = answer(list(parts), list(lengths), decay_rate.clone())
        wrong_unless(found is not None, "The function returns nothing: return a state.")
        wrong_unless(
            len(found) == 3, "It should return num, den and log_scale, a WkvState."
        )
        found = WkvState(*found)
        wrong_unless(
            all(field.isfinite().all() for field in found),
            "There are NaN or infinite numbers in it, with keys of 300: let `merge` "
            "choose the scale.",
        )
        mistakes = usual_merges(parts, lengths, decay_rate)
        result(found, right, mistakes, FROM_LEFT_TO_RIGHT, equal)
    return "Layer 0 read by four at once, and nobody can tell."


def four_parts(scale):
    """A decay rate (C,), four states and lengths, and the state of the whole text."""
    generator = torch.Generator().manual_seed(scale)
    lengths = [5, 9, 3, 14]
    key = scale * torch.randn(1, sum(lengths), 6, generator=generator).double()
    value = torch.randn(key.shape, generator=generator).double()
    decay_rate = torch.rand(6, generator=generator).double() * min(1, scale / 10)
    decay_rate, bonus = decay_rate + 0.05, torch.zeros(6).double()
    read = [
        wkv_recurrent(decay_rate, bonus, k, v)[1]
        for k, v in zip(key.split(lengths, 1), value.split(lengths, 1), strict=True)
    ]
    return decay_rate, read, lengths, wkv_recurrent(decay_rate, bonus, key, value)[1]


def equal(found, right):
    """Whether two sums are one, whatever their scales."""
    pairs = (
        (found.average(), right.average()),
        (found.den.log() + found.log_scale, right.den.log() + right.log_scale),
    )
    return all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


FROM_LEFT_TO_RIGHT = (
    "It is not the state of the whole text. Go from left to right: let what you "
    "have fade by the length of the next part, then merge that part into it."
)


def folded(parts, amounts):
    """The parts merged, each faded by an amount of its own."""
    total = empty_state(parts[0].num)
    for part, amount in zip(parts, amounts, strict=True):
        total = total.merge(part.decay(amount))
    return total


def usual_merges(parts, lengths, decay_rate):
    """The states that usual mistakes give, each with its sentence."""

    def together(steps):
        total = empty_state(parts[0].num)
        for i, part in enumerate(parts):
            total = total.decay(steps(i) * decay_rate).merge(part)
        return total

    yield (
        together(lambda i: 0),
        "Nothing has faded: before a part is added, all before it fade by as many "
        "steps as the part has tokens.",
    )
    yield (
        together(lambda i: 1),
        "All fade by one step a part: it should be one step a token of the part that "
        "is added.",
    )
    yield (
        together(lambda i: lengths[i - 1] if i else 0),
        "You fade by the length of the earlier part: what fades the past is how many "
        "tokens come after it.",
    )
    yield (
        together(lambda i: torch.exp(-lengths[i] * decay_rate) / decay_rate),
        "`decay` wants the amount that is taken from the exponent, n · w, not the "
        "factor exp(-n · w).",
    )
    late = parts[0]
    for part, length in zip(parts[1:], lengths[1:], strict=True):
        late = late.merge(part.decay(length * decay_rate))
    yield late, "You fade the part that is added: it is the past that fades."
    yield (
        together(lambda i: lengths[i] - 1),
        "One step too few: what is stored fades with every token of a later part, its "
        "first one too.",
    )
    yield (
        folded(parts, [n * decay_rate for n in (*lengths[1:], 0)]),
        "Each part fades by the length of the next part alone: it fades by those of "
        "all later ones.",
    )
    yield (
        folded(parts, [n * decay_rate for n in lengths]),
        "Each part fades by its own length: it has faded by that already. What comes "
        "after it is still missing.",
    )
    yield (
        folded(parts, [sum(lengths[i:]) * decay_rate for i in range(len(parts))]),
        "Each part fades by its own length too: only the tokens after it count.",
    )
    yield (
        together(lambda i: lengths[i] * torch.log(decay_rate) / decay_rate),
        "`decay_rate` is w itself: it needs no logarithm.",
    )
    backwards = parts[-1]
    for part, length in zip(parts[-2::-1], lengths[-2::-1], strict=True):
        backwards = backwards.decay(length * decay_rate).merge(part)
    yield backwards, "That is the text with its parts in the opposite order."
    fading = [n * decay_rate for n in lengths]
    yield (
        parts[0].decay(sum(fading[1:])),
        "No part has been added: `merge` changes nothing, it returns a new state. Keep "
        "that.",
    )
    yield (
        together(lambda i: -lengths[i]),
        "The past grows: `decay` subtracts what it is given, so give it n · w.",
    )
    yield (
        WkvState(
            *map(sum, zip(*(part[:2] for part in parts), strict=True)), parts[-1][2]
        ),
        "num and den are added as they are, and each part has a scale of its own: "
        "`merge` knows how.",
    )
    yield (
        parts[-1],
        "The last part is all that is left. If you return more than it, the rest fades "
        "far too fast: the amount is n · w, and `decay_rate` is w, without exp.",
    )
    yield parts[0], "That is the first part alone."
