"""Bytes of a file <-> tensors with names: .safetensors, and PyTorch's pickles.

Reading a .safetensors file needs no PyTorch. A pickle is read without running any code
in it. Nothing here knows what the tensors are for.
Source: github.com/huggingface/safetensors for its format.
"""

import json
import re
import warnings
from argparse import Namespace
from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file

from rwkv_book.out_of_memory import ran_out

FLOATS = ("float32", "float16", "bfloat16", "float64")
NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
AS_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}

# Where trainers put the weights among their other entries.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "weights", "params")
HARMLESS = [Namespace]  # what many trainers keep beside the weights: names and values
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # all but \n
LAYER = re.compile(r"(?:^|\.)(?:blocks|layers)\.\d+\.")


class CheckpointError(ValueError):
    """A checkpoint that can't be used: `problems` and the message list all reasons."""

    def __init__(self, path, problems, advice=""):
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            text = f"{path}: {self.problems[0]}"
        else:
            listed = "".join(f"\n- {problem}" for problem in self.problems)
            text = f"{path}: {len(self.problems)} problems{listed}"
        super().__init__(printable(f"{text}\n{advice}" if advice else text))


class Stored(NamedTuple):
    """One tensor of a file; `read()` gives its values as a new float32 array."""

    dtype: str
    shape: tuple
    read: Callable


class Contents(NamedTuple):
    """All of a file: {name in the file: Stored}, its text, and what is to be said."""

    tensors: dict
    metadata: dict
    notes: tuple = ()


def storable(text):
    """Text that any file can hold: of a name that is not UTF-8 too."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def printable(text):
    """The same for a terminal, which control characters could make say anything."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], storable(text))


def read_safetensors(path):
    """The Contents of a .safetensors file; tensors are read when they are asked for."""
    keys, header, start = safetensors_header(path)

    def stored(entry):
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        offset = start + entry["data_offsets"][0]

        def read():
            flat = np.fromfile(path, AS_NUMPY[dtype], prod(shape), offset=offset)
            return widen(flat, NAMES[dtype]).reshape(shape)

        return Stored(NAMES.get(dtype, dtype), shape, read)

    tensors = {key: stored(header[key]) for key in keys}
    return Contents(tensors, dict(header.get("__metadata__") or {}))


def safetensors_header(path):
    """(names in order, {name: entry}, where the numbers begin): checked by its library.

    An entry has dtype, shape and data_offsets; "__metadata__" is text to text.
    """
    try:
        with safe_open(path, "numpy") as file:
            keys = list(file.keys())
    except (SafetensorError, OSError) as error:
        if ran_out(error):
            raise
        problem = f"truncated, or not a safetensors file ({error}): get it again"
        raise CheckpointError(path, [problem]) from error
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return keys, json.loads(file.read(length)), 8 + length


def read_pytorch(path):
    """The Contents of a PyTorch file, a pickle: read without running any code in it."""
    import torch
    from torch.serialization import safe_globals

    problem = "truncated, not a PyTorch file, or more than tensors (no code was run)"
    advice = "a checkpoint is tensors alone: get it again, from a source you trust"
    try:
        with warnings.catch_warnings(action="ignore"), safe_globals(HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        if ran_out(error):
            raise
        found = re.search(r"nsupported (?:global: )?GLOBAL (\S+)", str(error))
        if found:
            problem = f"wants to run {found[1]} when it is read, and is refused"
            advice += ", or save its weights alone, torch.save(model.state_dict(), ...)"
        raise CheckpointError(path, [f"{problem}; {advice}"]) from error
    if not isinstance(content, dict):
        problem = (
            f"holds one {type(content).__name__}, not tensors with names: save the "
            "weights alone, torch.save(model.state_dict(), ...)"
        )
        raise CheckpointError(path, [problem])
    entry, weights = weights_in(content, path)
    notes = [f"the weights are in its entry {entry}; the others are left"] * bool(entry)
    tensors = {str(key): stored_tensor(value) for key, value in weights.items()}
    return Contents(tensors, {}, tuple(notes))


def weights_in(content, path):
    """Where the layers are: ("", content), or a trainer's entry ("model", weights)."""
    found = dict(models_in(content))
    if not found:
        return "", content
    known = [entry for entry in found if entry.split(".")[0] in WRAPPERS]
    chosen = known if len(known) == 1 else list(found)
    if len(chosen) > 1:
        problem = (
            f"holds {len(found)} models, in its entries {', '.join(found)}: save one "
            "of them alone, with torch.save"
        )
        raise CheckpointError(path, [problem])
    return chosen[0], found[chosen[0]]


def models_in(content, entry=""):
    """Each dictionary with the tensors of layers, this one or in it: (entry, it)."""
    if any(LAYER.search(str(k)) and hasattr(v, "layout") for k, v in content.items()):
        yield entry, content
        return
    for key, value in content.items():
        if isinstance(value, dict):
            yield from models_in(value, f"{entry}.{key}" if entry else str(key))


def stored_tensor(value):
    """A PyTorch tensor that lies in memory; anything else says what it is."""
    import torch

    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        return Stored(f"no dense tensor but {type(value).__name__}", (), None)
    if value.is_meta:
        return Stored("a tensor without numbers", tuple(value.shape), None)

    def read():
        return value.detach().to(torch.float32, copy=True).contiguous().numpy()

    return Stored(str(value.dtype).removeprefix("torch."), tuple(value.shape), read)


def write_safetensors(arrays, path, dtype, metadata):
    """Named arrays, as `narrow` makes them, to a .safetensors file."""
    specs = {
        key: TensorSpec(
            dtype=dtype,
            shape=values.shape,
            data_ptr=values.ctypes.data,
            data_len=values.nbytes,
        )
        for key, values in arrays.items()
    }
    text = {storable(key): storable(value) for key, value in (metadata or {}).items()}
    serialize_file(specs, path, text or None)


def write_pytorch(arrays, path, dtype):
    """Named arrays, as `narrow` makes them, to a PyTorch file."""
    import torch

    tensors = {key: torch.from_numpy(values) for key, values in arrays.items()}
    with open(path, "wb") as file:
        as_dtype = getattr(torch, dtype)
        torch.save({key: t.view(as_dtype) for key, t in tensors.items()}, file)


def widen(values, dtype):
    """A new float32 array; a bfloat16 is the upper half of a float32's bits."""
    if dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def narrow(values, dtype):
    """Round float32 to `dtype`, to the even neighbour in a tie; bfloat16 as uint16."""
    if dtype == "bfloat16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    with np.errstate(over="ignore"):
        return values.astype(dtype)
