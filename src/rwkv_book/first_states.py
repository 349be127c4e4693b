"""First states: tables that a model begins a text with, in the files people exchange.

State tuning trains nothing but the tables of RWKV-5, 6 or 7 before the first token. A
file of them has one tensor a layer, `blocks.0.att.time_state`, (H, N values, N keys),
usually in bfloat16, and says neither which version it is for nor which weights. Here
all layers are one array `tables` (L,H,N,N), and `weights` are as in `states`. Source of
the format: github.com/BlinkDL/RWKV-LM, RWKV-v5, and JL-er/RWKV-PEFT.
"""

import re

import numpy as np

from rwkv_book import checkpoint, folders
from rwkv_book.checkpoint import formats
from rwkv_book.states import StateError, arrays, as_numpy, fingerprint, has_scale

NAME = "blocks.{}.att.time_state"
OURS = "blocks.{}.time_mix.first_state"


def save(tables, path, weights, dtype="bfloat16", note=""):
    """Write tables (L,H,N,N) that were trained for `weights`, as others read them.

    `path` ends in .pth, or in .safetensors, which also keeps the weights' fingerprint
    and a note. StateError, and no file, where the tables don't suit the weights;
    DiskFull where no space is left.
    """
    tables = np.ascontiguousarray(as_numpy(tables), np.float32)
    if problems := find_problems(tables, weights):
        raise StateError(path, problems)
    suffix = str(path).rpartition(".")[2].lower()
    if suffix not in ("pth", "safetensors"):
        raise StateError(path, ["its name should end in .pth or .safetensors"])
    named = {
        NAME.format(layer): formats.narrow(table, dtype)
        for layer, table in enumerate(tables)
    }
    version = checkpoint.version_of(arrays(weights))
    metadata = {
        "holds": f"a first state of RWKV-{version}",
        "weights": fingerprint(weights),
        "note": note,
    }
    with folders.whole(path) as part:
        if suffix == "safetensors":
            formats.write_safetensors(named, part, dtype, metadata)
        else:
            formats.write_pytorch(named, part, dtype)


def load(path, weights):
    """Tables (L,H,N,N) in float32, out of a file for these weights; StateError.

    Most files don't say for whom they were trained: then shapes alone can be compared,
    and those of another version or another model may be the same.
    """
    stored = checkpoint.read(path)
    found = {
        int(match[1]): tensor
        for name, tensor in stored.items()
        if (match := re.fullmatch(r"blocks\.(\d+)\.att\.time_state", name))
    }
    if not found:
        raise StateError(path, ["there is no blocks.0.att.time_state in it"])
    problems = []
    if len(stored) > len(found):
        problems.append(
            f"it holds {len(stored) - len(found)} other tensors: checkpoint.load reads "
            "a whole model, its first state included"
        )
    if sorted(found) != list(range(len(found))):
        problems.append(f"it has the layers {sorted(found)}: some are missing")
    shapes = {tensor.shape for tensor in found.values()}
    if len(shapes) > 1:
        problems.append(f"its layers have different shapes: {sorted(shapes)}")
    if problems:
        raise StateError(path, problems)
    tables = np.stack([found[layer].read() for layer in sorted(found)])
    problems = find_problems(tables, weights)
    made_for = checkpoint.metadata(path).get("weights")
    if made_for and made_for != (ours := fingerprint(weights)):
        problems.append(
            f"it was trained for weights {made_for[:8]}, these are {ours[:8]}"
        )
    if problems:
        raise StateError(path, problems)
    return tables


def find_problems(tables, weights):
    """Why these tables are no first state for these weights, as sentences."""
    named = arrays(weights)
    if has_scale(named):
        return ["RWKV-4 has no tables to begin with: take RWKV-5, 6 or 7"]
    wanted = shape_for(named)
    problems = []
    if tables.shape != wanted:
        problems.append(
            f"the tables are {tables.shape}, these weights need {wanted}: layers, "
            "heads, values, keys"
        )
    if not np.isfinite(tables).all():
        wrong = np.count_nonzero(~np.isfinite(tables))
        problems.append(f"the tables have NaN or infinite numbers ({wrong})")
    return problems


def shape_for(named):
    """(L,H,N,N) of these parameters."""
    bonuses = [values for name, values in named.items() if name.endswith(".bonus")]
    heads, size = bonuses[0].shape
    return len(bonuses), heads, size, size


def as_state(tables):
    """Tables (L,H,N,N) as a state (L,2+N,C): no token was read yet, so its rows are 0.

    Of a PyTorch model's state it is one text: add a first axis.
    """
    layers, heads, size, _ = tables.shape
    state = tables.reshape(layers, size, heads * size)
    return np.pad(state, ((0, 0), (1, 1), (0, 0)))


def tables_of(state, heads):
    """The tables (L,H,N,N) in a state (L,2+N,C), read or learned."""
    tables = as_numpy(state)[:, 1:-1]
    layers, size, _ = tables.shape
    return tables.reshape(layers, heads, size, size)


def into(params, tables):
    """`minimal` parameters that begin with these tables; the old ones stay as they are.

    checkpoint.save makes a whole model of them.
    """
    learned = {OURS.format(layer): table for layer, table in enumerate(tables)}
    return {**params, **learned}


def keys_by_values(tables):
    """The same tables turned, (..., N keys, N values): what fla takes.

    The package `rwkv` turns them for RWKV-5 and 6, and not for 7.
    """
    return np.swapaxes(tables, -1, -2)
