"""Exercises of chapter 15: bytes of states, features, readers side by side."""

import numpy as np
import torch

from rwkv_book import readers
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    OrderQuestion,
    result,
    returned,
    wrong_unless,
)
from rwkv_book.rwkv7.model import RWKV

LAYERS, WIDTH, SIZE = 12, 768, 64
NUMBERS = LAYERS * SIZE * WIDTH

pose(
    "15.1",
    NumberQuestion(
        right=2 * NUMBERS,
        mistakes={
            NUMBERS: "That is how many numbers there are. A bfloat16 takes two bytes.",
            4 * NUMBERS: "That is float32, at four bytes a number.",
            2 * NUMBERS / 1024: "Those are KiB: how many bytes?",
            2 * LAYERS * (2 + SIZE) * WIDTH: "That is a whole state. The two rows of a "
            "layer, the previous token of each sublayer, are not trained.",
            2 * SIZE * WIDTH: "That is one layer, or one head of each layer: there are "
            "12 of both.",
            2 * LAYERS * WIDTH * WIDTH: "A table of C by C in each layer: but each "
            "head has its own, N by N.",
        },
        hint="Each layer has C / N tables of N by N, at two bytes a number.",
        praise="{answer:,.0f} bytes of numbers: that is the size of the files for 0.1B "
        "that people exchange, except for a few hundred bytes of names.",
    ),
)

READERS, PROMPT, OWN = 30, 2000, 100
CACHED = 2 * 2 * (PROMPT + READERS * OWN)
STATES = READERS * (2 + SIZE) * 4
RATIO = CACHED / STATES

pose(
    "15.2",
    NumberQuestion(
        right=RATIO,
        mistakes={
            2 * 2 * READERS * (PROMPT + OWN) / STATES: "That is thirty caches, each "
            "with a copy of the prompt: here they share it.",
            2 * 2 * PROMPT / STATES: "That is the prompt alone. Each reader also has "
            "100 tokens of its own.",
            2 * 2 * (PROMPT + OWN) / STATES: "Each of the thirty has 100 tokens of its "
            "own, not all of them together.",
            2 * RATIO: "The cache is kept at two bytes a number, the state at four.",
            RATIO / 2: "A token has a key and a value in the cache: two rows of C.",
            1 / RATIO: "That is the other way round: the cache by the states.",
            CACHED / (READERS * 5 * 4): "That is RWKV-4's state, five rows a layer.",
            CACHED / (READERS * SIZE * 4): "Two rows are missing in the states: those "
            "of the previous token.",
        },
        hint="Per layer and channel: two numbers of two bytes for each token that is "
        "kept, against 66 numbers of four for each reader.",
        praise="5,000 tokens are kept, at 4 bytes for each layer and channel, against "
        "30 times 264: {answer:.2f} times as much. With every token the factor grows.",
        relative=0.01,
    ),
)


def examples():
    """Features to fit on (n,D) and others (m,D); one channel never moves."""
    random = np.random.default_rng(0)
    scale, shift = np.array([1, 50, 0.02, 3]), np.array([0, 7, -1, 2])
    x, other = (random.normal(size=(n, 4)) * scale + shift for n in (40, 9))
    other = other + 0.5 * scale
    x[:, 3] = other[:, 3] = 2.0
    return x, other


def standard(x, other, axis=0):
    """Both by the mean and the deviation of the first; a still channel becomes 0."""
    mean, deviation = x.mean(axis), x.std(axis)
    deviation = np.where(deviation > 0, deviation, 1)
    return (x - mean) / deviation, (other - mean) / deviation


def by_variance(x, other):
    """Both divided by the variance of the first, where a channel moves."""
    variance = x.var(0)
    variance = np.where(variance > 0, variance, 1)
    return (x - x.mean(0)) / variance, (other - x.mean(0)) / variance


def same_to_a_percent(found, wanted):
    """Whether two arrays are one; deviations by n and by n - 1 are the same here."""
    return np.allclose(found, wanted, rtol=0.02, atol=1e-6)


@exercise("15.3")
def standardise(my_standard):
    x, other = examples()
    with np.errstate(all="ignore"):
        answer = my_standard(x.copy(), other.copy())
    wrong_unless(
        isinstance(answer, tuple | list) and len(answer) == 2,
        "Return two arrays: the features to fit on, and the others.",
    )
    found = [np.asarray(each, dtype=float) for each in answer]
    for each, given in zip(found, (x, other), strict=True):
        returned(each, given.shape, "features")
    wrong_unless(
        np.isfinite(np.concatenate(found)).all(),
        "There is NaN or infinity: one channel never moves, and has a deviation of 0.",
    )
    wanted = standard(x, other)
    own = standard(x, x)[0], standard(other, other)[0]
    both = np.concatenate([x, other])
    together = standard(both, x)[1], standard(both, other)[1]
    pooled = standard(x, other, axis=None)
    centred = x - x.mean(0), other - x.mean(0)
    mistakes = [
        (
            own,
            "The others are standardised by their own mean and deviation. A probe was "
            "fitted on one scale: it must be asked on that one.",
        ),
        (
            together,
            "The others have had a say in the mean and the deviation: what is tested "
            "on has leaked into what is fitted on.",
        ),
        (
            pooled,
            "That is one mean and one deviation for all channels: the loud ones still "
            "drown the quiet ones.",
        ),
        (centred, "The mean is gone, and the deviation is not yet 1."),
        (
            by_variance(x, other),
            "You divide by the variance: the deviation is its root.",
        ),
        (
            [standard(each.T, each.T)[0].T for each in (x, other)],
            "Each text is standardised by itself: it should be each channel, axis 0.",
        ),
    ]
    result(
        found,
        wanted,
        mistakes,
        "The first array should have mean 0 and deviation 1 in every channel that "
        "moves, the second be moved and scaled by the same numbers.",
        lambda a, b: all(map(same_to_a_percent, a, b)),
    )
    return "Each channel counts alike, and what is tested on had no say."


