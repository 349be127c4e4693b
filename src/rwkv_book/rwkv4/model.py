"""RWKV-4 to train: `minimal.py` with a batch axis, a time axis and gradients.

`RWKV.forward` reads all tokens of a text in parallel over time, as a transformer does;
`RWKV.step` reads one token, as an RNN does. Both take a state and return the next one,
and both compute the same function. The state is one tensor (B,L,5,C), in float32 at
least: in each layer the rows x_time, num, den, log_scale, x_channel of `minimal.py`.
Source: Peng et al. 2023, arXiv 2305.13048; initial values as in the official training
code, github.com/BlinkDL/RWKV-LM.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from rwkv_book import checkpoint
from rwkv_book.layers import (
    LanguageModel,
    at_least_float32,
    check_state,
    check_tokens,
    orthogonal,
    shift,
    sizes_at_least,
    through,
    token_shift,
    zeros,
)
from rwkv_book.rwkv4.wkv import WkvState, wkv_chunked


@dataclass(frozen=True)
class Config:
    """A model's shape: vocabulary V, layers L, width C, hidden channels F (0: 4·C)."""

    vocabulary: int
    layers: int
    width: int
    hidden: int = 0

    def __post_init__(self):
        if not self.hidden:
            object.__setattr__(self, "hidden", 4 * self.width)
        sizes_at_least(self, vocabulary=2, layers=1, width=2, hidden=1)


class TimeMix(nn.Module):
    """Where tokens meet: an average of all values, let through by the receptance."""

    def __init__(self, config, layer, wkv):
        super().__init__()
        width = config.width
        self.wkv = wkv
        channel = torch.arange(width)
        depth = layer / max(1, config.layers - 1)  # 0 at first, 1 at last
        # half-lives from 100 tokens down to a part of one, longer in deeper layers
        log_decay_rate = -5 + 8 * (channel / (width - 1)) ** (0.7 + 1.3 * depth)
        bonus = math.log(0.3) + 0.5 * ((channel + 1) % 3 - 1)
        mix = (channel / width) ** (1 - layer / config.layers)
        self.log_decay_rate = nn.Parameter(log_decay_rate)
        self.bonus = nn.Parameter(bonus)
        self.mix_key = nn.Parameter(mix)
        self.mix_value = nn.Parameter(mix + 0.3 * depth)
        self.mix_receptance = nn.Parameter(mix**0.5)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.receptance = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        orthogonal(self.value)
        zeros(self.key, self.receptance, self.output)

    def forward(self, x, x_prev, state):
        """(B,T,C), (B,T,C), WkvState -> (B,T,C), WkvState"""
        key = self.key(token_shift(x, x_prev, self.mix_key))
        value = self.value(token_shift(x, x_prev, self.mix_value))
        receptance = self.receptance(token_shift(x, x_prev, self.mix_receptance))
        average, state = self.wkv(
            at_least_float32(self.log_decay_rate).exp(),
            at_least_float32(self.bonus),
            at_least_float32(key),
            at_least_float32(value),
            state,
        )
        return self.output(receptance.sigmoid() * average.to(x.dtype)), state


class ChannelMix(nn.Module):
    """Where channels meet: F squared ReLUs, let through by their own receptance."""

    def __init__(self, config, layer):
        super().__init__()
        mix = (torch.arange(config.width) / config.width) ** (1 - layer / config.layers)
        self.mix_key = nn.Parameter(mix.clone())
        self.mix_receptance = nn.Parameter(mix.clone())
        self.key = nn.Linear(config.width, config.hidden, bias=False)
        self.receptance = nn.Linear(config.width, config.width, bias=False)
        self.value = nn.Linear(config.hidden, config.width, bias=False)
        orthogonal(self.key)
        zeros(self.value, self.receptance)

    def forward(self, x, x_prev):
        """(B,T,C), (B,T,C) -> (B,T,C)"""
        key = self.key(token_shift(x, x_prev, self.mix_key))  # (B,T,F)
        receptance = self.receptance(token_shift(x, x_prev, self.mix_receptance))
        return receptance.sigmoid() * self.value(key.relu().square())


class Block(nn.Module):
    """Time mixing, then channel mixing, each of a normalised x and added back to x."""

    def __init__(self, config, layer, wkv, shift):
        super().__init__()
        self.shift = shift
        self.norm_time = nn.LayerNorm(config.width)
        self.time_mix = TimeMix(config, layer, wkv)
        self.norm_channel = nn.LayerNorm(config.width)
        self.channel_mix = ChannelMix(config, layer)

    def forward(self, x, state):
        """(B,T,C), (B,5,C) -> (B,T,C), (B,5,C)"""
        x_time, num, den, log_scale, x_channel = state.unbind(1)  # (B,C) each
        normed = self.norm_time(x)
        mixed, after = self.time_mix(
            normed, self.shift(normed, x_time), WkvState(num, den, log_scale)
        )
        x = x + mixed
        x_time, normed = normed[:, -1], self.norm_channel(x)
        x = x + self.channel_mix(normed, self.shift(normed, x_channel))
        rows = (x_time, *after, normed[:, -1])
        return x, torch.stack([row.to(state.dtype) for row in rows], dim=1)


class RWKV(LanguageModel):
    """The whole network. `wkv` is any form of the operator: only its speed differs.

    `shift` gives each token the one before it, and `parallel` has a pair of both for a
    sequence that no process holds whole.
    """

    def __init__(self, config, wkv=wkv_chunked, shift=shift):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.norm_in = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(
            Block(config, layer, wkv, shift) for layer in range(config.layers)
        )
        self.norm_out = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        nn.init.uniform_(self.embedding.weight, -1e-4, 1e-4)
        orthogonal(self.head, gain=0.5)

    @classmethod
    def load(cls, path, wkv=wkv_chunked, device="cpu"):
        """A published checkpoint as a model to train, in float32; CheckpointError."""
        return cls.of(checkpoint.load(path, only="4"), wkv, device)

    @classmethod
    def of(cls, params, wkv=wkv_chunked, device="cpu"):
        """The model whose weights these are, {our name: float32 array}: no copy."""
        vocabulary, width = params["embedding.weight"].shape
        hidden = len(params["blocks.0.channel_mix.key.weight"])
        layers = sum(name.endswith(".bonus") for name in params)
        with torch.device("meta"):  # no initial values, which would be overwritten
            model = cls(Config(vocabulary, layers, width, hidden), wkv)
        tensors = {name: torch.from_numpy(values) for name, values in params.items()}
        model.load_state_dict(tensors, assign=True)
        return model.to(device)

    def initial_state(self, batch=1):
        """The state before the first token (B,L,5,C): sums of 0, scale exp(-inf)."""
        shape = (batch, self.config.layers, 5, self.config.width)
        state = at_least_float32(self.head.weight).new_zeros(shape)
        state[:, :, 3] = -torch.inf
        return state

    def forward(self, tokens, state=None):
        """All tokens at once: (B,T) integers in [0,V) -> logits (B,T,V) and a state.

        logits[:, t] predict token t + 1. `state` (B,L,5,C) is what an earlier call
        returned, or None before the first token. ValueError where a shape is wrong.
        """
        check_tokens(tokens)
        initial = self.initial_state(len(tokens))
        state = initial if state is None else state
        check_state(state, initial.shape, "(B,L,5,C)")
        x, state = through(self.blocks, self.norm_in(self.embedding(tokens)), state)
        return self.head(self.norm_out(x)), state
