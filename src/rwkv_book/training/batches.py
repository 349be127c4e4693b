"""What a step reads: windows of the corpus, at places that its number decides."""

import numpy as np
import torch

from rwkv_book.text import END_OF_TEXT


def join(works):
    """The works one after the other, END_OF_TEXT around each: one array of bytes."""
    end = bytes([END_OF_TEXT])
    data = end + b"".join(work + end for work in works.values())
    return np.frombuffer(data, np.uint8).copy()  # as PyTorch wants it: writable


def windows(data, run, step):
    """Inputs and targets of one step, (B,T) each: random places, one token apart."""
    if len(data) <= run.length:
        message = f"a corpus of {len(data)} bytes has no window of {run.length + 1}"
        raise ValueError(f"{message}: lower length")
    generator = np.random.default_rng([run.seed, step])
    starts = generator.integers(0, len(data) - run.length, size=(run.batch, 1))
    window = torch.from_numpy(
        data[starts + np.arange(run.length + 1)]
    ).long()  # (B,T+1)
    return window[:, :-1], window[:, 1:]
