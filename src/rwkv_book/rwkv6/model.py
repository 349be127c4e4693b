"""RWKV-6 to train: `minimal.py` with a batch axis, a time axis and gradients.

Source: Peng et al. 2024, arXiv 2404.05892; initial values as in the official training
code, RWKV-v5 of github.com/BlinkDL/RWKV-LM.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import silu

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
)
from rwkv_book.layers import at_least_float32
from rwkv_book.rwkv5.model import first_rates
from rwkv_book.rwkv6.minimal import PARTS
from rwkv_book.rwkv6.wkv import wkv as operator

__all__ = ["RWKV", "Config"]


@dataclass(frozen=True)
class Config(TableConfig):
    """A model's shape: vocabulary V, layers L, width C, hidden channels F, head size N.

    F is 3.5 C in steps of 32 unless it is given; the ranks are those of the shifts and
    of the decay.
    """

    shift_rank: int = 32
    decay_rank: int = 64


class TimeMix(nn.Module):
    """Where tokens meet: each says how far to look back and how fast keys fade."""

    def __init__(self, config, layer, wkv):
        super().__init__()
        width, heads, depth = config.width, config.heads, config.depth(layer)
        self.wkv, self.heads, self.first_state = wkv, heads, None
        log_decay_rate, bonus = first_rates(config, depth)
        self.log_decay_rate = nn.Parameter(log_decay_rate)
        self.bonus = nn.Parameter(bonus.view(heads, -1))
        self.shift_first = nn.Parameter(config.previous(layer, 1))
        self.shift_decay = nn.Parameter(config.previous(layer, 1))
        self.shift_key = nn.Parameter(config.previous(layer, 1))
        self.shift_value = nn.Parameter(config.previous(layer, 1) - 0.3 * depth)
        self.shift_receptance = nn.Parameter(config.previous(layer, 0.5))
        self.shift_gate = nn.Parameter(config.previous(layer, 0.5))
        shift_rank, decay_rank = config.shift_rank, config.decay_rank
        self.shift_down = nn.Parameter(torch.zeros(width, len(PARTS) * shift_rank))
        self.shift_up = nn.Parameter(torch.empty(len(PARTS), shift_rank, width))
        self.decay_down = nn.Parameter(torch.zeros(width, decay_rank))
        self.decay_up = nn.Parameter(torch.empty(decay_rank, width))
        for up in (self.shift_up, self.decay_up):
            nn.init.uniform_(up, -0.01, 0.01)
        add_matrices(self, width, "receptance", "key", "value", "gate", "output")
        self.norm_heads = HeadNorm(config, layer)

    def forward(self, x, x_prev, table, shared):
        """(B,T,C), (B,T,C), (B,N,C) -> (B,T,C), (B,H,N,N); `shared` as it was."""
        mixed = self.mixtures(x, x_prev)
        receptance, key, value, gate = (
            getattr(self, part)(mixed[part])
            for part in ("receptance", "key", "value", "gate")
        )
        low = (mixed["decay"] @ self.decay_down).tanh()
        log_decay_rate = self.log_decay_rate + low @ self.decay_up
        with every_digit(x):
            answer, table = operator(
                by_head(log_decay_rate, self.heads),
                at_least_float32(self.bonus),
                *(by_head(part, self.heads) for part in (receptance, key, value)),
                as_tables(table, self.heads),
                self.wkv,
            )
            heard = self.norm_heads(answer).to(x.dtype)
        return self.output(heard * silu(gate)), table, shared

    def mixtures(self, x, x_prev):
        """This token moved towards the previous one, {part: (B,T,C)}, as it says."""
        first = look_back(x, x_prev, self.shift_first)
        low = (first @ self.shift_down).tanh().unflatten(-1, (len(PARTS), -1))
        moves = torch.einsum("btpr,prc->pbtc", low, self.shift_up)
        return {
            part: look_back(x, x_prev, getattr(self, f"shift_{part}") + move)
            for part, move in zip(PARTS, moves, strict=True)
        }


class ChannelMix(SquaredReLU):
    """Where channels meet, as in RWKV-4, its shares named from behind."""

    def __init__(self, config, layer):
        super().__init__(config)
        self.shift_key = nn.Parameter(config.previous(layer, 1))
        self.shift_receptance = nn.Parameter(config.previous(layer, 1))

    def forward(self, x, x_prev):
        """(B,T,C), (B,T,C) -> (B,T,C)"""
        receptance = self.receptance(look_back(x, x_prev, self.shift_receptance))
        return receptance.sigmoid() * self.hidden(look_back(x, x_prev, self.shift_key))


class Block(TableBlock):
    """Time mixing, then channel mixing."""

    TimeMix, ChannelMix = TimeMix, ChannelMix


class RWKV(TableRWKV):
    """The whole network. `wkv` is any form of `family.equation`."""

    version, Config, Block = "6", Config, Block
    faster: ClassVar[dict[str, float]] = {"time_mix.log_decay_rate": 2.0}

    @classmethod
    def ranks_of(cls, params):
        """The ranks of these parameters."""
        name = "blocks.0.time_mix."
        shift, decay = params[name + "shift_up"], params[name + "decay_up"]
        return {"shift_rank": shift.shape[1], "decay_rank": decay.shape[0]}
