"""Does a part of the trained model do what chapter 5 says? Take it out and look.

    python benchmarks/interventions.py

Each row changes the weights or the gates of the Shakespeare model in one way and has
its loss on stretches of the plays that were held out: on line breaks, on all other
bytes, and how far each moved, with half the width of a 95 % interval over the
stretches. The twelve channels of the clock are chosen on the chapter's own passage, and
judged here on text that had no part in the choice; the controls are as many other
channels of the same layers, drawn at random: twelve beside the twelve, one beside the
best one. No model is trained again, so a row says what this model relies on, not what
a model could do without. It takes four minutes of a quiet core, and no times are
recorded.
"""

from contextlib import contextmanager

import measure
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from rwkv_book import checkpoint
from rwkv_book.labs import clock
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.text import END_OF_TEXT, corpora

STRETCHES, LENGTH = 12, 2048
DRAWS = 12
FOLLOWS = -0.7  # a channel whose correlation is below follows the line
STUDENT = 2.2  # standard errors in half a 95 % interval of 12 numbers


def stretches(works, count=STRETCHES, length=LENGTH):
    """Pieces of all works, evenly spaced, END before each: (count, length + 1)."""
    found = []
    for text in works.values():
        starts = np.linspace(0, len(text) - length, count // len(works) + 2)[1:-1]
        found += [[END_OF_TEXT, *text[int(s) : int(s) + length]] for s in starts]
    return torch.tensor(found)


def nats(model, tokens):
    """-ln p of every byte: (B,T+1) -> (B,T)."""
    found = []
    for part in tokens.split(4):
        logits, _ = model(part[:, :-1])
        found.append(cross_entropy(logits.mT, part[:, 1:], reduction="none"))
    return torch.cat(found)


@contextmanager
def weights(model, params):
    """In the block the model has these parameters, {name: array}."""
    own = model.state_dict()
    before = {name: own[name].clone() for name in params}
    for name, values in params.items():
        own[name].copy_(torch.as_tensor(values))
    yield
    for name, values in before.items():
        own[name].copy_(values)


@contextmanager
def gates(model, change):
    """In the block, change(layer, receptance) stands before time mixing's sigmoid."""
    hooks = [
        block.time_mix.receptance.register_forward_hook(
            lambda module, given, out, layer=layer: change(layer, out)
        )
        for layer, block in enumerate(model.blocks)
    ]
    yield
    for hook in hooks:
        hook.remove()


def mean_gates(model, tokens):
    """The logit of every gate's mean over a text: L tensors (C,)."""
    found = {}

    def keep(layer, receptance):
        found[layer] = torch.logit(receptance.sigmoid().mean((0, 1)))

    with gates(model, keep):
        model(tokens[:, :-1])
    return found


class Looks:
    """The rows, each compared with the model as it is, byte by byte."""

    def __init__(self, model, tokens):
        self.model, self.tokens = model, tokens
        self.breaks = tokens[:, 1:] == ord("\n")
        self.right = nats(model, tokens)
        self.rows = [{"change": "none", **self.losses(self.right)}]

    def losses(self, found):
        row = {}
        kinds = {"breaks": self.breaks, "others": ~self.breaks}
        kinds["all"] = kinds["breaks"] | kinds["others"]
        for kind, chosen in kinds.items():
            apart = torch.where(chosen, found - self.right, 0).sum(1) / chosen.sum(1)
            error = apart.std().item() / len(apart) ** 0.5 if len(apart) > 1 else 0
            row[kind] = round(found[chosen].mean().item(), 4)
            row[f"{kind} moved"] = round(apart.mean().item(), 4)
            row[f"{kind} give or take"] = round(STUDENT * error, 4)
        return row

    def by_stretch(self, found):
        """By how many nats each stretch moved, on its line breaks and on the rest."""
        apart = found - self.right
        kinds = {"breaks": self.breaks, "others": ~self.breaks}
        nats_of = {kind: torch.where(kinds[kind], apart, 0).sum(1) for kind in kinds}
        return {kind: [round(n, 3) for n in nats_of[kind].tolist()] for kind in kinds}

    def add(self, change, by_stretch=False, **about):
        found = nats(self.model, self.tokens)
        self.rows.append({"change": change, **about, **self.losses(found)})
        if by_stretch:
            self.rows[-1]["nats by stretch"] = self.by_stretch(found)
        print(*self.rows[-1].values(), flush=True)


def look(model, fresh, params, tokens, draws=DRAWS):
    """All rows, and the channels of the clock."""
    looks = Looks(model, tokens)
    rng = np.random.default_rng(0)
    layers, width = len(model.blocks), params["norm_out.weight"].size
    follows = clock.follows(clock.PASSAGE, params)
    channels = [(int(n), int(c)) for n, c in np.argwhere(follows < FOLLOWS)]
    best = tuple(int(n) for n in np.unravel_index(follows.argmin(), follows.shape))

    def silent(change, chosen, **about):
        with weights(model, clock.silenced(params, chosen)):
            looks.add(change, **about)

    silent("one channel", [best])
    silent("clock", channels, by_stretch=True)
    for draw in range(draws):
        silent("other channels", clock.others(channels, width, rng), draw=draw)
    for draw in range(draws):
        beside = clock.others(channels, width, rng)
        one = next(pair for pair in beside if pair[0] == best[0])
        silent("other channel", [one], draw=draw)

    mixes = {name: params[name] for name in params if ".mix_" in name}
    with weights(model, {name: fresh[name] for name in mixes}):
        looks.add("first mixes")
    with weights(model, {name: mix.clip(0, 1) for name, mix in mixes.items()}):
        looks.add("mixes from 0 to 1")
    for layer in range(layers):
        here = {n: mix for n, mix in mixes.items() if n.startswith(f"blocks.{layer}.")}
        with weights(model, {name: np.ones_like(mix) for name, mix in here.items()}):
            looks.add("no look back", layer=layer)

    for layer in range(layers):
        for part, last in ("time", "output"), ("channel", "value"):
            name = f"blocks.{layer}.{part}_mix.{last}.weight"
            with weights(model, {name: np.zeros_like(params[name])}):
                looks.add("no sublayer", part=part, layer=layer)

    means = mean_gates(model, tokens)
    with gates(model, lambda layer, out: means[layer].expand_as(out)):
        looks.add("gates at their means")
    torch.manual_seed(0)
    with gates(model, lambda layer, out: out[:, torch.randperm(out.shape[1])]):
        looks.add("gates of other moments")
    return looks.rows, channels


def first_params(params, seed=0):
    """The parameters with which such a model begins its training."""
    torch.manual_seed(seed)
    vocabulary, width = params["embedding.weight"].shape
    layers = sum(name.endswith(".bonus") for name in params)
    model = RWKV(Config(vocabulary, layers, width))
    return {name: values.numpy() for name, values in model.state_dict().items()}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    path = checkpoint.shipped()
    params = checkpoint.load(path)
    tokens = stretches(corpora.load("shakespeare").validation)
    model = RWKV.load(path, wkv_fused)
    rows, channels = look(model, first_params(params), params, tokens)
    measure.record(
        "interventions",
        "cpu",
        rows,
        model=path.name,
        channels=channels,
        bytes=tokens[:, 1:].numel(),
        line_breaks=int((tokens[:, 1:] == ord("\n")).sum()),
    )


if __name__ == "__main__":
    main()
