"""Activation checkpointing: keep the inputs of the blocks, and compute the rest again.

PyTorch's own is `torch.utils.checkpoint.checkpoint`; this one is short enough to read.
Source: Chen et al. 2016, arXiv 1604.06174.
"""

import torch
from torch import nn


class Recompute(torch.autograd.Function):
    """block(x, state), of which only x and the state are kept for the way back."""

    @staticmethod
    def forward(ctx, block, x, state):
        ctx.block = block
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, state)
        return block(x, state)  # without a graph: nothing else is kept

    @staticmethod
    def backward(ctx, *gradients):
        inputs = [kept.detach().requires_grad_() for kept in ctx.saved_tensors]
        with torch.enable_grad():
            outputs = ctx.block(*inputs)  # once more, now with a graph
        pairs = zip(outputs, gradients, strict=True)
        asked = [(out, gradient) for out, gradient in pairs if gradient is not None]
        torch.autograd.backward(*zip(*asked, strict=True))  # fills the weights' .grad
        return None, *(kept.grad for kept in inputs)


class Recomputed(nn.Module):
    """A block of `model.RWKV` that is computed twice, and kept nowhere."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x, state):
        """(B,T,C), (B,5,C) -> (B,T,C), (B,5,C)"""
        return Recompute.apply(self.block, x, state)
