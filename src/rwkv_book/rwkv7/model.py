"""RWKV-7 to train: `minimal.py` with a batch axis, a time axis and gradients.

Source: Peng et al. 2025, arXiv 2503.14456; initial values as in the official training
code, RWKV-v7/train_temp of github.com/BlinkDL/RWKV-LM.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import normalize

from rwkv_book.family.model import (
    HeadNorm,
    SquaredReLU,
    TableBlock,
    TableConfig,
    TableRWKV,
    add_matrices,
    as_tables,
    by_head,
    every_digit,
    look_back,
    low_rank,
)
from rwkv_book.rwkv7.wkv import chunked
from rwkv_book.rwkv7.wkv import wkv as operator

__all__ = ["RWKV", "Config"]

RANKS = {"decay": 2.5, "rate": 2.5, "value": 1.7, "gate": 5.0}  # times sqrt(C)


@dataclass(frozen=True)
class Config(TableConfig):
    """A model's shape: vocabulary V, layers L, width C, hidden channels F, head size N.

    F is 4 C unless it is given, and the ranks of decay, in-context rate, value residual
    and gate are, unless they are given, those that the official code has for a width.
    """

    decay_rank: int = 0
    rate_rank: int = 0
    value_rank: int = 0
    gate_rank: int = 0

    def __post_init__(self):
        super().__post_init__()
        for part, factor in RANKS.items():
            if not getattr(self, f"{part}_rank"):
                rank = max(32, round(factor * self.width**0.5 / 32) * 32)
                object.__setattr__(self, f"{part}_rank", rank)

    def usual_hidden(self):
        """Hidden channels F of a published model of this width."""
        return 4 * self.width


class TimeMix(nn.Module):
    """Where tokens meet: each head corrects its table, then asks it."""

    def __init__(self, config, layer, wkv):
        super().__init__()
        width, heads = config.width, config.heads
        self.wkv, self.heads, self.first_state = wkv, heads, None
        for part, power in POWERS.items():
            self.register_parameter(
                f"shift_{part}", nn.Parameter(config.previous(layer, power))
            )
        for part, first in first_biases(config, config.depth(layer)).items():
            if part == "value" and layer == 0:
                continue  # its value is what the others have a residual of
            down, up = low_rank(width, getattr(config, f"{part}_rank"), width)
            self.register_parameter(f"{part}_bias", nn.Parameter(first))
            self.register_parameter(f"{part}_down", down)
            self.register_parameter(f"{part}_up", up)
        self.gate_down, self.gate_up = low_rank(width, config.gate_rank, width)
        linear = config.by_channel() - 0.5
        self.removal_scale = nn.Parameter(0.71 - 0.1 * linear)
        self.rate_in_key = nn.Parameter(torch.full((width,), 1.02))
        self.bonus = nn.Parameter(torch.full((heads, config.head_size), -0.04))
        add_matrices(self, width, "receptance", "key", "value", "output")
        self.norm_heads = HeadNorm(config, layer)

    def forward(self, x, x_prev, table, first_value):
        """(B,T,C), (B,T,C), (B,N,C) -> (B,T,C), (B,H,N,N), the first layer's value.

        `first_value` (B,T,C) is None in the first layer.
        """
        mixed = {
            part: look_back(x, x_prev, getattr(self, f"shift_{part}"))
            for part in POWERS
        }
        receptance, key, value = (
            getattr(self, part)(mixed[part]) for part in ("receptance", "key", "value")
        )
        decay_logit = self.low_rank("decay", mixed)
        rate = self.low_rank("rate", mixed).sigmoid()
        gate = (mixed["gate"] @ self.gate_down).sigmoid() @ self.gate_up
        if first_value is None:
            first_value = value
        else:
            share = self.low_rank("value", mixed).sigmoid()
            value = torch.lerp(value, first_value, share.to(value.dtype))
        removed = key * self.removal_scale
        key = key * (1 + (rate - 1) * self.rate_in_key)
        with every_digit(x):
            parts = (decay_logit, receptance, key, value, removed, rate)
            parts = [by_head(part, self.heads) for part in parts]
            decay_logit, receptance, key, value, removed, rate = parts
            removed = normalize(removed, dim=-1, eps=1e-12)
            answer, table = operator(
                *(decay_logit, receptance, key, value, removed, rate),
                as_tables(table, self.heads),
                self.wkv,
            )
            itself = (receptance * key * self.bonus).sum(-1, keepdim=True) * value
            heard = self.norm_heads(answer) + itself.flatten(2)
        return self.output(heard.to(x.dtype) * gate), table, first_value

    def low_rank(self, part, mixed):
        """A learned bias and what this token adds through few numbers: (B,T,C)."""
        low = mixed[part] @ getattr(self, f"{part}_down")
        low = low.tanh() if part == "decay" else low
        return getattr(self, f"{part}_bias") + low @ getattr(self, f"{part}_up")


# How fast the share of the previous token falls from channel to channel.
POWERS = {
    "receptance": 0.2,
    "decay": 0.9,
    "key": 0.7,
    "value": 0.7,
    "rate": 0.9,
    "gate": 0.2,
}


def first_biases(config, depth):
    """Biases before training, {part: (C,)}: decays of all kinds in each head."""
    place = config.by_channel()
    linear = place - 0.5
    inside = torch.linspace(-1, 1, config.head_size) if config.head_size > 1 else 0
    zigzag = (inside * abs(inside) * torch.ones(config.heads, 1)).flatten()
    decay = -5.5 + 6 * place ** (1 + depth**0.3) + 2.5 * zigzag
    return {
        "decay": decay,
        "rate": -0.19 + 0.3 * zigzag + 0.4 * linear,
        "value": 0.73 - 0.4 * linear,
    }


class ChannelMix(SquaredReLU):
    """Where channels meet: squared ReLUs, let through as they are."""

    def __init__(self, config, layer):
        super().__init__(config, gated=False)
        share = torch.arange(config.width) / config.width
        self.shift_key = nn.Parameter(1 - share ** ((1 - layer / config.layers) ** 4))

    def forward(self, x, x_prev):
        """(B,T,C), (B,T,C) -> (B,T,C)"""
        return self.hidden(look_back(x, x_prev, self.shift_key))


class Block(TableBlock):
    """Time mixing, then channel mixing; the first layer's value goes to all others."""

    TimeMix, ChannelMix = TimeMix, ChannelMix


class RWKV(TableRWKV):
    """The whole network. `wkv` is any form of `family.equation`."""

    version, Config, Block = "7", Config, Block
    faster: ClassVar[dict[str, float]] = {"time_mix.decay_bias": 2.0}
    usual_wkv = staticmethod(chunked)

    @classmethod
    def ranks_of(cls, params):
        """The ranks of these parameters; one layer has no value residual."""
        name = "blocks.{}.time_mix.{}_down"
        layers = {part: 1 if part == "value" else 0 for part in RANKS}
        return {
            f"{part}_rank": params[name.format(layer, part)].shape[1]
            for part, layer in layers.items()
            if name.format(layer, part) in params
        }
