"""An RWKV-4 in PyTorch that nobody trained."""

import torch

from rwkv_book.rwkv4.model import RWKV, Config


def random_model(layers=3, width=16, vocabulary=23, seed=0):
    """A model whose layers all do something: none of its weights is zero."""
    torch.manual_seed(seed)
    model = RWKV(Config(vocabulary, layers, width)).requires_grad_(False)
    for weights in model.parameters():
        weights += 0.3 * torch.randn_like(weights)
    return model