def network(seed=0):
    """A small RWKV-7 none of whose weights is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = RWKV(RWKV.Config(11, layers=2, width=16, head_size=8))
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.3 * torch.randn_like(weights)
    return model.requires_grad_(False)


QUESTIONS = [[3, 1, 4], [1, 5], [9, 2, 6, 5, 3], [5, 8]]


def close(found, wanted):
    return torch.allclose(found, wanted, rtol=1e-3, atol=1e-3)


@exercise("15.4")
def answer_thirty(my_answers):
    model = network()
    _, state = model(torch.tensor([[7, 7, 2, 10]]))
    kept = state.clone()
    found = my_answers(model, state, [list(each) for each in QUESTIONS])
    wanted, _ = readers.read_each(model, QUESTIONS, state=kept)
    if isinstance(found, list | tuple):
        found = torch.stack([torch.as_tensor(each) for each in found])
    returned(found, wanted.shape, "the logits after each question")
    result(found, wanted, slips(model, kept), "Each answer should be that of a "
        "reader who read the prompt and this question alone.", close)  # fmt: skip
    wrong_unless(
        torch.equal(state, kept),
        "The answers are right, and the prompt's state is spoiled: the next thirty "
        "would begin somewhere else. Copy it.",
    )
    return "Nobody hears anybody, and the prompt was read once."


def slips(model, state):
    """What the usual mistakes give, each with its sentence."""
    longest, before, last = max(map(len, QUESTIONS)), state, []
    for question in QUESTIONS:
        logits, before = model(torch.tensor([question]), before)
        last.append(logits[0, -1])
    yield (
        torch.stack(last),
        (
            "A reader hears those who asked before: go on from the prompt's state each "
            "time, not from where the last one ended."
        ),
    )
    behind = torch.tensor([q + [0] * (longest - len(q)) for q in QUESTIONS])
    logits, _ = model(behind, readers.fork(state, len(QUESTIONS)))
    yield (
        logits[:, -1],
        (
            "Short questions are padded behind their end, and the answer is read off "
            "after the padding: take it after each question's own last token."
        ),
    )
    ahead = torch.tensor([[0] * (longest - len(q)) + q for q in QUESTIONS])
    logits, _ = model(ahead, readers.fork(state, len(QUESTIONS)))
    yield (
        logits[:, -1],
        (
            "Short questions are padded in front. The model reads the padding and "
            "writes it into its tables."
        ),
    )
    yield readers.read_each(model, QUESTIONS)[0], "The prompt is missing."
    right, _ = readers.read_each(model, QUESTIONS, state=state)
    by_length = sorted(range(len(QUESTIONS)), key=lambda n: len(QUESTIONS[n]))
    yield (
        right[by_length],
        "Right, but in the order of their lengths: give them back as they were asked.",
    )
    yield right.softmax(1), "Those are probabilities: return the logits."
    first, _ = readers.read_each(model, [q[:1] for q in QUESTIONS], state=state)
    yield first, "That is read off after the first token of each question."
    shortest = min(map(len, QUESTIONS))
    cut = torch.tensor([q[:shortest] for q in QUESTIONS])
    yield (
        model(cut, readers.fork(state, len(QUESTIONS)))[0][:, -1],
        ("Long questions are cut to the length of the shortest."),
    )


pose(
    "15.5",
    OrderQuestion(
        right=("its own", "none", "of an RWKV-6", "of an RWKV-5"),
        mistakes={
            ("its own", "of an RWKV-6", "of an RWKV-5", "none"): "So one would hope: "
            "they have read the same text. But a state of other weights is believed, "
            "and none is not. Measure it.",
            ("of an RWKV-5", "of an RWKV-6", "none", "its own"): "Turn it round: the "
            "lowest loss comes first.",
            ("its own", "of an RWKV-6", "none", "of an RWKV-5"): "RWKV-6 is the nearer "
            "relative, and still worse than nothing.",
            ("its own", "none", "of an RWKV-5", "of an RWKV-6"): "Nearly: which of the "
            "two relatives does more harm?",
        },
        hint="{hits} of 4 are in place. Least loss first.",
        praise="Worse than no state at all, and no error was raised.",
    ),
)
