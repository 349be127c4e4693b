"""Exercises of chapter 5, RWKV in 100 lines."""

import reprlib
from functools import cache

import numpy as np

from rwkv_book import checkpoint
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    OrderQuestion,
    Wrong,
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
            2 * PARAMETERS: "Those are the bytes of a file with 2 for each parameter.",
            PARAMETERS - 2 * V * C: "Embedding and head are missing: VC each.",
            PARAMETERS - V * C: "Embedding and head are two tables: RWKV-4 shares "
            "nothing.",
            PARAMETERS - C**2 * L: "A matrix of C² is missing in each layer: did "
            "you count channel mixing's receptance, time mixing's output?",
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
        hint="It is not {answer:,.0f}. Count matrices first: 13C² a layer, and two of "
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
            "stand on top of each other.",
            2: "That is the token shifts of one layer; there are four layers.",
            3: "That is one layer; each of the four looks back from where the one "
            "below it has looked.",
            4: "One step a layer is too few: each has two token shifts, and the weight "
            "of the previous token has not faded yet.",
            8: "You counted the two token shifts of each layer. But in WKV the "
            "previous token has weight exp(k), with no decay in it: one more.",
            13: "That is how many bytes matter; the newest is 0 back.",
        },
        hint="It is not {answer:g}: count one layer, then stack.",
        praise="Three steps a layer, one of them through WKV itself: the previous "
        "token counts in full, whatever the decay.",
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


TEXT = "DUKE.\nMy noble lo"
ENDINGS = ("ve, good night.", "rd, good night.", "zq")


@exercise("05.3")
def choose(answer):
    """The cost of each ending after one reading of the text."""
    wrong_unless(callable(answer), "It should be a function: text, endings, params.")
    watched = Watched(checkpoint.load(checkpoint.shipped()))
    found = three_costs(answer(TEXT, list(ENDINGS), watched), ENDINGS)
    right = costs_of()
    first = int(np.argmax(~np.isclose(found, right, atol=1e-3)))
    hint = (
        f"The ending {ENDINGS[first]!r} costs {right[first]:.2f} nats, and you found "
        f"{found[first]:.2f}. Per byte: -ln of the softmax, then step."
    )
    result(found, right, usual_costs(right), hint, same)
    most = 1 + len(TEXT) + sum(map(len, ENDINGS))
    wrong_unless(
        watched.steps <= most,
        f"The costs are right, and took {watched.steps} steps where {most} do: read "
        "the text once, and keep its logits and its state.",
    )
    best = ENDINGS[int(np.argmin(found))]
    return f"{watched.steps} steps, and the model would go on with {best!r}."


def three_costs(found, endings):
    """What a reader's function gave back, as an array of three numbers."""
    wrong_unless(found is not None, "The function returns nothing: return the costs.")
    wrong_unless(
        found not in endings if isinstance(found, str) else True,
        f"That is the ending that you choose, {found!r}: return what each one costs.",
    )
    if isinstance(found, dict):
        wrong_unless(
            set(found) == set(endings), "A dictionary needs each ending as a key."
        )
        found = [found[ending] for ending in endings]
    try:
        found = np.array(
            [cost.item() if hasattr(cost, "item") else float(cost) for cost in found]
        )
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(
            "It should return a list of three costs, one number for each ending, and "
            f"returns {reprlib.repr(found)}."
        ) from None
    wrong_unless(
        len(found) == len(endings),
        f"Three endings need three costs, and these are {len(found)}.",
    )
    wrong_unless(
        np.isfinite(found).all(),
        "A cost is not finite: take -ln p from the logits, as logsumexp minus the "
        "logit, and no p can become 0.",
    )
    wrong_unless(found.any(), "All costs are 0: add up -ln p over the bytes.")
    likely = (found > 0) & np.isclose(-np.log(np.maximum(found, 1e-300)), costs_of())
    wrong_unless(
        not likely.all(),
        "Those are probabilities, the products of all p: a cost is -ln of that.",
    )
    return found


