"""What RWKV is compared with: five language models at one number of parameters.

    name         how tokens meet                                 numbers kept
    rwkv         averages that fade at a rate of their channel   5·L·C
    lstm         gates over a memory that is added to            2·C, in one layer
    gpt-learned  softmax attention, a vector for each position   2·L·C·T, T <= context
    gpt-rotary   softmax attention, positions by rotation        2·L·C·T
    aft          averages with a weight for each distance        66·L·C

All read bytes, `forward(tokens, state=None)` gives logits and the next state, and
`step` is the same function for one token. `build` makes one of the size of an RWKV,
`load` one that was trained beside the others by benchmarks/training_comparison.py.
"""

import json
import math
from bisect import bisect_left
from dataclasses import asdict
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, pad

from rwkv_book import checkpoint, rnn, transformer
from rwkv_book.rnn import LSTM
from rwkv_book.rwkv4 import model
from rwkv_book.rwkv4.model import RWKV, at_least_float32
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.training import join
from rwkv_book.transformer import GPT

CONTEXT = 256  # what learned positions can count, and the length of a window
HEADS = 4  # of a GPT, in each layer
LSTM_LAYERS = 1  # two, of the same number of parameters, learn later
GROUPS = 8  # of AFT's channels, each with biases of its own
WINDOW = 32  # distances with a bias of their own in AFT, as in its paper
FACTORS = 16  # a bias is the product of two vectors of so many numbers, and starts
BIAS_SCALE = 3.0  # at random as large: some distances count before any was learned
LARGEST_KEY = 30.0  # exp(30) can be added up 10^25 times in float32


# AFT-local: Zhai et al. 2021, arXiv 2105.14103.


def local_average(key, value, bias, state=None):
    """`aft_local` for texts of any length: the average of all values up to t, where i
    weighs exp(key[i] + bias[t - i]), without a bias from W tokens on.

    key, value and out are (B,T,C), bias (H,W): H groups of channels have biases of
    their own. The state (B,W+1,2C), None before the first token, holds sums of weighted
    values and of weights: a row for each of the last W tokens, and before them a row
    for all others. O(T·W·C) time. Keys count as LARGEST_KEY at most, so that their
    exponentials need no common scale.
    """
    (groups, window), length = bias.shape, key.shape[1]
    weight = key.clamp(-LARGEST_KEY, LARGEST_KEY).exp()
    terms = torch.cat([weight * value, weight], dim=-1)  # (B,T,2C)
    if state is None:
        state = terms.new_zeros(len(key), window + 1, terms.shape[-1])
    older, terms = state[:, :1], torch.cat([state[:, 1:], terms], dim=1)  # (B,W+T,2C)
    blocks = pad(terms, (0, 0, 0, -length % window)).unflatten(1, (-1, window))
    far = torch.cat([older, blocks[:, :-2].sum(2)], dim=1).cumsum(1)  # (B,T/W,2C)
    pairs = torch.cat([blocks[:, :-1], blocks[:, 1:]], dim=2)  # (B,T/W,2W,2C)
    pairs = pairs.unflatten(-1, (2, groups, -1)).movedim(-2, -4)  # (B,T/W,H,2W,2,C/H)
    near = weights_by_distance(bias) @ pairs.flatten(-2)  # (B,T/W,H,W,2C/H)
    near = near.unflatten(-1, (2, -1)).movedim(-4, -2).flatten(-3)  # (B,T/W,W,2C)
    sums = (far[:, :, None] + near).flatten(1, 2)[:, :length]
    num, den = sums.chunk(2, dim=-1)
    older = older + terms[:, :-window].sum(1, keepdim=True)
    return num / den, torch.cat([older, terms[:, -window:]], dim=1)


def weights_by_distance(bias):
    """exp(bias[t - i]) for each t of a block of W tokens and i of it and the one
    before: (H,W) -> (H,W,2W), 1 for distances from W on and 0 for later tokens."""
    window = bias.shape[-1]
    t = torch.arange(window, 2 * window, device=bias.device)[:, None]
    distance = t - torch.arange(2 * window, device=bias.device)
    near = bias[:, distance.clamp(0, window - 1)].masked_fill(distance >= window, 0)
    return near.exp().masked_fill(distance < 0, 0)


class LocalMixing(nn.Module):
    """AFT-local in the place of attention, with the attention's own matrices.

    The one form of AFT that can be trained here on equal terms: AFT-full ends at the
    length it was trained at, as learned positions do, and AFT-simple can't tell the
    order of what it read. A bias for each distance, instead of each pair of positions,
    lets a text go on; groups of channels have biases of their own, as the heads of the
    paper's AFT-conv have.
    """

    def __init__(self, attention):
        super().__init__()
        self.query_key_value, self.output = attention.query_key_value, attention.output
        scale = BIAS_SCALE / math.sqrt(FACTORS)
        self.bias_left = nn.Parameter(scale * torch.randn(GROUPS, FACTORS))
        self.bias_right = nn.Parameter(torch.randn(FACTORS, WINDOW))

    def forward(self, x, state, attention=None):
        """(B,T,C), (B,W+1,2C) or None -> (B,T,C), (B,W+1,2C)"""
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)
        with torch.autocast(x.device.type, enabled=False):  # sums need float32's digits
            average, state = local_average(
                at_least_float32(key),
                at_least_float32(value),
                at_least_float32(self.bias_left @ self.bias_right),
                state,
            )
        return self.output(query.sigmoid() * average.to(x.dtype)), state


