"""Exercises of chapter 5, RWKV in 100 lines."""

from unittest.mock import patch

import numpy as np

from rwkv_book import checkpoint
from rwkv_book.exercises import Wrong, exercise, number_of, wrong_unless
from rwkv_book.rwkv4 import minimal

PARTS = ("key", "value", "receptance", "output")
END = 0


@exercise("05.1")
def parameters(answer):
    """The parameters of RWKV-4 430M: 2VC + 13C²L + C(11L + 4)."""
    answer, (V, C, L) = number_of(answer), (50277, 1024, 24)
    right = 2 * V * C + 13 * C**2 * L + C * (11 * L + 4)
    mistakes = {
        right - V * C: "Embedding and head are two tables: RWKV-4 shares nothing.",
        right - C**2 * L: "A matrix of C² is missing in each layer: has channel "
        "mixing got its receptance, time mixing its output?",
        right - 2 * C: "One norm outside the layers is missing: there is one after "
        "the embedding and one before the head.",
        right - 4 * C: "The two norms outside the layers are missing.",
        right - C * (11 * L + 4): "That is the matrices alone: add the vectors.",
        right - 4 * C * L: "The norms in the layers are missing: two, with a weight "
        "and a bias each.",
        right - 2 * C * L: "Two vectors a layer are missing: norms have a weight and a "
        "bias, time mixing has a decay and a bonus, channel mixing two mixes.",
        right - 6 * C**2 * L: "Channel mixing widens to 4C: its key and value have "
        "4C² each.",
        2 * V * C + (13 * C**2 + 11 * C + 4 * C) * L: "The norms after the embedding "
        "and before the head are there once, not in every layer.",
    }
    wrong_unless(answer not in mistakes, mistakes.get(answer))
    wrong_unless(
        round(answer, -6) != round(right, -6) or answer == right,
        "Nearly: the millions are right, so check the vectors, C(11L + 4).",
    )
    wrong_unless(
        answer == right,
        f"{answer:,.0f} it is not. Count matrices first: 13C² a layer, and two of VC.",
    )
    return f"{right:,}, and 2 bytes of each make a file of {right * 2 / 1e6:.0f} MB."


@exercise("05.2")
def furthest(answer):
    """Three steps back in each of four layers, in spite of total decay."""
    answer = number_of(answer)
    mistakes = {
        0: "Even with total decay a layer sees more than the newest token: think of "
        "x_time and x_channel in the state.",
        1: "That is one token shift alone. There are two in each layer, and layers "
        "stand on each other.",
        2: "That is the token shifts of one layer; there are four layers.",
        3: "That is one layer; each of the four looks back from where the one below "
        "it has looked.",
        4: "One step a layer is too few: each has two token shifts, and the weight of "
        "the token before the newest has not faded yet.",
        8: "You counted the two token shifts of each layer. But in WKV the token right "
        "before the newest has weight exp(k), with no decay in it: one more.",
        13: "That is how many bytes matter; the newest is 0 back.",
    }
    wrong_unless(answer not in mistakes, mistakes.get(answer))
    wrong_unless(answer == 12, f"{answer:g} it is not: count one layer, then stack.")
    return (
        "Three steps a layer, one of them through WKV itself: the token before the "
        "newest counts in full, whatever the decay."
    )


@exercise("05.3")
def choose(answer):
    """The cost of each ending after one reading of the text."""
    wrong_unless(callable(answer), "It should be a function: text, endings, params.")
    params = checkpoint.load(checkpoint.shipped())
    text, endings = "DUKE.\nMy noble lo", ("ve, good night.", "rd, good night.", "zq")
    steps, step = [], minimal.step

    def counted(token, state, params):
        steps.append(token)
        return step(token, state, params)

    with patch.object(minimal, "step", counted):
        found = answer(text, list(endings), params)
    wrong_unless(found is not None, "The function returns nothing: return the costs.")
    wrong_unless(
        np.shape(found) == (3,), f"Three endings need three costs, not {found!r}."
    )
    right = costs(text, endings, params)
    if not np.allclose(found, right, atol=1e-3):
        raise Wrong(name_mistake(found, text, endings, params, right))
    most = 1 + len(text) + sum(map(len, endings))
    wrong_unless(
        len(steps) <= most,
        f"The costs are right, and took {len(steps)} steps where {most} do: read the "
        "text once, and keep its logits and its state.",
    )
    best = endings[int(np.argmin(found))]
    return f"{len(steps)} steps, and the model would go on with {best!r}."


