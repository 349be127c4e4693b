"""Checkpoints of RWKV-5, 6 and 7, named and shaped as the official training code does.

Written apart from the tables in src, so that a slip in either shows. The tensors of a
layer come in the order of training, in which the package `rwkv` expects a 5.2. Whoever
reads a text with them has ours, `read`, and theirs, `run_package`.
"""

import importlib.util
import os
from functools import cache
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import torch

MINIMAL = {
    version: import_module(f"rwkv_book.rwkv{version[0]}.minimal")
    for version in ("5.2", "6", "7")
}
CLOSE = {"rtol": 0, "atol": 2e-5}  # the logits have a deviation of about 1
RANKS = {"shift": 12, "w": 10, "a": 14, "v": 6, "g": 18}


def later_shapes(version, layers=2, width=128, vocabulary=11, size=64, ranks=RANKS):
    """{published name: shape}; heads of `size` channels."""
    heads, shapes = width // size, {"emb.weight": (vocabulary, width)}
    square, vector, head = (width, width), (1, 1, width), (heads, size)
    hidden = 4 * width
    for layer in range(layers):
        block, att = f"blocks.{layer}.", f"blocks.{layer}.att."
        for norm in ["ln1", "ln2", *(["ln0"] if layer == 0 else [])]:
            shapes |= {f"{block}{norm}.{part}": (width,) for part in ("weight", "bias")}
        if version[0] == "5":
            shapes |= {f"{att}time_mix_{x}": vector for x in "kvr"}
            decay = head if version == "5.2" else (heads,)
            bonus = "time_first" if version == "5.0" else "time_faaaa"
            if version != "5.0":
                shapes[f"{att}time_mix_g"] = vector
            shapes |= {f"{att}time_decay": decay, f"{att}{bonus}": decay}
        if version == "6":
            rank, decay_rank = ranks["shift"], ranks["w"]
            shapes |= {f"{att}time_maa_{x}": vector for x in "xwkvrg"}
            shapes[f"{att}time_maa_w1"] = (width, 5 * rank)
            shapes[f"{att}time_maa_w2"] = (5, rank, width)
            shapes[f"{att}time_decay"] = vector
            shapes[f"{att}time_decay_w1"] = (width, decay_rank)
            shapes[f"{att}time_decay_w2"] = (decay_rank, width)
            shapes[f"{att}time_faaaa"] = head
        if version == "7":
            shapes |= {f"{att}x_{x}": vector for x in "rwkvag"}
            shapes |= {f"{att}k_k": vector, f"{att}k_a": vector, f"{att}r_k": head}
            for letter in "wag" if layer == 0 else "wagv":
                rank = ranks[letter]
                shapes[f"{att}{letter}1"] = (width, rank)
                shapes[f"{att}{letter}2"] = (rank, width)
                if letter != "g":
                    shapes[f"{att}{letter}0"] = vector
        gated = ["gate"] if version in ("5.1", "5.2", "6") else []
        for matrix in ("receptance", "key", "value", "output", *gated):
            shapes[f"{att}{matrix}.weight"] = square
        shapes |= {f"{att}ln_x.{part}": (width,) for part in ("weight", "bias")}
        mixes = {"5": ["time_mix_k", "time_mix_r"], "6": ["time_maa_k", "time_maa_r"]}
        shapes |= {f"{block}ffn.{x}": vector for x in mixes.get(version[0], ["x_k"])}
        shapes[f"{block}ffn.key.weight"] = (hidden, width)
        if version != "7":
            shapes[f"{block}ffn.receptance.weight"] = square
        shapes[f"{block}ffn.value.weight"] = (width, hidden)
    shapes |= {"ln_out.weight": (width,), "ln_out.bias": (width,)}
    return shapes | {"head.weight": (vocabulary, width)}


def later_version(version, **sizes):
    """A checkpoint filled with ones, {published name: float32 tensor}."""
    shapes = later_shapes(version, **sizes)
    return {name: torch.ones(shape) for name, shape in shapes.items()}


def random_later(version, seed=0, **sizes):
    """A checkpoint with no zero in it whose logits have a deviation of about 1."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in later_shapes(version, **sizes).items():
        noise = torch.randn(shape, generator=generator)
        last = name.split(".")[-1]
        if name.endswith("bias"):
            found[name] = 0.3 * noise
        elif ".ln" in name or "ln_" in name:
            found[name] = 1 + 0.3 * noise
        elif last in ("time_decay", "w0"):
            found[name] = -1 + 2 * noise
        elif last.startswith(("time_mix", "x_")) or last in MOVES:
            found[name] = torch.rand(shape, generator=generator)
        elif last in ("k_k", "k_a", "a0", "v0", "time_faaaa", "r_k"):
            found[name] = 0.5 + 0.5 * noise
        elif name == "emb.weight":
            found[name] = noise
        else:  # matrices: the published ones are (out, in), the low-rank ones (in, out)
            fan_in = shape[-1] if last == "weight" else shape[-2]
            found[name] = noise * fan_in**-0.5
    return found


MOVES = {f"time_maa_{letter}" for letter in "xwkvrg"}


@cache
def package(version):
    """The module `rwkv.model` for a version: 7 is chosen when it is imported."""
    seven = "1" if version == "7" else "0"
    os.environ |= {"RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0", "RWKV_V7_ON": seven}
    source = importlib.util.find_spec("rwkv").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location(f"rwkv_{seven}", f"{source}/model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # It collects garbage for every model, among all that the tests before have left.
    module.gc = SimpleNamespace(collect=lambda: None)
    del os.environ["RWKV_V7_ON"]
    return module


def open_package(path, version, strategy="cpu fp32"):
    """The model that the package `rwkv` makes of a .pth file."""
    if version == "7":
        return package(version).RWKV(str(path).removesuffix(".pth"), strategy)
    return package(version).RWKV(str(path), strategy, verbose=False)


def run_package(path, version, tokens, state=None, one_by_one=False):
    """(logits (T,V) as NumPy, state) of the package `rwkv` for a .pth file, in fp32."""
    model = open_package(path, version)
    tokens, rows = [int(token) for token in tokens], []
    with torch.no_grad():
        if one_by_one:
            for token in tokens:
                logits, state = model.forward([token], state)
                rows.append(logits.reshape(1, -1))
        else:
            logits, state = model.forward(tokens, state, full_output=True)
            rows.append(logits.reshape(len(tokens), -1))
    return torch.cat(rows).float().numpy(), state


def tokens(count, seed=0):
    return np.random.default_rng(seed).integers(0, 11, count)


def written(tensors, folder):
    """A .pth file as the package reads it."""
    torch.save(tensors, folder / "model.pth")
    return folder / "model.pth"


def read(version, params, some, state=None):
    """All logits of a text (T,V), and the state after it."""
    minimal, rows = MINIMAL[version], []
    state = minimal.initial_state(params) if state is None else state
    for token in some:
        logits, state = minimal.step(token, state, params)
        rows.append(logits)
    return np.array(rows), state