class AFT(nn.Module):
    """A GPT in which no query meets a key, with a state of a fixed size."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        gpt = GPT(config)
        self.embedding, self.blocks = gpt.embedding, gpt.blocks
        self.norm_out = gpt.norm_out
        for block in self.blocks:
            block.attention = LocalMixing(block.attention)

    def forward(self, tokens, state=None):
        """(B,T) -> logits (B,T,V), those at t predict token t + 1, and a state.

        The state is (B,L,W+1,2C), None before the first token. ValueError where a shape
        is wrong.
        """
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            shape = tuple(tokens.shape)
            raise ValueError(f"tokens must be (B,T) with T at least 1, got {shape}")
        wanted = (len(tokens), len(self.blocks), WINDOW + 1, 2 * self.config.width)
        if state is not None and state.shape != wanted:
            shape = tuple(state.shape)
            raise ValueError(f"state must be (B,L,W+1,2C) = {wanted}, got {shape}")
        x, after = self.embedding(tokens), []
        for layer, block in enumerate(self.blocks):
            x, kept = block(x, None if state is None else state[:, layer], None)
            after.append(kept)
        return self.norm_out(x) @ self.embedding.weight.T, torch.stack(after, dim=1)

    def step(self, token, state=None):
        """The same function for one token: (B,) -> logits (B,V) and a state."""
        logits, state = self.forward(token[:, None], state)
        return logits[:, 0], state


# The five, at one size.

NETWORKS = {
    "rwkv": (RWKV, model.Config),
    "lstm": (LSTM, rnn.Config),
    "gpt-learned": (GPT, transformer.Config),
    "gpt-rotary": (GPT, transformer.Config),
    "aft": (AFT, transformer.Config),
}
NAMES = tuple(NETWORKS)


def build(name, size, context=CONTEXT, wkv=wkv_chunked):
    """The contender `name` with as many parameters as an RWKV of the Config `size`."""
    network = make(name, shape(name, size, context), wkv)
    if name == "lstm":
        begin_well(network)
    return network


def begin_well(lstm):
    """Orthogonal weights for each gate: a token is heard at the first step.

    With PyTorch's own initial values, which are small, what comes out hardly depends on
    the token, and hundreds of steps pass before it does.
    """
    for key, weights in lstm.trunk.lstm.named_parameters():
        if key.startswith("weight"):
            for gate in weights.data.chunk(4):
                nn.init.orthogonal_(gate, gain=2.0 if "_ih_" in key else 1.0)


def make(name, config, wkv=wkv_chunked):
    """A network of a given shape; `wkv` is a form of RWKV's operator."""
    network, _ = NETWORKS[name]
    return network(config, wkv) if name == "rwkv" else network(config)


@cache
def shape(name, size, context=CONTEXT):
    """The Config that gives `name` the parameters of an RWKV of the Config `size`.

    An LSTM has LSTM_LAYERS layers and is as wide as need be. The others have as many
    layers as the RWKV; a width that makes HEADS heads comes near, and the number of
    hidden channels nearer. `context` is what learned positions can count.
    """
    if name == "rwkv":
        return size
    budget, count = parameters_of("rwkv", size), partial(parameters_of, name)
    if name == "lstm":
        config_of = partial(rnn.Config, size.vocabulary, LSTM_LAYERS)
        return nearest(budget, count, config_of)
    config_of = partial(
        transformer.Config,
        size.vocabulary,
        size.layers,
        heads=1 if name == "aft" else HEADS,
        context=context if name == "gpt-learned" else None,
    )
    width = nearest(budget, count, config_of, step=2 * HEADS).width
    return nearest(budget, count, lambda hidden: config_of(width, hidden=hidden))


def nearest(budget, count, config_of, step=1):
    """Of config_of(step), config_of(2·step) ... the one whose count is nearest."""
    sizes = range(step, 2 * math.isqrt(budget), step)  # of a matrix with others
    above = bisect_left(sizes, budget, key=lambda n: count(config_of(n)))
    near = [config_of(n) for n in sizes[max(0, above - 1) : above + 1]]
    return min(near, key=lambda config: abs(count(config) - budget))


def parameters_of(name, config):
    """How many numbers would be trained; the network itself is not made."""
    with torch.device("meta"):
        return parameters(make(name, config))


