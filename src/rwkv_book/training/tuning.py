"""Teach a trained model another manner: which numbers are trained, and which are not.

    first_state   the tables that it begins with, and no weight
    low_rank      beside each matrix a product of two thin ones (LoRA), and no weight
    whole         every weight

Each takes an RWKV-5, 6 or 7 as it was loaded, says which of its parameters `fit` will
move, and changes nothing that it computes yet. A model is prepared once.
Sources: Hu et al. 2021, arXiv 2106.09685, for low ranks; for first states the official
training code, github.com/BlinkDL/RWKV-LM, `--train_type states`.
"""

import torch
from torch import nn

from rwkv_book.family import model as family

MATRICES = (
    *(f"time_mix.{part}" for part in ("receptance", "key", "value", "output")),
    *(f"channel_mix.{part}" for part in ("key", "value")),
)


def first_state(model):
    """Only the tables before the first token, (H,N,N) a layer, which begin at zero."""
    model.requires_grad_(False)
    config = model.config
    shape = config.heads, config.head_size, config.head_size
    for block in model.blocks:
        block.time_mix.first_state = nn.Parameter(torch.zeros(shape))
    return model


class LowRank(nn.Module):
    """A frozen matrix and, added to what it says, a product of two thin ones."""

    def __init__(self, matrix, rank):
        super().__init__()
        self.matrix = matrix.requires_grad_(False)
        out, width = matrix.weight.shape
        self.down, self.up = family.low_rank(width, rank, out, scale=1.0)

    def forward(self, x):
        """(...,in) -> (...,out)"""
        return self.matrix(x) + x @ self.down @ self.up


def low_rank(model, rank):
    """Only two factors of `rank` beside each matrix of time and channel mixing."""
    model.requires_grad_(False)
    for block in model.blocks:
        for name in MATRICES:
            room, part = name.split(".")
            mixing = getattr(block, room)
            setattr(mixing, part, LowRank(getattr(mixing, part), rank))
    return model


def whole(model):
    """Every weight."""
    return model.requires_grad_(True)


def trained_numbers(model):
    """How many numbers `fit` moves: what a file of the change has to hold."""
    return sum(weights.numel() for weights in moved(model).values())


def moved(model):
    """{name: parameter} of what `fit` moves."""
    named = model.named_parameters()
    return {name: weights for name, weights in named if weights.requires_grad}
