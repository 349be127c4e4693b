"""Files of weights as others write them, and what the book says of them."""

import pytest
import safetensors.torch
import torch

from helpers.published import random_tensors
from rwkv_book import checkpoint
from rwkv_book.checkpoint import CheckpointError

SUFFIXES = (".safetensors", ".pth", ".pt")
DTYPES = ("float32", "float16", "bfloat16")


def write(tensors, path):
    """A checkpoint as others would write it."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def problems_of(path):
    """The sentences of the error that loading `path` raises."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert all(problem in message for problem in caught.value.problems)
    return caught.value.problems


def problem_of(path):
    """The one sentence that keeps `path` from being loaded, and from being looked at.

    Where `inspect` has a report all the same, it says that the file doesn't load.
    """
    (problem,) = problems_of(path)
    try:
        report = checkpoint.inspect(path)
    except CheckpointError as error:
        assert error.problems == (problem,)
    else:
        assert not report.loads and report.deviations[0] == problem
    return problem


def problems_after(folder, changes=(), remove=(), suffix=".safetensors"):
    """The same for a whole checkpoint with some tensors changed or removed."""
    tensors = random_tensors() | dict(changes)
    for name in remove:
        del tensors[name]
    return problems_of(write(tensors, folder / f"model{suffix}"))


def later_version(version, layers=2, width=128, vocabulary=11):
    """The names and shapes of a published RWKV-5, 6 or 7, filled with ones."""
    heads, shapes = width // 64, {}
    for layer in range(layers):
        block = f"blocks.{layer}."
        norms = ["ln1", "ln2", "att.ln_x", *(["ln0"] if layer == 0 else [])]
        for norm in norms:
            shapes |= {f"{block}{norm}.{part}": (width,) for part in ("weight", "bias")}
        for matrix in ("receptance", "key", "value", "output"):
            shapes[f"{block}att.{matrix}.weight"] = (width, width)
        shapes[f"{block}ffn.key.weight"] = (4 * width, width)
        shapes[f"{block}ffn.value.weight"] = (width, 4 * width)
        att, vector = f"{block}att.", (1, 1, width)
        if version[0] == "5":
            shapes |= {f"{att}time_mix_{x}": vector for x in "kvr"}
            shapes |= {f"{block}ffn.time_mix_{x}": vector for x in "kr"}
            shapes[f"{block}ffn.receptance.weight"] = (width, width)
            decay = (heads, 64) if version == "5.2" else (heads,)
            bonus = "time_first" if version == "5.0" else "time_faaaa"
            shapes |= {f"{att}time_decay": decay, f"{att}{bonus}": decay}
            if version != "5.0":
                shapes[f"{att}time_mix_g"] = vector
                shapes[f"{att}gate.weight"] = (width, width)
        if version == "6":
            shapes |= {f"{att}time_maa_{x}": vector for x in "xwkvrg"}
            shapes |= {f"{att}time_maa_w1": (width, 160), f"{att}time_decay": vector}
            shapes |= {f"{att}time_maa_w2": (5, 32, width)}
            shapes |= {f"{att}time_decay_w1": (width, 64)}
            shapes |= {f"{att}time_decay_w2": (64, width)}
            shapes |= {
                f"{att}time_faaaa": (heads, 64),
                f"{att}gate.weight": (width,) * 2,
            }
            shapes |= {f"{block}ffn.time_maa_{x}": vector for x in "kr"}
            shapes[f"{block}ffn.receptance.weight"] = (width, width)
        if version == "7":
            shapes |= {f"{att}x_{x}": vector for x in "rwkvag"}
            for letter in "wag" if layer == 0 else "wagv":
                shapes |= {
                    f"{att}{letter}1": (width, 32),
                    f"{att}{letter}2": (32, width),
                }
                if letter != "g":
                    shapes[f"{att}{letter}0"] = vector
            shapes |= {
                f"{att}k_k": vector,
                f"{att}k_a": vector,
                f"{att}r_k": (heads, 64),
            }
            shapes[f"{block}ffn.x_k"] = vector
    shapes |= {"ln_out.weight": (width,), "ln_out.bias": (width,)}
    shapes |= {name: (vocabulary, width) for name in ("emb.weight", "head.weight")}
    return {name: torch.ones(shape) for name, shape in shapes.items()}
