"""Kernels on trial: what a text computes, in a process of its own.

A kernel that writes where it should not takes its process with it.
"""

import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from itertools import product
from pathlib import Path

import torch

from rwkv_book.rwkv4 import kernels
from rwkv_book.rwkv4.fused import from_source
from rwkv_book.rwkv4.wkv import WkvState

SCALES, CHUNKS = (1, 300), (1, 3)  # what `attempt` tries
PATIENCE = 120  # seconds for a text to be compiled and to compute


def example(scale, dtype=torch.float32):
    """decay_rate, bonus, key, value and a state to try kernels on; keys ~ `scale`.

    Two sequences of 70 tokens with 5 channels: no multiple of a tile, nor of a vector.
    """
    random = torch.Generator().manual_seed(0)
    decay_rate, bonus, num = (torch.rand(5, generator=random) for _ in range(3))
    key, value = torch.randn(2, 2, 70, 5, generator=random)
    log_scale = scale * torch.randn(2, 5, generator=random)
    state = torch.stack([num.expand(2, 5), torch.ones(2, 5), log_scale])
    tensors = (decay_rate, bonus, scale * key, value, state)
    return [x.to(dtype, copy=True).requires_grad_() for x in tensors]


def outputs(form, scale, dtype=torch.float32):
    """What a form makes of `example`: averages, state and all gradients, by name.

    The state after it is given by its average, which is the same on any scale.
    """
    decay_rate, bonus, key, value, state = tensors = example(scale, dtype)
    out, after = form(decay_rate, bonus, key, value, WkvState(*state))
    loss = (out * torch.sin(torch.arange(out.numel())).view_as(out)).sum()
    loss = loss + after.average().square().sum()
    gradients = torch.autograd.grad(loss, tensors)
    names = ("decay_rate", "bonus", "key", "value", "state")
    found = {"out": out, "after": after.average()}
    found |= {f"grad_{name}": g for name, g in zip(names, gradients, strict=True)}
    return {name: tensor.detach().double() for name, tensor in found.items()}


def one_step(text):
    """The rows num, den, log_scale and age after one token: what a merge returns."""
    chunks, keep = 1, False
    _, after, _ = kernels.forward(*one_merge(), chunks, keep, kernels.name_of(text))
    return after[0, :, 0].double()


def one_merge():
    """decay_rate, bonus, key, value of one token and one channel, and a state.

    No two of their numbers are alike, so that a wrong one is known by its result.
    """
    numbers = {"decay_rate": 0.3, "bonus": 0.5, "key": 0.7, "value": 1.3}
    decay_rate, bonus, key, value = (torch.tensor([x]) for x in numbers.values())
    state = torch.tensor([2.1, 1.7, 0.4, 0.0]).view(1, 4, 1)
    return decay_rate, bonus, key.view(1, 1, 1), value.view(1, 1, 1), state


def attempt(text, patience=PATIENCE):
    """{(scale, chunks): outputs} of wkv_fused compiled from `text`, in another process.

    Beside them, under "one step", what `one_step` finds.

    RuntimeError with what the compiler says, or with how the process ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder, "text.cu"), Path(folder, "result.pt")
        given.write_text(text, "utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(given), str(result)],
                env=os.environ | {"TMPDIR": folder},  # if it crashes, nothing is left
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it did not end within {patience} seconds") from None
        if done.returncode < 0:
            raise RuntimeError("it read or wrote where it should not, and was stopped")
        if done.returncode:
            complaint = done.stderr.decode(errors="replace")
            raise RuntimeError(first_complaint(complaint))
        return torch.load(result, weights_only=True)


def first_complaint(text):
    """The first error of a compiler, or else the last line."""
    errors = re.findall(r"\d+:\d+: error: (.*)", text)
    return errors[0] if errors else text.strip().splitlines()[-1]


def main(text, result):
    """The other process of `attempt`."""
    form, found = from_source(Path(text).read_text("utf-8")), {}
    for scale, chunks in product(SCALES, CHUNKS):
        found[scale, chunks] = outputs(partial(form, chunks=chunks), scale)
    found["one step"] = one_step(Path(text).read_text("utf-8"))
    torch.save(found, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
