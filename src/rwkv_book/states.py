"""States as files: a text that was read once, kept, gone on from, and put together.

A state is all that RWKV keeps of a text, so a file with it stands for having read it.
The file holds `state`, (L,5,C) of RWKV-4 and (L,2+N,C) of a later version, and `logits`
(V,), the scores of what comes next; its metadata say how many tokens were read, and the
fingerprint of the weights that read them, because the numbers mean nothing to other
weights. `weights` is here whatever can read: the parameters of `minimal.py`, or a
`model.RWKV`, of any version. Both use the same files.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rwkv_book import checkpoint, folders
from rwkv_book.checkpoint.formats import CheckpointError, printable
from rwkv_book.rwkv4 import minimal

SUMS = slice(1, 4)  # the rows num, den, log_scale of a layer; the others are x_prev
TENSORS = ("state", "logits")  # what a file holds


@dataclass(frozen=True)
class Reading:
    """What is left of a text after its last token: all that is needed to go on.

    `state` and `logits` are as what has read them gives them: (L,R,C) and (V,) from
    `minimal.step`, (1,L,R,C) and (1,V) from a `model.RWKV`, with 5 rows R in a layer of
    RWKV-4, and 2 + N in one of a later version. `tokens` were read.
    """

    state: Any
    logits: Any
    tokens: int
    note: str = ""


class StateError(CheckpointError):
    """A state that these weights can't go on from; it lists all reasons at once."""


def fingerprint(weights):
    """SHA-256 of names, shapes and float32 values: equal for equal weights alone."""
    digest = hashlib.sha256()
    for name, values in sorted(arrays(weights).items()):
        values = np.ascontiguousarray(values, np.float32)
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def save(reading, path, weights):
    """Write one text's reading as .safetensors.

    StateError if it isn't of `weights`, DiskFull where no space is left; then there is
    no file. The numbers of a bfloat16 or float16 model are kept in float32.
    """
    state, logits = as_numpy(reading.state), as_numpy(reading.logits)
    if state.ndim == 4 and len(state) == len(logits) == 1:  # a batch of one text
        state, logits = state[0], logits[0]
    tensors = {"state": state, "logits": logits}
    problems = find_problems(tensors, weights)
    if not isinstance(reading.tokens, (int, np.integer)) or reading.tokens < 0:
        problems.append(f"{reading.tokens!r} tokens can't have been read")
    if problems:
        raise StateError(path, problems, "one text at a time: state[i : i + 1]")
    metadata = {
        "holds": f"a state of RWKV-{checkpoint.version_of(arrays(weights))}",
        "tokens": str(int(reading.tokens)),
        "weights": fingerprint(weights),
        "note": printable(reading.note),
    }
    tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    with folders.whole(path) as part:
        save_file(tensors, part, metadata)


def load(path, weights):
    """The Reading in a file, in the form that suits `weights`; StateError."""
    path = Path(path)
    tensors, others, metadata = read(path)
    problems = find_problems(tensors, weights)
    if others:
        shown = ", ".join(others[:3]) + ", ..." * (len(others) > 3)
        problems.insert(0, f"unexpected tensors ({len(others)}): {shown}")
    tokens, made_by = metadata.get("tokens", ""), metadata.get("weights", "")
    if not re.fullmatch("[0-9]{1,18}", tokens):
        shown = tokens[:18] or "no"
        problems.append(f"its metadata say that {shown} tokens were read")
    if made_by != (ours := fingerprint(weights)):
        by = f"weights {made_by[:8]}" if made_by else "weights that it does not name"
        problems.append(
            f"it was made by {by}, these are {ours[:8]}: read the text with these"
        )
    if problems:
        raise StateError(path, problems)
    state, logits = tensors["state"], tensors["logits"]
    if hasattr(weights, "state_dict"):
        import torch

        state, logits = torch.from_numpy(state)[None], torch.from_numpy(logits)[None]
        logits = logits.to(weights.head.weight.dtype)
    return Reading(state, logits, int(tokens), metadata.get("note", ""))


