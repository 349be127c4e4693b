"""A contender with random weights, small enough for a test, and tokens for it."""

import pytest
import torch

from rwkv_book.labs.contenders import NAMES, build
from rwkv_book.rwkv4 import model

SIZE = model.Config(256, 2, 16)
CONTEXT = 24
every_contender = pytest.mark.parametrize("name", NAMES)


def contender(name):
    """In float64, with random weights everywhere: zeros would hide what is wrong."""
    torch.manual_seed(0)
    network = build(name, SIZE, CONTEXT).double()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    return network


def some_tokens(batch=2, length=CONTEXT):
    return torch.randint(256, (batch, length), generator=torch.manual_seed(1))
