"""How fast does a published model generate, and read a prompt, on a CPU?

    python benchmarks/generation.py
    python benchmarks/generation.py --version 7

A checkpoint with random weights in the published format is made for the run, in the
shape of RWKV-4's 169M or of RWKV-7's 0.1B; the package `rwkv` reads the same file. Its
numbers are those of bfloat16, as in published files, and stored in float32, so that
nobody rounds anything. Generating reads every weight but the embedding once for a
token, so its floor is their bytes over the memory's speed: those of float32. A prompt
multiplies matrices: its floor is their operations over the speed of a large product.
All logits are compared before anything is timed.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import measure
import numpy as np
import torch

from rwkv_book import checkpoint
from rwkv_book.compiled.narrow import narrowed
from rwkv_book.compiled.roofline import peak_flops, read_bandwidth
from rwkv_book.family.equation import table_chunked
from rwkv_book.family.fused import table_fused
from rwkv_book.rwkv4 import minimal as minimal4
from rwkv_book.rwkv4 import model as model4
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.rwkv7 import minimal as minimal7
from rwkv_book.rwkv7 import model as model7

sys.path.insert(0, str(measure.ROOT / "tests"))
from helpers.later import random_later  # the checkpoints of the tests
from helpers.published import random_tensors


@dataclass(frozen=True)
class Version:
    """What is measured: a file, and how the book runs it."""

    tensors: Callable
    minimal: ModuleType
    network: type
    chunked: Callable
    fused: Callable


RANKS = {"w": 64, "a": 64, "v": 32, "g": 128}  # those of the 0.1B
VERSIONS = {
    "4": Version(
        partial(random_tensors, layers=12, width=768, hidden=3072, vocabulary=50_277),
        *(minimal4, model4.RWKV, wkv_chunked, wkv_fused),
    ),
    "7": Version(
        partial(
            *(random_later, "7"),
            **{"layers": 12, "width": 768, "vocabulary": 65_536, "ranks": RANKS},
        ),
        *(minimal7, model7.RWKV, table_chunked, table_fused),
    ),
}
PROMPTS = (256, 1024)


def package(path, version):
    """The package `rwkv` in float32 on the CPU, in its fastest setting."""
    seven = "1" if version == "7" else "0"
    os.environ |= {"RWKV_JIT_ON": "1", "RWKV_CUDA_ON": "0", "RWKV_V7_ON": seven}
    from rwkv.model import RWKV as Package

    if version == "7":  # it adds the ending itself
        return Package(str(path).removesuffix(".pth"), strategy="cpu fp32")
    return Package(str(path), strategy="cpu fp32", verbose=False)


def generating(path, version, theirs, tokens):
    """{name: function that reads the tokens one by one and returns the last logits}."""
    minimal, params = VERSIONS[version].minimal, checkpoint.load(path)
    model = VERSIONS[version].network.load(path, VERSIONS[version].fused)
    in_16_bits = narrowed(params)

    def by_minimal(params=params):
        state = minimal.initial_state(params)
        for token in tokens.tolist():
            logits, state = minimal.step(token, state, params)
        return torch.from_numpy(logits)

    def by_model():
        state = None
        for token in tokens:
            logits, state = model.step(token[None], state)
        return logits[0]

    def by_package():
        state = None
        for token in tokens.tolist():
            logits, state = theirs.forward([token], state)
        return logits

    return {
        "rwkv": by_package,
        "minimal": by_minimal,
        "minimal, 16 bits": lambda: by_minimal(in_16_bits),
        "model, fused": by_model,
    }


def reading(path, version, theirs, tokens):
    """{name: function that reads the tokens at once and returns the last logits}."""
    jobs = {"rwkv": lambda: theirs.forward(tokens.tolist(), None)[0]}
    for form in ("chunked", "fused"):
        model = reader(path, version, form)
        jobs[f"model, {form}"] = lambda model=model: model(tokens[None])[0][0, -1]
    # Weights that no longer change are laid out anew for this processor's products.
    with torch._inductor.config.patch(freezing=True):
        model = reader(path, version, "fused").eval().requires_grad_(False)
        compiled = torch.compile(model)
        compiled(tokens[None])
    jobs["model, fused, compiled"] = lambda: compiled(tokens[None])[0][0, -1]
    return jobs


def reader(path, version, form):
    """As the package does it: the head, a third of all weights, for the last token."""
    model = VERSIONS[version].network.load(path, getattr(VERSIONS[version], form))
    model.norm_out.register_forward_hook(lambda module, arguments, x: x[:, -1:])
    return model


def assert_same(jobs):
    first, *others = (job().double() for job in jobs.values())
    for name, other in zip(list(jobs)[1:], others, strict=True):
        error = (other - first).abs().max() / first.abs().max()
        assert error < 1e-4, (name, error)


def rows_for(what, jobs, tokens, rounds, floor):
    """`floor` is in seconds a token."""
    assert_same(jobs)
    seconds = measure.time_in_rounds(jobs, rounds)
    return [
        {
            "by": name,
            "what": what,
            "ms/token": statistics.median(seconds[name]) / len(tokens) * 1e3,
            "tokens/s": len(tokens) / statistics.median(seconds[name]),
            "× rwkv": measure.median_ratio(seconds, name, "rwkv"),
            "× floor": statistics.median(seconds[name]) / len(tokens) / floor,
        }
        for name in jobs
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--version", choices=VERSIONS, default="4")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    speed, rate = read_bandwidth(), peak_flops(size=2048)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        tensors = VERSIONS[options.version].tensors()
        tensors = {name: x.bfloat16().float() for name, x in tensors.items()}
        torch.save(tensors, path)
        vocabulary = len(tensors["emb.weight"])
        count = {name: tensor.numel() for name, tensor in tensors.items()}
        del tensors
        read = 4 * (sum(count.values()) - count["emb.weight"])
        blocks = sum(n for name, n in count.items() if "blocks" in name)
        print(f"memory is read at {speed / 1e9:.1f} GB/s: {read / 1e6:.1f} MB a token")
        print(f"matrices multiply at {rate / 1e9:.0f} GFLOP/s\n")
        generator = np.random.default_rng(0)
        tokens = torch.from_numpy(generator.integers(vocabulary, size=1024))
        some, which = tokens[: options.tokens], options.version
        theirs = package(path, which)
        jobs = generating(path, which, theirs, some)
        rows = rows_for("generating", jobs, some, options.rounds, read / speed)
        del jobs
        for length in PROMPTS:
            floor = 2 * blocks / rate
            prompt = tokens[:length]
            jobs = reading(path, which, theirs, prompt)
            what = f"prompt of {length}"
            rows += rows_for(what, jobs, prompt, options.rounds, floor)
    measure.print_table(rows)
    question = "generation" if which == "4" else f"generation-rwkv-{which}"
    measure.record(question, "cpu", rows, bandwidth=speed, multiplication_rate=rate)