def merge(earlier, later, steps, weights):
    """The state after two texts that were read apart: both sums, the later x_prev.

    `later` was read in `steps` tokens. Every weight of the earlier text fades by as
    many steps, then the sums are added, on the larger scale. That is exact in layer 0,
    if the later text was read after the token in which the earlier one ends. What a
    deeper layer added up has passed through the layers below, which knew their own text
    alone: there it is an approximation. States as in Reading, or (B,L,5,C). ValueError
    for a later version, in which a token changes what others have written.
    """
    version = checkpoint.version_of(arrays(weights))
    if version != "4":
        raise ValueError(
            f"states of RWKV-4 can be merged, these are of RWKV-{version}: read one "
            "text after the other"
        )
    if steps < 1:
        raise ValueError(f"the later text has at least one token, not {steps}")
    old, new = as_numpy(earlier), as_numpy(later)
    if old.shape != new.shape:
        raise ValueError(f"two states of one shape, not {old.shape} and {new.shape}")
    num, den, log_scale = np.moveaxis(old[..., SUMS, :], -2, 0)  # (...,L,C) each
    faded = num, den, log_scale - steps * decay_rates(weights)
    both = minimal.merge(faded, np.moveaxis(new[..., SUMS, :], -2, 0))
    merged = new.copy()
    merged[..., SUMS, :] = np.stack(both, axis=-2)
    return later.new_tensor(merged) if hasattr(later, "new_tensor") else merged


def decay_rates(weights):
    """Every channel's decay rate, (L,C); a half-life is ln 2 over it, in tokens.

    ValueError for RWKV-6 and 7, in which each token has its own.
    """
    named = arrays(weights)
    version = checkpoint.version_of(named)
    if version in ("6", "7"):
        raise ValueError(f"a decay rate of RWKV-{version} depends on the token")
    layers = sum(name.endswith("log_decay_rate") for name in named)
    each = [named[f"blocks.{n}.time_mix.log_decay_rate"] for n in range(layers)]
    return np.exp(np.stack(each)).reshape(layers, -1)


def arrays(weights):
    """{name: array} of a model's parameters, or of `minimal` ones as they are."""
    named = weights.state_dict() if hasattr(weights, "state_dict") else weights
    return {name: as_numpy(values) for name, values in named.items()}


def as_numpy(values):
    """A tensor's numbers, without its gradient; anything else as an array.

    Those of 16 bits become float32, which holds each of them exactly: NumPy knows no
    bfloat16.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.itemsize == 2 else values).numpy()
    return np.asarray(values)


def read(path):
    """A file's {name: array}, the names of other tensors, its metadata; StateError."""
    try:
        with safe_open(path, "numpy") as file:
            names = sorted(file.keys())
            tensors = {n: file.get_tensor(n) for n in names if n in TENSORS}
            others = [printable(name) for name in names if name not in TENSORS]
            return tensors, others, file.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        problem = f"no .safetensors file that can be read ({error})"
        raise StateError(path, [problem]) from error


def find_problems(tensors, weights):
    """Why these tensors are no reading by these weights, as sentences."""
    named = arrays(weights)
    vocabulary, width = named["embedding.weight"].shape
    layers, rows = rows_of(named)
    wanted = {"state": (layers, rows, width), "logits": (vocabulary,)}
    axes = {
        "state": ("layers", "rows in a layer", "channels"),
        "logits": ("tokens in the vocabulary",),
    }
    known = named["embedding.weight"].dtype
    dtype = known if known == np.float64 else np.dtype(np.float32)
    problems = []
    for name, shape in wanted.items():
        if name not in tensors:
            problems.append(f"there is no tensor {name}")
            continue
        found = tensors[name]
        if found.ndim != len(shape):
            problems.append(f"{name} has shape {found.shape}, not {shape}")
        else:
            problems += [
                f"{name} has {n} {axis}, these weights {m}"
                for n, m, axis in zip(found.shape, shape, axes[name], strict=True)
                if n != m
            ]
        if found.dtype != dtype:
            problems.append(f"{name} is {found.dtype}, these weights need {dtype}")
        problems += find_bad_numbers(name, found, has_scale(named))
    return problems


def rows_of(named):
    """How many layers there are, and how many rows of C numbers each has in a state."""
    bonuses = [values for name, values in named.items() if name.endswith(".bonus")]
    return len(bonuses), 5 if has_scale(named) else 2 + bonuses[0].shape[1]


def has_scale(named):
    """Whether these weights keep sums on a scale of their own, as RWKV-4 does."""
    return named["blocks.0.time_mix.bonus"].ndim == 1


def find_bad_numbers(name, values, scaled):
    """NaN and infinite numbers; a log_scale of -inf is right: nothing was read yet."""
    fine = np.isfinite(values)
    if name == "state" and scaled and values.ndim == 3 and values.shape[1] == 5:
        fine[:, 3] |= values[:, 3] == -np.inf
    wrong = np.count_nonzero(~fine)
    return [f"{name} has NaN or infinite numbers ({wrong})"] if wrong else []
