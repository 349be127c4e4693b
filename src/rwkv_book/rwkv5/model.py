"""RWKV-5 (5.2) to train: `minimal.py` with a batch axis, a time axis and gradients.

Source: Peng et al. 2024, arXiv 2404.05892; initial values as in the official training
code, RWKV-v5 of github.com/BlinkDL/RWKV-LM.
"""

from typing import ClassVar

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
)
from rwkv_book.layers import at_least_float32, token_shift
from rwkv_book.rwkv5.wkv import wkv as operator

__all__ = ["RWKV", "Config"]


class Config(TableConfig):
    """A model's shape: vocabulary V, layers L, width C, hidden channels F, head size N.

    F is 3.5 C in steps of 32 unless it is given.
    """


class TimeMix(nn.Module):
    """Where tokens meet: each head asks its table, and writes value times key."""

    def __init__(self, config, layer, wkv):
        super().__init__()
        heads, depth = config.heads, config.depth(layer)
        self.wkv, self.heads, self.first_state = wkv, heads, None
        log_decay_rate, bonus = first_rates(config, depth)
        self.log_decay_rate = nn.Parameter(log_decay_rate.view(heads, -1))
        self.bonus = nn.Parameter(bonus.view(heads, -1))
        self.mix_key = nn.Parameter(1 - config.previous(layer, 1))
        self.mix_value = nn.Parameter(1 - config.previous(layer, 1) + 0.3 * depth)
        self.mix_receptance = nn.Parameter(1 - config.previous(layer, 0.5))
        self.mix_gate = nn.Parameter(1 - config.previous(layer, 0.5))
        add_matrices(self, config.width, "receptance", "key", "value", "gate", "output")
        self.norm_heads = HeadNorm(config, layer)

    def forward(self, x, x_prev, table, shared):
        """(B,T,C), (B,T,C), (B,N,C) -> (B,T,C), (B,H,N,N); `shared` as it was."""
        receptance, key, value, gate = (
            getattr(self, part)(token_shift(x, x_prev, getattr(self, f"mix_{part}")))
            for part in ("receptance", "key", "value", "gate")
        )
        with every_digit(x):
            answer, table = operator(
                at_least_float32(self.log_decay_rate),
                at_least_float32(self.bonus),
                *(by_head(part, self.heads) for part in (receptance, key, value)),
                as_tables(table, self.heads),
                self.wkv,
            )
            heard = self.norm_heads(answer).to(x.dtype)
        return self.output(heard * silu(gate)), table, shared


def first_rates(config, depth):
    """log_decay_rate and bonus (C,) before training: slower decays at the beginning.

    From exp(-6) a token to exp(-1), nearer to the first the deeper the layer.
    """
    place = config.by_channel()
    log_decay_rate = -6 + 5 * place ** (0.7 + 1.3 * depth)
    zigzag = 0.1 * ((place * (config.width - 1) + 1).round() % 3 - 1)
    return log_decay_rate, depth * (1 - place) + zigzag


class ChannelMix(SquaredReLU):
    """Where channels meet, as in RWKV-4."""

    def __init__(self, config, layer):
        super().__init__(config)
        self.mix_key = nn.Parameter(1 - config.previous(layer, 1))
        self.mix_receptance = nn.Parameter(1 - config.previous(layer, 1))

    def forward(self, x, x_prev):
        """(B,T,C), (B,T,C) -> (B,T,C)"""
        receptance = self.receptance(token_shift(x, x_prev, self.mix_receptance))
        return receptance.sigmoid() * self.hidden(token_shift(x, x_prev, self.mix_key))


class Block(TableBlock):
    """Time mixing, then channel mixing."""

    TimeMix, ChannelMix = TimeMix, ChannelMix


class RWKV(TableRWKV):
    """The whole network. `wkv` is any form of `family.equation`."""

    version, Config, Block = "5.2", Config, Block
    faster: ClassVar[dict[str, float]] = {"time_mix.log_decay_rate": 2.0}
