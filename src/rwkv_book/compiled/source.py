"""The kernels of `fused` as a text: to read part by part, to change, to try.

Within `compiled_from(text)`, `wkv_fused` on a CPU runs another text than `wkv.cu`.
`attempt(text)` does it in a process of its own, since a kernel that writes where it
should not takes its process with it.
"""

import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache as remembered
from functools import partial
from itertools import product
from pathlib import Path
from unittest.mock import patch

import torch

from rwkv_book.compiled import cache, cpu
from rwkv_book.rwkv4 import fused
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.wkv import WkvState

BEGINNING = r"(DEVICE [^(]*\b{name}\(|KERNEL\({name},|struct {name} )"
SCALES, CHUNKS = (1, 300), (1, 3)  # what `attempt` tries
PATIENCE = 120  # seconds for a text to be compiled and to compute


def source():
    """The text of wkv.cu."""
    return cache.SOURCE.read_text("utf-8")


def part(name):
    """The function, kernel or struct `name` of wkv.cu, with the comment above it.

    ValueError when there is not exactly one.
    """
    lines = source().splitlines()
    pattern = re.compile(BEGINNING.format(name=re.escape(name)))
    found = [number for number, line in enumerate(lines) if pattern.match(line)]
    if len(found) != 1:
        raise ValueError(f"wkv.cu has {len(found)} parts called {name!r}, not one")
    begin = end = found[0]
    while lines[begin - 1].startswith("//"):
        begin -= 1
    if not lines[end].endswith(("}", "};")):
        while not lines[end].startswith("}"):
            end += 1
    return "\n".join(lines[begin : end + 1])


def replaced(old, new, text=None):
    """wkv.cu, or `text`, with one place changed; ValueError if it is not one."""
    text = source() if text is None else text
    if text.count(old) != 1:
        raise ValueError(f"{old!r} is in the text {text.count(old)} times, not once")
    return text.replace(old, new)


@contextmanager
def compiled_from(text):
    """Let wkv_fused on a CPU run kernels that are compiled from `text`.

    They are kept nowhere. Calling it raises RuntimeError when `text` does not compile.
    """
    tile = re.search(r"^constexpr int TILE = (\d+);", text, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "wkv.cu")
        path.write_text(text, "utf-8")
        with (
            patch.object(cache, "SOURCE", path),
            patch.object(cpu, "SOURCE", path),
            patch.object(cpu, "library", remembered(cpu.library.__wrapped__)),
            patch.object(fused, "TILE", int(tile[1]) if tile else fused.TILE),
            patch.dict(os.environ, {"XDG_CACHE_HOME": folder}),
        ):
            yield


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


def attempt(text):
    """{(scale, chunks): outputs} of wkv_fused compiled from `text`, in another process.

    RuntimeError with what the compiler says, or with how the process ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder, "text.cu"), Path(folder, "result.pt")
        given.write_text(text, "utf-8")
        command = [sys.executable, "-m", __name__, str(given), str(result)]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it did not end within {PATIENCE} seconds") from None
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
    found = {}
    with compiled_from(Path(text).read_text("utf-8")):
        for scale, chunks in product(SCALES, CHUNKS):
            form = partial(wkv_fused, chunks=chunks)
            found[scale, chunks] = outputs(form, scale)
    torch.save(found, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
