"""Something is said, and asked for up to 200 tokens later: does it matter where the
decay rates begin?

A text of ten tokens: eight letters, `!` before a letter that should be kept, `?` before
the one that was. What comes between is letters too, so that only the mark tells which
one counts. Then the next letter is said. Nothing else in the text can be predicted, and
only the answers are learned.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.training.loop import training_step
from rwkv_book.training.run import Run
from rwkv_book.training.schedule import make_optimizer

TOKENS = "abcdefgh!?"
LETTERS = 8
SAY, ASK = 8, 9
LONGEST = 200  # tokens from a letter to its answer
UNASKED = -100  # a target that cross_entropy leaves out
SMALL = Run(
    layers=2, width=32, steps=120, batch=8, length=256,
    learning_rate=1e-2, final_learning_rate=5e-4, warm_up=6,
)  # fmt: skip


class Questions(NamedTuple):
    """A batch, (B,T) each: `targets` are UNASKED where no answer is due.

    `distances` says how many tokens ago the answer was said, and is 0 elsewhere.
    """

    inputs: Tensor
    targets: Tensor
    distances: Tensor


def questions(seed, batch, length, longest=LONGEST):
    """Texts drawn with a seed; every doubling of the distance is as common.

    ValueError where a text is so short that it may ask nothing.
    """
    if length < longest + 1:
        raise ValueError(f"length must be at least {longest + 1}, got {length}")
    generator = np.random.default_rng(seed)
    rows = [one_text(generator, length + 1, longest) for _ in range(batch)]
    tokens, distances = torch.tensor(np.array(rows)).unbind(1)  # (B,T+1) each
    targets = tokens.where(distances > 0, UNASKED)
    return Questions(tokens[:, :-1], targets[:, 1:], distances[:, 1:])


def one_text(generator, length, longest):
    """Tokens, and at each answer its distance: two lists of `length` numbers."""
    tokens, distances = [], []
    while len(tokens) < length:
        distance = round(2 * (longest / 2) ** generator.random())
        letter, *between = generator.integers(LETTERS, size=distance - 1).tolist()
        tokens += [SAY, letter, *between, ASK, letter]
        distances += [0] * (distance + 1) + [distance]
    return tokens[:length], distances[:length]


def in_letters(tokens):
    """What a row of tokens reads: "!cab?c"."""
    return "".join(TOKENS[token] for token in tokens)


def all_at(half_life):
    """Every channel of every layer begins at one half-life, in tokens."""

    def begin(model, seed):
        for block in model.blocks:
            log_decay_rate = math.log(math.log(2) / half_life)
            nn.init.constant_(block.time_mix.log_decay_rate, log_decay_rate)

    return begin


def by_chance(model, seed):
    """A half-life drawn for each channel, from 100 tokens to a part of one."""
    generator = torch.Generator().manual_seed(seed)
    for block in model.blocks:
        nn.init.uniform_(block.time_mix.log_decay_rate, -5, 3, generator=generator)


STARTS = {
    "of all kinds": lambda model, seed: None,  # what RWKV begins with
    "by chance": by_chance,
    "all 1": all_at(1),
    "all 10": all_at(10),
    "all 100": all_at(100),
}


def first_model(start=STARTS["of all kinds"], run=SMALL, wkv=wkv_chunked):
    """A model before its first step, whose decay rates `start(model, seed)` has set."""
    torch.manual_seed(run.seed)
    model = RWKV(Config(len(TOKENS), run.layers, run.width), wkv)
    start(model, run.seed)
    return model


def learn(start=STARTS["of all kinds"], run=SMALL, wkv=wkv_chunked):
    """Train on questions: (model, losses), the nats per answer before each step."""
    model = first_model(start, run, wkv)
    optimizer, losses = make_optimizer(model, run), []
    for step in range(run.steps):
        inputs, targets, _ = questions([run.seed, step], run.batch, run.length)
        losses.append(training_step(model, optimizer, inputs, targets, run, step))
    return model, [loss.item() for loss in losses]


@torch.no_grad()
def answers(model, asked):
    """Of every answer in a batch its distance, its -ln p, and whether it was likeliest.

    Three tensors of one axis, in the same order.
    """
    logits, _ = model(asked.inputs)
    here = asked.distances > 0
    logits, right = logits[here], asked.targets[here]
    nats = cross_entropy(logits, right, reduction="none")
    return asked.distances[here], nats, logits.argmax(1) == right


@torch.no_grad()
def reach(model, asked):
    """For how many tokens a said letter stays louder than a letter in between: (L,C).

    The difference of their mean keys, divided by the decay rate of the channel.
    Negative where letters in between are the louder ones.
    """
    said = torch.zeros_like(asked.inputs, dtype=torch.bool)
    said[:, 1:] = asked.inputs[:, :-1] == SAY
    between = (asked.inputs < LETTERS) & ~said
    keys = []
    hooks = [
        block.time_mix.key.register_forward_hook(lambda *call: keys.append(call[-1]))
        for block in model.blocks
    ]
    model(asked.inputs)
    for hook in hooks:
        hook.remove()
    rates = torch.stack([b.time_mix.log_decay_rate for b in model.blocks]).exp()
    louder = torch.stack([key[said].mean(0) - key[between].mean(0) for key in keys])
    return louder / rates