def usual_costs(right):
    """The costs that usual mistakes give, each with its sentence."""
    yield (
        right / np.log(2),
        "Those are bits, -log2 p: nats are asked for, with the natural logarithm.",
    )
    yield (
        right / np.log(10),
        "Those are logarithms with base 10: nats are asked for, -ln p.",
    )
    yield (
        -right / np.log(2),
        "The sign is turned, and these are bits: a cost in nats is -ln p, positive.",
    )
    yield (
        right / [len(ending) for ending in ENDINGS],
        "Those are means over the bytes of an ending: the sum is asked for, the -ln p "
        "of the whole ending.",
    )
    yield -right, "The sign is turned: a cost is -ln p, positive."
    for place, (_, sentence) in enumerate(SLIPS):
        yield costs_of(place), sentence
    params = checkpoint.load(checkpoint.shipped())
    yield (
        right + costs("", [TEXT], params),
        "That is what the text costs, too: only the endings are asked for.",
    )
    yield (
        costs("", ENDINGS, params),
        "These are the costs of the endings without the text before them.",
    )


@cache
def costs_of(slip=None):
    """The right costs, or those of one of SLIPS."""
    changes = {} if slip is None else SLIPS[slip][0]
    return costs(TEXT, ENDINGS, checkpoint.load(checkpoint.shipped()), **changes)


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
        {"scored": "after"},
        "Each byte is scored by the logits that come after it has been read, and these "
        "are about the next byte: score first, then step.",
    ),
    (
        {"scored": "before"},
        "Each byte is scored one step too early, by logits that have not seen the byte "
        "before it: step with every byte, and score the next one with what comes out.",
    ),
    (
        {"scored": "logits"},
        "Those are sums of minus the logits: a logit becomes ln p when the logsumexp "
        "of all logits is subtracted.",
    ),
    (
        {"scored": "p"},
        "Those are sums of p: the sum of -ln p is asked for.",
    ),
    (
        {"last": -1},
        "The last byte of each ending is missing.",
    ),
    (
        {"skip": 1},
        "The first byte of each ending is missing: its logits are those after the "
        "text.",
    ),
]


def costs(
    text,
    endings,
    params,
    start=(END,),
    carry="nothing",
    again=(),
    scored="right",
    skip=0,
    last=None,
):
    """The sum of -ln p of each ending; what is not as it should be makes it wrong."""
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
        seen, tokens = [logits], [*ending.encode()]
        for token in tokens:
            logits, state = minimal.step(token, state, params)
            seen.append(logits)
        used = {"after": seen[1:], "before": [seen[0], *seen[:-2]]}
        nats = [
            cost(logits.astype(float), token, scored)
            for logits, token in zip(used.get(scored, seen[:-1]), tokens, strict=True)
        ]
        found.append(sum(nats[skip:last]))
    return np.array(found)


def cost(logits, token, scored):
    """-ln p of a token, or what one takes for it."""
    nats = np.logaddexp.reduce(logits) - logits[token]
    return {"logits": -logits[token], "p": np.exp(-nats)}.get(scored, nats)


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


SCORES = np.array([3.3, 4.0, 2.4, 0.8, 0.0, -1.6, 1.8, 3.9])  # no two mistakes keep
TEMPERATURE, LEAST = 2.5, 0.15  # as many of them


@exercise("05.5")
def cut_the_tail(answer):
    """Probabilities after the temperature and the cut at a share of the largest."""
    wrong_unless(
        callable(answer), "It should be a function: logits, temperature, least."
    )
    given = SCORES.copy()
    found = probabilities(answer(given, TEMPERATURE, LEAST), len(SCORES))
    wrong_unless(
        np.array_equal(given, SCORES),
        "Your function changes the logits that it is given: work on a copy.",
    )
    right = min_p(SCORES, TEMPERATURE, LEAST)
    hint = (
        f"Of the scores {SCORES.tolist()}, at temperature {TEMPERATURE:g} and least "
        f"{LEAST:g}, it gives {np.round(found, 2).tolist()} and should give "
        f"{np.round(right, 2).tolist()}."
    )
    result(found, right, usual_cuts(SCORES, TEMPERATURE, LEAST), hint, close)
    loud = probabilities(answer(300 * SCORES + 100, 1.0, LEAST), len(SCORES))
    wrong_unless(
        np.isfinite(loud).all(),
        "Right for small scores; for a score of 1,000 it gives NaN: subtract the "
        "largest score before you take exp.",
    )
    even = probabilities(answer(np.zeros(4), 1.0, 1.0), 4)
    wrong_unless(
        close(even, np.full(4, 0.25)),
        "Right, but for a tie: four equal scores and least 1 should keep all four, as "
        "each is at least as likely as the likeliest.",
    )
    return (
        f"{np.count_nonzero(right)} of {len(SCORES)} are kept here; where all are "
        "alike, all would be."
    )