def name_mistake(found, text, endings, params, right):
    """The sentence for costs that aren't right: which variant gives just these?"""
    usual = {
        "Those are means over the bytes of an ending: the sum is asked for, the -ln p "
        "of the whole ending.": right / [len(ending) for ending in endings],
        "The sign is turned: a cost is -ln p, positive.": -right,
        "You began with the text, and not with the byte END before it.": costs(
            text, endings, params, start=[]
        ),
        "The first cost is right, the others aren't: each ending has to start from the "
        "state after the text, not from where the last one ended.": costs(
            text, endings, params, carry="state"
        ),
        "The first cost is right, the others aren't: each ending has to start from the "
        "logits and the state after the text, not from those of the last ending.": (
            costs(text, endings, params, carry="both")
        ),
        "The costs after the first are wrong: each ending has to start from the logits "
        "after the text, not from those of the last ending.": costs(
            text, endings, params, carry="logits"
        ),
        "The byte END stands before a text, not before its ending: start from the "
        "logits after the text.": costs(text, endings, params, again=[END]),
        "That is what the text costs, too: only the endings are asked for.": (
            right + costs("", [text], params)
        ),
        "These are the costs of the endings without the text before them.": costs(
            "", endings, params
        ),
        "The first byte of each ending is missing: its logits are those after the "
        "text.": costs(text, endings, params, skip=1),
    }
    for sentence, costs_then in usual.items():
        if np.allclose(found, costs_then, atol=1e-3):
            return sentence
    first = int(np.argmax(~np.isclose(found, right, atol=1e-3)))
    return (
        f"The ending {endings[first]!r} costs {right[first]:.2f} nats, and you found "
        f"{float(found[first]):.2f}. Per byte: -ln of the softmax, then step."
    )


def costs(text, endings, params, start=(END,), carry="nothing", again=(), skip=0):
    """The sum of -ln p of each ending; what is carried over makes it a wrong one."""
    state = minimal.initial_state(params)
    for token in [*start, *text.encode()]:
        logits, state = minimal.step(token, state, params)
    at_end, bookmark = logits, state
    found = []
    for ending in endings:
        if carry not in ("both", "logits"):
            logits = at_end
        if carry in ("nothing", "logits"):
            state = bookmark
        for token in again:
            logits, state = minimal.step(token, state, params)
        nats = []
        for token in ending.encode():
            nats.append(np.logaddexp.reduce(logits.astype(float)) - logits[token])
            logits, state = minimal.step(token, state, params)
        found.append(sum(nats[skip:]))
    return np.array(found)


def shuffled():
    """The order of PARTS in what `nameless` gives."""
    return [PARTS[i] for i in np.random.default_rng(5).permutation(4)]


def nameless(params):
    """The four matrices of time mixing in layer 0, in an order that isn't told."""
    return [params[f"blocks.0.time_mix.{part}.weight"] for part in shuffled()]


@exercise("05.4")
def names(answer):
    """The names of the matrices that `nameless` gives."""
    listed = ", ".join(PARTS)
    wrong_unless(
        isinstance(answer, (list, tuple)) and sorted(map(str, answer)) == sorted(PARTS),
        f"It should be a list with each of these names once: {listed}.",
    )
    right = shuffled()
    hits = sum(a == b for a, b in zip(answer, right, strict=True))
    wrong_unless(
        hits == 4,
        f"{hits} of the 4 are where they belong. Give the matrices these names, read a "
        "passage, and compare its loss with that of other orders.",
    )
    return "No other order reads as well: a loss checks every weight at once."
