"""Exercises of chapter 5, RWKV in 100 lines."""

import numpy as np

from rwkv_book import checkpoint
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    OrderQuestion,
    around,
    result,
    wrong_unless,
)
from rwkv_book.rwkv4 import minimal

PARTS = ("key", "value", "receptance", "output")
END = 0


V, C, L = 50277, 1024, 24  # RWKV-4 430M
PARAMETERS = 2 * V * C + 13 * C**2 * L + C * (11 * L + 4)

pose(
    "05.1",
    NumberQuestion(
        right=PARAMETERS,
        mistakes={
            PARAMETERS - V * C: "Embedding and head are two tables: RWKV-4 shares "
            "nothing.",
            PARAMETERS - C**2 * L: "A matrix of C² is missing in each layer: has "
            "channel mixing got its receptance, time mixing its output?",
            PARAMETERS - 2 * C: "One norm outside the layers is missing: there is one "
            "after the embedding and one before the head.",
            PARAMETERS - 4 * C: "The two norms outside the layers are missing.",
            PARAMETERS - C * (11 * L + 4): "That is the matrices alone: add the "
            "vectors.",
            PARAMETERS - 4 * C * L: "The norms in the layers are missing: two, with a "
            "weight and a bias each.",
            PARAMETERS - 2 * C * L: "Two vectors a layer are missing: norms have a "
            "weight and a bias, time mixing has a decay and a bonus, channel mixing "
            "two mixes.",
            PARAMETERS - 6 * C**2 * L: "Channel mixing widens to 4C: its key and value "
            "have 4C² each.",
            2 * V * C + (13 * C**2 + 11 * C + 4 * C) * L: "The norms after the "
            "embedding and before the head are there once, not in every layer.",
            around(430e6, absolute=5e5): "Nearly: the millions are right, so check the "
            "vectors, C(11L + 4).",
        },
        hint="{answer:,.0f} it is not. Count matrices first: 13C² a layer, and two of "
        "VC.",
        praise=f"{PARAMETERS:,}, and 2 bytes of each make a file of "
        f"{PARAMETERS * 2 / 1e6:.0f} MB.",
    ),
)
pose(
    "05.2",
    NumberQuestion(
        right=12,  # three steps back in each of four layers, in spite of total decay
        mistakes={
            0: "Even with total decay a layer sees more than the newest token: think "
            "of x_time and x_channel in the state.",
            1: "That is one token shift alone. There are two in each layer, and layers "
            "stand on each other.",
            2: "That is the token shifts of one layer; there are four layers.",
            3: "That is one layer; each of the four looks back from where the one "
            "below it has looked.",
            4: "One step a layer is too few: each has two token shifts, and the weight "
            "of the token before the newest has not faded yet.",
            8: "You counted the two token shifts of each layer. But in WKV the token "
            "right before the newest has weight exp(k), with no decay in it: one more.",
            13: "That is how many bytes matter; the newest is 0 back.",
        },
        hint="{answer:g} it is not: count one layer, then stack.",
        praise="Three steps a layer, one of them through WKV itself: the token before "
        "the newest counts in full, whatever the decay.",
    ),
)


class Watched(dict):
    """Parameters that count the steps: each looks its token up in the embedding."""

    steps = 0

    def __getitem__(self, name):
        self.steps += name == "embedding.weight"
        return super().__getitem__(name)


def same(found, wanted):
    return np.allclose(found, wanted, atol=1e-3)


@exercise("05.3")
def choose(answer):
    """The cost of each ending after one reading of the text."""
    wrong_unless(callable(answer), "It should be a function: text, endings, params.")
    params = checkpoint.load(checkpoint.shipped())
    text, endings = "DUKE.\nMy noble lo", ("ve, good night.", "rd, good night.", "zq")
    watched = Watched(params)
    found = answer(text, list(endings), watched)
    wrong_unless(found is not None, "The function returns nothing: return the costs.")
    wrong_unless(
        np.shape(found) == (3,), f"Three endings need three costs, not {found!r}."
    )
    right = costs(text, endings, params)
    first = int(np.argmax(~np.isclose(found, right, atol=1e-3)))
    hint = (
        f"The ending {endings[first]!r} costs {right[first]:.2f} nats, and you found "
        f"{float(found[first]):.2f}. Per byte: -ln of the softmax, then step."
    )
    result(found, right, usual_costs(text, endings, params, right), hint, same)
    most = 1 + len(text) + sum(map(len, endings))
    wrong_unless(
        watched.steps <= most,
        f"The costs are right, and took {watched.steps} steps where {most} do: read "
        "the text once, and keep its logits and its state.",
    )
    best = endings[int(np.argmin(found))]
    return f"{watched.steps} steps, and the model would go on with {best!r}."


def usual_costs(text, endings, params, right):
    """The costs that usual mistakes give, each with its sentence."""
    yield (
        right / [len(ending) for ending in endings],
        "Those are means over the bytes of an ending: the sum is asked for, the -ln p "
        "of the whole ending.",
    )
    yield -right, "The sign is turned: a cost is -ln p, positive."
    for changes, sentence in SLIPS:
        yield costs(text, endings, params, **changes), sentence
    yield (
        right + costs("", [text], params),
        "That is what the text costs, too: only the endings are asked for.",
    )
    yield (
        costs("", endings, params),
        "These are the costs of the endings without the text before them.",
    )


SLIPS = [
    ({"start": []}, "You began with the text, and not with the byte END before it."),
    (
        {"carry": "state"},
        "The first cost is right, the others aren't: each ending has to start from the "
        "state after the text, not from where the last one ended.",
    ),
    (
        {"carry": "both"},
        "The first cost is right, the others aren't: each ending has to start from the "
        "logits and the state after the text, not from those of the last ending.",
    ),
    (
        {"carry": "logits"},
        "The costs after the first are wrong: each ending has to start from the logits "
        "after the text, not from those of the last ending.",
    ),
    (
        {"again": [END]},
        "The byte END stands before a text, not before its ending: start from the "
        "logits after the text.",
    ),
    (
        {"skip": 1},
        "The first byte of each ending is missing: its logits are those after the "
        "text.",
    ),
]


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


pose(
    "05.4",
    OrderQuestion(
        right=tuple(shuffled()),
        mistakes={},
        hint="{hits} of the 4 are where they belong. Give the matrices these names, "
        "read a passage, and compare its loss with that of other orders.",
        praise="No other order reads as well: a loss checks every weight at once.",
    ),
)
