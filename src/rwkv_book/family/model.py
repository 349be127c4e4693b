"""What the trainable RWKV-5, 6 and 7 share: their shape, their skeleton, their state.

A version adds what stands in its blocks. The state is one tensor (B,L,2+N,C), as in
`minimal.py` with a batch axis: in each layer the last token for time mixing, the tables
(H, N values, N keys), the last token for channel mixing; in float32 at least. `wkv` is
any form of `family.equation`, by default the chunked one: only its speed differs.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import group_norm

from rwkv_book import checkpoint
from rwkv_book.family.equation import table_chunked
from rwkv_book.layers import (
    LanguageModel,
    at_least_float32,
    check_state,
    check_tokens,
    shift,
    sizes_at_least,
    zeros,
)

HEAD_NORM_EPSILON = 64e-5  # 1e-5, of numbers that are 8 times as large in some code


@dataclass(frozen=True)
class TableConfig:
    """A model's shape: V, L, C, hidden channels F (0: as published), channels a head.

    ValueError where a number is too small, or where heads don't fill the width.
    """

    vocabulary: int
    layers: int
    width: int
    hidden: int = 0
    head_size: int = 64

    def __post_init__(self):
        sizes_at_least(self, vocabulary=2, layers=1, width=2, hidden=0, head_size=1)
        if self.width % self.head_size:
            raise ValueError(
                f"heads of {self.head_size} channels don't fill a width of "
                f"{self.width}: make width a multiple of head_size"
            )
        if not self.hidden:
            object.__setattr__(self, "hidden", self.usual_hidden())

    @property
    def heads(self):
        """How many heads H there are."""
        return self.width // self.head_size

    def usual_hidden(self):
        """Hidden channels F of a published model of this width: RWKV-5 and 6."""
        return max(1, self.width * 7 // 2 // 32 * 32)

    def depth(self, layer):
        """0 in the first layer, 1 in the last."""
        return layer / max(1, self.layers - 1)

    def by_channel(self):
        """0 in the first channel, 1 in the last: (C,)"""
        return torch.arange(self.width) / (self.width - 1)

    def previous(self, layer, power):
        """Shares of the previous token (C,), fewer in deeper layers and for powers."""
        share = torch.arange(self.width) / self.width
        return 1 - share ** (power * (1 - layer / self.layers))


class HeadNorm(nn.Module):
    """Each head by itself: mean 0 and variance 1, then weight and bias (C,)."""

    def __init__(self, config, layer):
        super().__init__()
        self.heads = config.heads
        scale = ((1 + layer) / config.layers) ** 0.7
        self.weight = nn.Parameter(torch.full((config.width,), scale))
        self.bias = nn.Parameter(torch.zeros(config.width))

    def forward(self, x):
        """(B,T,H,N) -> (B,T,C)"""
        batch, length = x.shape[:2]
        x = x.reshape(batch * length, -1)
        x = group_norm(x, self.heads, self.weight, self.bias, HEAD_NORM_EPSILON)
        return x.view(batch, length, -1)


class TableRWKV(LanguageModel):
    """Embedding, blocks, head; a version says what its blocks are and what is `faster`.

    `wkv` is any form of `family.equation`, None `usual_wkv`; `shift` gives each token
    the one before it. `faster` says by how much some learning rates are multiplied,
    {end of a parameter's name: factor}; weight decay is for what is called weight.
    """

    version: str
    Block: type
    Config = TableConfig
    faster: ClassVar[dict[str, float]]
    usual_wkv = staticmethod(table_chunked)

    def __init__(self, config, wkv=None, shift=shift):
        super().__init__()
        self.config, wkv = config, wkv or self.usual_wkv
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.norm_in = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(
            self.Block(config, layer, wkv, shift) for layer in range(config.layers)
        )
        self.norm_out = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        nn.init.uniform_(self.embedding.weight, -1e-4, 1e-4)
        larger = max(1, config.vocabulary / config.width) ** 0.5
        nn.init.orthogonal_(self.head.weight, gain=0.5 * larger)

    @classmethod
    def load(cls, path, wkv=None, device="cpu"):
        """A published checkpoint as a model to train, in float32; CheckpointError."""
        return cls.of(checkpoint.load(path, only=cls.version), wkv, device)

    @classmethod
    def of(cls, params, wkv=None, device="cpu"):
        """The model whose weights these are, {our name: float32 array}: no copy."""
        with torch.device("meta"):  # no initial values, which would be overwritten
            model = cls(cls.config_of(params), wkv)
        for layer, block in enumerate(model.blocks):
            first = params.get(f"blocks.{layer}.time_mix.first_state")
            if first is not None:
                block.time_mix.first_state = nn.Parameter(torch.from_numpy(first))
        known = model.state_dict().keys()  # files have some tensors that nothing reads
        tensors = {name: torch.from_numpy(params[name]) for name in known}
        model.load_state_dict(tensors, assign=True)
        return model.to(device)

    @classmethod
    def config_of(cls, params):
        """The shape of a model with these parameters of `minimal.py`."""
        vocabulary, width = params["embedding.weight"].shape
        layers = sum(name.endswith(".bonus") for name in params)
        hidden = len(params["blocks.0.channel_mix.key.weight"])
        head_size = params["blocks.0.time_mix.bonus"].shape[1]
        ranks = cls.ranks_of(params)
        return cls.Config(vocabulary, layers, width, hidden, head_size, **ranks)

    @classmethod
    def ranks_of(cls, params):
        """The other sizes in a Config of this version."""
        return {}

    def initial_state(self, batch=1):
        """The state before the first token (B,L,2+N,C): zeros, or a learned table."""
        config = self.config
        shape = (batch, config.layers, 2 + config.head_size, config.width)
        state = at_least_float32(self.head.weight).new_zeros(shape)
        learned = [block.time_mix.first_state for block in self.blocks]
        if all(first is None for first in learned):
            return state
        layers = []
        for first, rows in zip(learned, state.unbind(1), strict=True):
            table = rows[:, 1:-1]
            if first is not None:
                table = first.to(state.dtype).reshape(table.shape[1:]).expand_as(table)
            layers.append(torch.cat([rows[:, :1], table, rows[:, -1:]], dim=1))
        return torch.stack(layers, dim=1)

    def forward(self, tokens, state=None):
        """All tokens at once: (B,T) integers in [0,V) -> logits (B,T,V) and a state.

        logits[:, t] predict token t + 1. `state` (B,L,2+N,C) is what an earlier call
        returned, or None before the first token. ValueError where a shape is wrong.
        """
        check_tokens(tokens)
        initial = self.initial_state(len(tokens))
        state = initial if state is None else state
        check_state(state, initial.shape, "(B,L,2+N,C)")
        x, after, shared = self.norm_in(self.embedding(tokens)), [], None
        for layer, block in enumerate(self.blocks):
            x, kept, shared = block(x, state[:, layer], shared)
            after.append(kept)
        return self.head(self.norm_out(x)), torch.stack(after, dim=1)


class TableBlock(nn.Module):
    """Time mixing, then channel mixing, each of a normalised x and added back to x."""

    TimeMix: type
    ChannelMix: type

    def __init__(self, config, layer, wkv, shift):
        super().__init__()
        self.shift = shift
        self.norm_time = nn.LayerNorm(config.width)
        self.time_mix = self.TimeMix(config, layer, wkv)
        self.norm_channel = nn.LayerNorm(config.width)
        self.channel_mix = self.ChannelMix(config, layer)

    def forward(self, x, state, shared=None):
        """(B,T,C), (B,2+N,C) -> the same two after it; `shared` goes to all blocks."""
        x_time, table, x_channel = state[:, 0], state[:, 1:-1], state[:, -1]
        normed = self.norm_time(x)
        mixed, after, shared = self.time_mix(
            normed, self.shift(normed, x_time), table, shared
        )
        x = x + mixed
        x_time, normed = normed[:, -1:], self.norm_channel(x)
        x = x + self.channel_mix(normed, self.shift(normed, x_channel))
        rows = x_time, after.reshape(table.shape), normed[:, -1:]
        return x, torch.cat([part.to(state.dtype) for part in rows], dim=1), shared


class SquaredReLU(nn.Module):
    """Where channels meet: F squared ReLUs, with a receptance of their own if `gated`.

    A version says how a token is mixed with the one before it.
    """

    def __init__(self, config, gated=True):
        super().__init__()
        self.key = nn.Linear(config.width, config.hidden, bias=False)
        self.value = nn.Linear(config.hidden, config.width, bias=False)
        nn.init.orthogonal_(self.key.weight)
        zeros(self.value)
        if gated:
            self.receptance = nn.Linear(config.width, config.width, bias=False)
            zeros(self.receptance)

    def hidden(self, x):
        """(B,T,C) -> (B,T,C), before a receptance."""
        return self.value(self.key(x).relu().square())


def add_matrices(module, width, *parts):
    """The matrices of time mixing: key and gate begin small, output at 0."""
    gains = {"key": 0.1, "gate": 0.1, "output": 0.0}
    for part in parts:
        matrix = nn.Linear(width, width, bias=False)
        gain = gains.get(part, 1.0)
        nn.init.orthogonal_(matrix.weight, gain) if gain else zeros(matrix)
        module.add_module(part, matrix)


def low_rank(width, rank, out, scale=0.1):
    """Two factors (C,R) and (R,out) of a matrix that begins as zero: (down, up)."""
    up = torch.empty(rank, out)
    nn.init.orthogonal_(up, scale * max(1, rank / out) ** 0.5)
    return nn.Parameter(torch.zeros(width, rank)), nn.Parameter(up)


def by_head(x, heads):
    """(B,T,C) -> (B,T,H,N), in float32 at least: what the operator takes."""
    return at_least_float32(x).unflatten(-1, (heads, -1))


def as_tables(rows, heads):
    """The rows of tables in a state (B,N,C) -> (B, H, N values, N keys)."""
    return rows.reshape(len(rows), heads, rows.shape[1], -1)


def look_back(x, x_prev, share):
    """Channel by channel, a share of the previous token: 1 - RWKV-4's mix."""
    return torch.lerp(x, x_prev, share)


def every_digit(x):
    """In the block no matrix product is rounded to 16 bits, whatever is around it."""
    return torch.autocast(x.device.type, enabled=False)