def parameters(network):
    """How many numbers are trained."""
    return sum(weights.numel() for weights in network.parameters())


# Held-out text, read by rules that are the same for all.


@torch.no_grad()
def windowed_loss(network, works, context=CONTEXT, batch=32):
    """Nats per byte over all works, and over each of them: (float, {name: float}).

    No byte is predicted from more than the `context` bytes before it, or, but at the
    beginning of a work, from less than half as many: a window begins every context / 2
    bytes, with an empty state, and of each but the first only the second half counts.
    """
    nats = {
        name: nats_in_windows(network, text, context, batch)
        for name, text in works.items()
    }
    per_work = {name: found.mean().item() for name, found in nats.items()}
    return torch.cat(list(nats.values())).mean().item(), per_work


def nats_in_windows(network, text, context, batch):
    """-log p of every byte of a text, by the rule of `windowed_loss`: (T,)"""
    half, tokens = context // 2, torch.from_numpy(join({"": text})[:-1]).long()
    windows = max(1, -(-len(text) // half) - 1)
    missing = (windows + 1) * half + 1 - len(tokens)
    windows = pad(tokens, (0, missing)).unfold(0, 2 * half + 1, half)  # (n,2·half+1)
    nats = torch.cat([nats_per_byte(network, some) for some in windows.split(batch)])
    return torch.cat([nats[0, :half], nats[:, half:].flatten()])[: len(text)]


def nats_per_byte(network, tokens):
    """-log p of each token after the first of each row: (B,T+1) -> (B,T)"""
    tokens = tokens.to(next(network.parameters()).device)
    logits, _ = network(tokens[:, :-1])
    return cross_entropy(logits.float().mT, tokens[:, 1:], reduction="none")


class Bucket(NamedTuple):
    """Loss after `first` to `last` bytes were read, and its standard error: nats per
    byte, or None where a network can't read so many."""

    first: int
    last: int
    nats: float | None
    error: float | None


@torch.no_grad()
def loss_by_position(network, works, longest=8192, stretches=16, batch=4):
    """A Bucket for 1 to 16 bytes read, 17 to 32, 33 to 64, and on to `longest`.

    The same `stretches` of the works, evenly spread, for every network, read at once
    and from an empty state; the error is over stretches. Where positions are learned,
    buckets beyond the context hold None. ValueError where no work is long enough.
    """
    starts = [
        (name, start)
        for name, text in works.items()
        for start in range(0, len(text) - longest, longest)
    ]
    if not starts:
        raise ValueError(f"no work has more than {longest} bytes: lower longest")
    chosen = np.linspace(0, len(starts) - 1, min(stretches, len(starts))).round()
    texts = [
        works[name][start : start + longest + 1]
        for name, start in (starts[int(i)] for i in chosen)
    ]
    tokens = torch.tensor([list(text) for text in texts])  # (stretches,longest+1)
    reach = min(longest, getattr(network.config, "context", None) or longest)
    tokens = tokens[:, : reach + 1]
    nats = torch.cat([nats_per_byte(network, some) for some in tokens.split(batch)])
    buckets, first, last = [], 1, 16
    while first <= longest:
        last = min(last, longest)
        found = nats[:, first - 1 : last].mean(1)  # of each stretch
        error = found.std().item() / len(found) ** 0.5
        known = (found.mean().item(), error) if last <= reach else (None, None)
        buckets.append(Bucket(first, last, *known))
        first, last = last + 1, 2 * last
    return buckets


# Trained ones, which come with the book.


def path(name):
    """Where the file of a trained contender lies, at the larger size; ValueError."""
    if name not in NAMES:
        raise ValueError(f"no contender is called {name!r}: there are {NAMES}")
    return Path(files("rwkv_book") / "models" / "comparison" / f"{name}.safetensors")


def load(name, wkv=wkv_chunked):
    """A trained contender in float32; its file is in float16."""
    return read(path(name), wkv)


def metadata(name):
    """What is known of a trained contender: text by name."""
    return checkpoint.metadata(path(name))


def save(network, name, path, metadata):
    """Write a contender in float16, with its shape, to a .safetensors file.

    An RWKV is written in the published layout, the others under their own names.
    """
    described = {
        "contender": name,
        "shape": json.dumps(asdict(network.config)),
        **metadata,
    }
    if name == "rwkv":
        checkpoint.save(network.state_dict(), path, "float16", described)
    else:
        half = {
            key: values.cpu().half() for key, values in network.state_dict().items()
        }
        save_file(half, path, described)


def read(path, wkv=wkv_chunked):
    """The contender that `save` wrote."""
    described = checkpoint.metadata(path)
    name = described["contender"]
    if name == "rwkv":
        return RWKV.load(path, wkv)
    _, config = NETWORKS[name]
    network = make(name, config(**json.loads(described["shape"])))
    network.load_state_dict(load_file(path))
    return network