def close(found, wanted):
    return found.shape == wanted.shape and np.allclose(found, wanted, atol=1e-4)


def probabilities(found, count):
    """What a reader's function gave back, as an array (count,)."""
    wrong_unless(found is not None, "The function returns nothing: return an array.")
    try:
        found = np.asarray(found, dtype=float).squeeze()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(
            f"It should return an array of {count} probabilities, one for each token."
        ) from None
    wrong_unless(
        found.ndim != 0,
        "That is one number, such as the token drawn: return the probabilities (V,).",
    )
    wrong_unless(
        found.shape == (count,),
        f"{count} scores need {count} probabilities, and these are {found.size}: a "
        "token that is cut stays in its place, with probability 0.",
    )
    return found


def min_p(logits, temperature, least, warm_first=True):
    """The probabilities with which to draw, (V,)."""
    warmed = np.exp((logits - logits.max()) / temperature)
    judged = warmed if warm_first else np.exp(logits - logits.max())
    kept = np.where(judged >= least, warmed, 0)
    return kept / kept.sum()


def usual_cuts(logits, temperature, least):
    """The probabilities that usual mistakes give, each with its sentence."""
    right = min_p(logits, temperature, least)
    whole = min_p(logits, temperature, 0)
    yield (
        np.where(right > 0, whole, 0),
        "The right tokens are cut, but the rest add up to less than 1: divide by their "
        "sum.",
    )
    yield whole, "Nothing is cut: these are the probabilities after the temperature."
    yield (
        min_p(logits, 1.0, least),
        "The temperature does nothing: divide the scores by it before the cut.",
    )
    yield (
        min_p(logits, 1 / temperature, least),
        "The temperature works the other way round: divide the scores by it, don't "
        "multiply.",
    )
    yield (
        min_p(logits, temperature, least, warm_first=False),
        "The cut comes before the temperature: warm the scores first, then cut.",
    )
    cold = min_p(logits, 1.0, least)
    yield (
        cold ** (1 / temperature),
        "Cut, then warmed, and not divided by the sum: temperature first, then cut.",
    )
    apart = (
        "The cut is a difference: a token is kept when it is at least `least` *times* "
        "as likely as the likeliest one."
    )
    for cut, sentence in (
        (
            whole >= least,
            "The cut is made at probability `least` itself: a token is kept when it is "
            "at least `least` times as likely as the *likeliest* one.",
        ),
        (
            logits >= least * logits.max(),
            "The cut compares scores: compare probabilities, or their exp.",
        ),
        (whole >= whole.max() - least, apart),
        (logits >= logits.max() - least, apart),
        (
            whole < least * whole.max(),
            "The cut is turned round: the likely tokens are gone.",
        ),
        (
            nucleus(whole, least),
            "That is top-p: the fewest tokens that together reach a share. Min-p "
            "compares each token with the likeliest one.",
        ),
    ):
        kept = np.where(cut, whole, 0)
        yield kept / max(kept.sum(), 1e-9), sentence
        yield kept, sentence + " (And the rest should add up to 1.)"
    yield (
        np.where(right > 0, logits / temperature, -np.inf),
        "Those are scores, cut where they should be: the softmax makes probabilities "
        "of them.",
    )
    yield (
        np.sort(right)[::-1],
        "These are the right numbers, sorted: each belongs in its token's place.",
    )


def nucleus(whole, share):
    """Which tokens top-p keeps."""
    order = np.argsort(-whole, kind="stable")
    kept = np.zeros(len(whole), bool)
    kept[order[: 1 + np.searchsorted(whole[order].cumsum(), share)]] = True
    return kept
