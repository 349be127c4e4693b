"""How fast does a published model generate, and read a prompt, on a CPU?

    python benchmarks/generation.py

A checkpoint with random weights in the published format and the shape of the 169M model
is made for the run; the package `rwkv` reads the same file. Generating reads every
weight but the embedding once for a token, so its floor is their bytes over the memory's
speed. A prompt multiplies matrices: its floor is their operations over the speed of a
large product. All logits are compared before anything is timed.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
import torch

from rwkv_book import checkpoint
from rwkv_book.compiled.roofline import peak_flops, read_bandwidth
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.model import RWKV
from rwkv_book.rwkv4.wkv import wkv_chunked

sys.path.insert(0, str(measure.ROOT / "tests"))
from helpers.published import random_tensors  # the checkpoints of the tests

SHAPE = {"layers": 12, "width": 768, "hidden": 3072, "vocabulary": 50_277}
PROMPTS = (256, 1024)


def package(path):
    """The package `rwkv` in float32 on the CPU, in its fastest setting."""
    os.environ |= {"RWKV_JIT_ON": "1", "RWKV_CUDA_ON": "0"}
    from rwkv.model import RWKV as Package

    return Package(str(path), strategy="cpu fp32", verbose=False)


def generating(path, tokens):
    """{name: function that reads the tokens one by one and returns the last logits}."""
    params, model, theirs = (
        checkpoint.load(path),
        RWKV.load(path, wkv_fused),
        package(path),
    )

    def by_minimal():
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

    return {"rwkv": by_package, "minimal": by_minimal, "model, fused": by_model}


def reading(path, tokens):
    """{name: function that reads the tokens at once and returns the last logits}."""
    theirs = package(path)
    jobs = {"rwkv": lambda: theirs.forward(tokens.tolist(), None)[0]}
    for name, wkv in (("model, chunked", wkv_chunked), ("model, fused", wkv_fused)):
        model = reader(path, wkv)
        jobs[name] = lambda model=model: model(tokens[None])[0][0, -1]
    # Weights that no longer change are laid out anew for this processor's products.
    with torch._inductor.config.patch(freezing=True):
        compiled = torch.compile(reader(path, wkv_fused).eval().requires_grad_(False))
        compiled(tokens[None])
    jobs["model, fused, compiled"] = lambda: compiled(tokens[None])[0][0, -1]
    return jobs


def reader(path, wkv):
    """As the package does it: the head, a third of all weights, for the last token."""
    model = RWKV.load(path, wkv)
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
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    speed, rate = read_bandwidth(), peak_flops(size=2048)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        tensors = random_tensors(**SHAPE)
        torch.save(tensors, path)
        count = {name: tensor.numel() for name, tensor in tensors.items()}
        del tensors
        read = 4 * (sum(count.values()) - count["emb.weight"])
        blocks = sum(n for name, n in count.items() if "blocks" in name)
        print(f"memory is read at {speed / 1e9:.1f} GB/s: {read / 1e6:.1f} MB a token")
        print(f"matrices multiply at {rate / 1e9:.0f} GFLOP/s\n")
        generator = np.random.default_rng(0)
        tokens = torch.from_numpy(generator.integers(SHAPE["vocabulary"], size=1024))
        some = tokens[: options.tokens]
        rows = rows_for(
            "generating", generating(path, some), some, options.rounds, read / speed
        )
        for length in PROMPTS:
            jobs = reading(path, tokens[:length])
            floor = 2 * blocks / rate
            rows += rows_for(
                f"prompt of {length}", jobs, tokens[:length], options.rounds, floor
            )
    measure.print_table(rows)
    measure.record("generation", "cpu", rows, bandwidth=speed, multiplication_rate=rate)
