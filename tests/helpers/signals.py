"""A signal that comes at a certain moment of a training, from inside it."""

import os

import torch

from rwkv_book.rwkv4.wkv import wkv_chunked


def signalling(number, step, layers=2, training=True):
    """The operator, which sends this process a signal when it computes a step.

    Steps count from 0. Without `training` it comes in the first evaluation after it.
    """
    calls = 0

    def wkv(*arguments):
        nonlocal calls
        learns = torch.is_grad_enabled()
        calls += learns
        now = calls == layers * step + 1 if learns else calls > layers * step
        if now and learns == training:
            calls += layers * 10**6  # once is enough
            os.kill(os.getpid(), number)
        return wkv_chunked(*arguments)

    return wkv
