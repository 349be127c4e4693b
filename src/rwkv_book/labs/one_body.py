"""One network, six rules: members of the family with all that stands around them alike.

    rule             what fades                      what goes           at which rate
    RWKV-5           each key, always alike          nothing
    Mamba-2          the head, as the token says     nothing
    GLA              each key, as the token says     nothing
    DeltaNet         nothing                         under its key       of the head
    Gated DeltaNet   the head, as the token says     under its key       of the head
    RWKV-7           each key, as the token says     under another key   of each key

A rule is an operator of `family.members`. All have RWKV's skeleton with its token
shift, keys of length 1, a norm for each head and a gate; decays are learned in one way
and begin with the same half-lives, rates begin at a half; and hidden channels make up
for the parameters that a rule needs. What models of these names have besides, such as
convolutions, rotations, value residuals and initial values of their own, is left out:
this compares rules, and a published Mamba-2 or RWKV-7 is another network.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import normalize, silu, softplus

from rwkv_book.family import members
from rwkv_book.family.model import (
    HeadNorm,
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
from rwkv_book.labs.contenders import nearest, parameters
from rwkv_book.rwkv7 import model as rwkv7

HALF_LIVES = 1, 256  # tokens: where decays begin, of the fastest and of the slowest
RULES = ("RWKV-5", "Mamba-2", "GLA", "DeltaNet", "Gated DeltaNet", "RWKV-7")
FADE_BY_KEY = ("RWKV-5", "GLA", "RWKV-7")
TAKE_OUT = ("DeltaNet", "Gated DeltaNet", "RWKV-7")
MATRICES = ("receptance", "key", "value", "gate")


@dataclass(frozen=True)
class Config(TableConfig):
    """A shape, and the rule; hidden channels F are 4 C unless they are given.

    `rank` is that of the matrices by which a token chooses decays and rates. `keeps` is
    what a token leaves of a key at the least: 0.545 in published RWKV-7, 0 here, for no
    other rule has such a bound. ValueError where a size is too small or no rule is
    called so.
    """

    rule: str = "RWKV-7"
    rank: int = 8
    keeps: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.rule not in RULES:
            raise ValueError(f"no rule is called {self.rule!r}: there are {RULES}")

    def usual_hidden(self):
        """Hidden channels F."""
        return 4 * self.width


class ByToken(nn.Module):
    """Numbers that begin as they are told, and that each token may move: a low rank."""

    def __init__(self, config, first):
        super().__init__()
        self.first = nn.Parameter(first)
        self.down, self.up = low_rank(config.width, config.rank, len(first))

    def forward(self, x):
        """(B,T,C) -> (B,T,n)"""
        return self.first + (x @ self.down).tanh() @ self.up


class TimeMix(nn.Module):
    """Where tokens meet: each writes, by the rule, and then asks."""

    def __init__(self, config, layer, wkv):
        super().__init__()
        self.wkv, self.heads, self.rule = wkv, config.heads, config.rule
        self.first_state, self.keeps = None, config.keeps
        self.parts = MATRICES if config.rule == "RWKV-5" else (*MATRICES, "control")
        for part in self.parts:
            shares = nn.Parameter(config.previous(layer, 0.5))
            self.register_parameter(f"shift_{part}", shares)
        add_matrices(self, config.width, *MATRICES, "output")
        self.norm_heads = HeadNorm(config, layer)
        by_key = config.rule in FADE_BY_KEY
        fading = first_fading(config.width if by_key else config.heads)
        match config.rule:
            case "RWKV-5":
                self.fading = nn.Parameter(before_softplus(fading))
                self.bonus = nn.Parameter(torch.ones(config.heads, config.head_size))
            case "Mamba-2":
                self.step = ByToken(config, before_softplus(torch.ones(config.heads)))
                self.log_rate = nn.Parameter(fading.log())
            case "GLA" | "Gated DeltaNet" | "RWKV-7":
                self.fading = ByToken(config, before_softplus(fading))
        if config.rule in TAKE_OUT:
            rates = config.width if config.rule == "RWKV-7" else config.heads
            self.rate = ByToken(config, torch.zeros(rates))
        if config.rule == "RWKV-7":
            self.removal_scale = nn.Parameter(torch.ones(config.width))

    def forward(self, x, x_prev, table, shared):
        """(B,T,C), (B,T,C), (B,N,C) -> (B,T,C), (B,H,N,N); `shared` as it was."""
        mixed = {
            part: look_back(x, x_prev, getattr(self, f"shift_{part}"))
            for part in self.parts
        }
        asked = {
            part: by_head(getattr(self, part)(mixed[part]), self.heads)
            for part in ("receptance", "key", "value")
        }
        gate = silu(self.gate(mixed["gate"]))
        with every_digit(x):
            table = as_tables(table, self.heads)
            answer, table = self.answer(mixed.get("control"), **asked, state=table)
            heard = self.norm_heads(answer).to(x.dtype)
        return self.output(heard * gate), table, shared

    def answer(self, control, receptance, key, value, state):
        """What the rule makes of a text: answers (B,T,H,N) and the table after it.

        `control` (B,T,C) is what decays and rates are chosen by, the others are by
        head.
        """
        how, unit = {"state": state, "form": self.wkv}, normalize(key, dim=-1)
        asked = receptance, unit, value
        if self.rule in TAKE_OUT:
            rate = self.rate(control).sigmoid()
        match self.rule:
            case "RWKV-5":
                decay = -softplus(self.fading).view_as(self.bonus)
                return members.rwkv_5(*asked, decay, self.bonus, **how)
            case "Mamba-2":
                step = softplus(self.step(control))
                return members.mamba_2(*asked, step, self.log_rate, **how)
            case "DeltaNet":
                return members.delta_net(*asked, rate, **how)
        decay = -softplus(self.fading(control))
        if self.keeps:  # 1 - exp(-x) is about x, and stays below 1
            decay = -math.log(self.keeps) * decay.expm1()
        if self.rule == "Gated DeltaNet":
            return members.gated_delta_net(*asked, decay, rate, **how)
        decay = by_head(decay, self.heads)
        if self.rule == "GLA":
            return members.gla(*asked, decay, **how)
        rate = by_head(rate, self.heads)
        removed = normalize(key * self.removal_scale.view_as(key[0, 0]), dim=-1)
        asked = receptance, unit * rate, value
        return members.rwkv_7(*asked, decay, removed, rate, **how)


def first_fading(count):
    """Rates of decay a token whose half-lives are spread evenly on a log scale: (n,)"""
    fastest, slowest = (math.log(2) / tokens for tokens in HALF_LIVES)
    return torch.logspace(math.log10(fastest), math.log10(slowest), count)


def before_softplus(x):
    """The numbers that softplus makes into x."""
    return x.expm1().log()


class ChannelMix(rwkv7.ChannelMix):
    """Where channels meet: as in RWKV-7."""


class Block(TableBlock):
    """Time mixing, then channel mixing."""

    TimeMix, ChannelMix = TimeMix, ChannelMix


class OneBody(TableRWKV):
    """The whole network. `wkv` is any form of `family.equation`."""

    Config, Block = Config, Block
    faster: ClassVar[dict[str, float]] = {}


@cache
def config_of(rule, vocabulary, layers, width, head_size):
    """The Config of a rule with the parameters of RWKV-7's, which has 4 C hidden
    channels, as nearly as hidden channels allow."""
    shape = {"layers": layers, "width": width, "head_size": head_size}

    def count(config):
        with torch.device("meta"):
            return parameters(OneBody(config))

    return nearest(
        count(Config(vocabulary, **shape)),
        count,
        lambda hidden: Config(vocabulary, **shape, hidden=hidden, rule=rule),
    )
