"""Where the tensors of a model lie: in a file, in a folder, or in several files.

An index is a JSON file, `model.safetensors.index.json` for instance, whose `weight_map`
says in which of the files beside it each tensor lies. Source for it: the documentation
of huggingface.co/docs/safetensors and what the package transformers writes.
"""

import json
import re
from pathlib import Path

from rwkv_book.checkpoint import formats, kinds
from rwkv_book.checkpoint.formats import CheckpointError, Contents

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# What trainers put beside a model.
OTHERS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
# What transformers writes of one model: both formats, and model-00001-of-00003.bin.
TWICE = (
    ("model.safetensors", "pytorch_model.bin"),
    ("model.safetensors.index.json", "pytorch_model.bin.index.json"),
)
PART = re.compile(
    r"(?P<stem>.+)-(?P<number>\d{4,})-of-(?P<count>\d{4,})(?P<suffix>\.\w+)"
)
ADDRESS = re.compile(r"https?:/")
SHOWN = 8  # names of a folder's files in an error


def find(path):
    """The file that a path means: itself, or the one model of a folder.

    Of a model that lies there in both formats of transformers it is the .safetensors.
    """
    path = Path(path)
    try:
        if path.is_file():
            check_whole(path, [path.name])
        if ADDRESS.match(str(path)):
            problem = "an address, not a path: download the file, and name that"
            raise CheckpointError(path, [problem])
        if path.is_file() or not path.exists():
            return path
        if not path.is_dir():
            problem = "a pipe or a device, not a file: write what it gives to a file"
            raise CheckpointError(path, [problem])
        names = sorted(file.name for file in path.iterdir() if file.is_file())
        found = models_among(names)
        check_whole(path, found)
        if len(found) == 1 or tuple(found) in TWICE:
            return path / found[0]
        raise CheckpointError(path, [what_else(path, names, found)])
    except OSError as error:
        problem = f"can't be read, {error.strerror}: check the path"
        raise CheckpointError(path, [problem]) from error


def models_among(names):
    """The indices among a folder's files or, where there is none, the models."""
    return [name for name in names if name.endswith(".index.json")] or [
        name
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(OTHERS)
    ]


def check_whole(path, names):
    """CheckpointError where these are but some of the files that make up a model."""
    parts = [part for part in map(PART.match, names) if part and int(part["count"]) > 1]
    if not parts or len(parts) < len(names):
        return
    one = parts[0]
    which = ", ".join(str(int(part["number"])) for part in parts[:SHOWN])
    problem = (
        f"part {which} of a model in {int(one['count'])} files: put all of them and "
        f"their index, {one['stem']}{one['suffix']}.index.json, into one folder, and "
        "name that"
    )
    raise CheckpointError(path, [problem])


def what_else(path, names, found):
    """What a folder is that doesn't hold one model, and what to do."""
    if found:
        return f"this folder holds {listed(found)}: name one of them"
    if any(name.endswith(".distcp") for name in names):
        return (
            "this is a checkpoint of several processes: make one file of it with "
            "torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
        )
    inside = sorted(each.name for each in path.iterdir() if holds_a_model(each))
    if inside:
        return f"the models are in its folders {listed(inside)}: name one of them"
    return (
        "this is a folder without a .safetensors or .pth file in it, but with "
        f"{listed(names) or 'nothing'}: name the file of the weights"
    )


def holds_a_model(folder):
    """Whether this is a folder that can be looked into, with a model in it."""
    try:
        return bool(models_among([file.name for file in folder.iterdir()]))
    except OSError:
        return False


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
    found = read_shards(file) if kinds.kind_of(file) == kinds.INDEX else read(file)
    return found._replace(notes=(*found.notes, *left_out(Path(path), file)))


def left_out(path, file):
    """A sentence on the second format of a model, where a folder holds both."""
    other = dict(TWICE).get(file.name)
    if path.is_dir() and other and (path / other).exists():
        yield f"{file.name} is read, and {other} beside it is left"


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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = (
            "this is JSON, not weights, and no index of weights (there is no "
            "weight_map in it): name the .safetensors or .pth file"
        )
        raise CheckpointError(index, [problem]) from error
    if not valid:
        problem = "names files that do not lie beside it: get it again"
        raise CheckpointError(index, [problem])
    return where
