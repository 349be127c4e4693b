"""Where the tensors of a model lie: in a file, in a folder, or in several files.

An index is a JSON file, `model.safetensors.index.json` for instance, whose `weight_map`
says in which of the files beside it each tensor lies. Source for it: the documentation
of huggingface.co/docs/safetensors and what the package transformers writes.
"""

import json
from pathlib import Path

from rwkv_book.checkpoint import formats, kinds
from rwkv_book.checkpoint.formats import CheckpointError, Contents

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# What trainers put beside a model.
OTHERS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
SHOWN = 8  # names of a folder's files in an error


def find(path):
    """The file that a path means: itself, or the one model of a folder."""
    path = Path(path)
    try:
        if path.is_file() or not path.exists():
            return path
        if not path.is_dir():
            problem = "a pipe or a device, not a file: write what it gives to a file"
            raise CheckpointError(path, [problem])
        names = sorted(file.name for file in path.iterdir() if file.is_file())
    except OSError as error:
        problem = f"can't be read, {error.strerror}: check the path"
        raise CheckpointError(path, [problem]) from error
    indices = [name for name in names if name.endswith(".index.json")]
    models = [
        name
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(OTHERS)
    ]
    found = indices or models
    if len(found) == 1:
        return path / found[0]
    if found:
        problem = f"this folder holds {listed(found)}: name one of them"
    else:
        problem = (
            "this is a folder without a .safetensors or .pth file in it, but with "
            f"{listed(names) or 'nothing'}: name the file of the weights"
        )
    raise CheckpointError(path, [problem])


def listed(names):
    """The first few of them, as text."""
    shown = [formats.printable(name) for name in names[:SHOWN]]
    return ", ".join(shown + ["..."] * (len(names) > SHOWN))


def files_of(path):
    """All files that hold a model: itself, or what its index names."""
    file = find(path)
    if kinds.kind_of(file) != kinds.INDEX:
        return [file]
    return sorted({file.parent / name for name in weight_map(file).values()})


def contents(path):
    """The Contents of a model, wherever its tensors lie; CheckpointError."""
    file = find(path)
    return read_shards(file) if kinds.kind_of(file) == kinds.INDEX else read(file)


def metadata(path):
    """The text in the head of a .safetensors file; {} elsewhere."""
    file = find(path)
    if kinds.kind_of(file) != kinds.SAFETENSORS:
        return {}
    return formats.read_safetensors(file).metadata


def read(file):
    """The Contents of one file with weights in it."""
    kind = kinds.kind_of(file)
    if kind == kinds.SAFETENSORS:
        return formats.read_safetensors(file)
    if kind == kinds.PYTORCH:
        return formats.read_pytorch(file)
    raise CheckpointError(file, ["an index, where there should be weights"])


def read_shards(index):
    """The tensors that an index names, out of the files that it names."""
    where = weight_map(index)
    names = sorted(set(where.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        problem = (
            f"{len(missing)} of the {len(names)} files that it names are missing, "
            f"{listed(missing)}: put them beside it"
        )
        raise CheckpointError(index, [problem])
    shards = {name: read(index.parent / name).tensors for name in names}
    absent = [key for key, name in where.items() if key not in shards[name]]
    if absent:
        problem = (
            f"{len(absent)} tensors are not where it says, {listed(absent)}: get all "
            "its files again, from one place"
        )
        raise CheckpointError(index, [problem])
    return Contents({key: shards[name][key] for key, name in where.items()}, {})


def weight_map(index):
    """{tensor: name of the file beside the index}; CheckpointError."""
    try:
        where = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        valid = all(Path(name).name == name for name in where.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = (
            "this is JSON, not weights, and no index of weights (there is no "
            "weight_map in it): name the .safetensors or .pth file"
        )
        raise CheckpointError(index, [problem]) from error
    if not valid:
        problem = "names files that do not lie beside it: get it again"
        raise CheckpointError(index, [problem])
    return where
