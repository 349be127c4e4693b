"""Checkpoints: files of weights under their published names, read by name and checked.

A published RWKV file calls a tensor `blocks.0.att.time_decay` that the book calls
`blocks.0.time_mix.log_decay_rate`. TABLE says which is which; `load` and `save` go
through it, so the order of a file never matters. All that is wrong with a file is said
at once, in one CheckpointError. Reading a .safetensors file needs no PyTorch. A later
version has a table of its own: TABLES says what is read.

    formats    bytes of a file <-> tensors with names
    kinds      what a file is, by its first bytes
    places     a file, a folder, a model in several files
    spellings  the names that people's files have, made into the published ones
    checks     which version, of which sizes, and all that is wrong
    downloads  official files, fetched once and kept

What the tensors of a version are called is in its own room, as in `rwkv4/names.py`.
"""

import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from rwkv_book import folders
from rwkv_book.checkpoint import checks, formats, places, spellings
from rwkv_book.checkpoint.checks import EMBEDDING, HEAD
from rwkv_book.checkpoint.downloads import PUBLISHED, download
from rwkv_book.checkpoint.formats import FLOATS, CheckpointError, Stored
from rwkv_book.rwkv4 import names as rwkv4
from rwkv_book.rwkv5 import names as rwkv5
from rwkv_book.rwkv6 import names as rwkv6
from rwkv_book.rwkv7 import names as rwkv7

__all__ = [
    "PUBLISHED",
    "TABLE",
    "TABLES",
    "CheckpointError",
    "Report",
    "Stored",
    "download",
    "inspect",
    "load",
    "metadata",
    "read",
    "save",
    "shipped",
    "version_of",
]

TABLE = rwkv4.TABLE
MODELS = Path(files("rwkv_book") / "models")
TABLES = {each.VERSION: each.TABLE for each in (rwkv4, rwkv5, rwkv6, rwkv7)}


@dataclass(frozen=True)
class Report:
    """What a file holds; a size that its tensors don't tell is 0.

    `version` is "4", "5.0", "5.1", "5.2", "6", "7" or "unknown". `loads` says whether
    `load` reads it. `deviations` are sentences: where the file is not what `load`
    reads, or not as published files are.
    """

    path: Path
    version: str
    layers: int
    width: int
    vocabulary: int
    hidden: int
    heads: int
    parameters: int
    dtypes: tuple
    file_bytes: int
    metadata: dict
    deviations: tuple
    loads: bool

    def __str__(self):
        rows = {
            "version": checks.version_name(self.version),
            "layers": self.layers,
            "width": self.width,
            "hidden channels": self.hidden,
            "vocabulary": self.vocabulary,
            "parameters": f"{self.parameters:,}",
            "stored as": ", ".join(self.dtypes),
            "file size": f"{self.file_bytes:,} bytes",
        }
        if self.heads:
            rows["heads"] = f"{self.heads} of {self.width // self.heads} channels"
        pairs = [*rows.items(), *sorted(self.metadata.items())]
        pairs += [("deviations", len(self.deviations) or "none")]
        lines = [f"{name:<16} {value}" for name, value in pairs]
        listed = [f"- {deviation}" for deviation in self.deviations]
        return formats.printable("\n".join([str(self.path), *lines, *listed]))


def load(path, only=None):
    """The weights of an RWKV, as its `minimal` takes them: {our name: array}.

    Which version it is, its tensors say: 4, 5.2, 6 or 7 (`version_of`); who can take
    but one of them asks for it with `only`. Arrays are
    float32; the mixes are (C,), stored as (1,1,C) or as (C,). `path` is a
    .safetensors file, a PyTorch file (for which PyTorch is imported; code inside it is
    not run), a folder with one of them, or the index of several. The names may have
    prefixes, or be our own, those of transformers or, of RWKV-7, those of
    flash-linear-attention; a trainer's dictionary may hold the weights in one entry; a
    head that is not there is the embedding.
    CheckpointError says all that keeps a file from being a whole and finite RWKV.
    """
    stored, _ = published_tensors(places.contents(path).tensors)
    problems = checks.find_problems(stored, TABLES)
    advice = checks.advice_on(problems, stored, TABLES)
    arrays = {}
    for key, values in numbers(stored):
        problems += checks.find_bad_numbers(key, values)
        if not problems:  # of a file that is refused nothing is kept
            arrays[key] = values
    if problems:
        raise CheckpointError(path, problems, advice)
    version = checks.find_version(stored)
    if only not in (None, version):
        problem = (
            f"it is of {checks.version_name(version)}, not {checks.version_name(only)}"
        )
        raise CheckpointError(path, [problem], f"rwkv{version[0]}.model reads it.")
    table = TABLES[version]
    size = checks.sizes(stored, table)
    return {
        name: arrays[published].reshape(checks.wanted_shape(without_ones(shape), size))
        for name, published, shape in checks.rows_of(stored, table)
    }


def without_ones(shape):
    """The axes of a shape that are longer than 1, for they only help to broadcast."""
    return [axis for axis in shape if axis != "1"]


def version_of(params):
    """Which RWKV has tensors of these names of ours: "4", "5.2", "6" or "7"."""

    def known(version):
        return sum(
            name in params for name, *_ in checks.rows_of(params, TABLES[version])
        )

    return max(TABLES, key=known)


def inspect(path):
    """A Report on a model of any version; CheckpointError where it holds no tensors."""
    contents = places.contents(path)
    stored, notes = published_tensors(contents.tensors)
    version = checks.find_version(stored)
    size = checks.sizes(stored, TABLES.get(version, TABLE))
    problems = checks.find_problems(stored, TABLES)
    for key, values in numbers(stored):
        problems += checks.find_bad_numbers(key, values)
    oddities = checks.find_oddities(stored, TABLES)
    return Report(
        path=Path(path),
        version=version,
        layers=len(checks.find_layers(stored)),
        width=size.get("C", 0),
        vocabulary=size.get("V", 0),
        hidden=size.get("F", 0),
        heads=size.get("H", 0),
        parameters=sum(math.prod(tensor.shape) for tensor in contents.tensors.values()),
        dtypes=tuple(sorted({tensor.dtype for tensor in stored.values()})),
        file_bytes=sum(file.stat().st_size for file in places.files_of(path)),
        metadata=contents.metadata,
        deviations=(*problems, *contents.notes, *notes, *oddities),
        loads=not problems,
    )


def published_tensors(tensors):
    """({published name: Stored}, sentences on how they differ from the file's)."""
    stored, notes = spellings.published(tensors, TABLES.values())
    if checks.find_version(stored) == "unknown":
        return tensors, ()
    tied = HEAD not in stored and EMBEDDING in stored
    if tied and checks.find_version(stored) in TABLES:
        stored = stored | {HEAD: stored[EMBEDDING]}
        notes += (f"there is no {HEAD}: {EMBEDDING} is used for it, as if tied",)
    return stored, notes


def numbers(stored):
    """(name, float32 array) of each tensor of floating-point numbers, read once."""
    for key, tensor in stored.items():
        if tensor.dtype in FLOATS:
            yield key, tensor.read()


def read(path):
    """The tensors of any checkpoint, {name in the file: Stored}; CheckpointError."""
    return places.contents(path).tensors


def metadata(path):
    """The text that `save` put into the head of a .safetensors file; {} elsewhere."""
    return places.metadata(path)


def save(params, path, dtype="float16", metadata=None):
    """Write params to a file with the published names and shapes, as `load` reads it.

    `params` has our names and NumPy or PyTorch tensors: minimal's params or a model's
    state_dict(). `path` ends in .safetensors, or in .pth or .pt; `dtype` is float32,
    float16 or bfloat16: numbers are rounded to it. `metadata`, text to text, is kept in
    the head of a .safetensors file. CheckpointError, and no file, where a tensor is
    missing or mis-shaped or has a number that `dtype` can't hold. The file appears when
    it is complete, so nothing ever reads half of one; DiskFull where there is no space.
    """
    path = Path(path)
    if dtype not in ("float32", "float16", "bfloat16"):
        raise ValueError(f"dtype must be float32, float16 or bfloat16, not {dtype!r}")
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", ".pth", ".pt"):
        problem = f"ends in {path.suffix!r} and should in .safetensors, .pth or .pt"
        raise CheckpointError(path, [problem])
    if metadata and suffix != ".safetensors":
        raise ValueError(f"{path}: metadata needs a file that ends in .safetensors")
    published = publish(params, path)
    arrays = {key: formats.narrow(values, dtype) for key, values in published.items()}
    problems = [
        f"{key} has numbers that {dtype} can't hold, up to {np.abs(values).max():g}"
        for key, values in published.items()
        if not np.isfinite(formats.widen(arrays[key], dtype)).all()
    ]
    if problems:
        raise CheckpointError(path, [*problems, "save it as float32 or bfloat16"])
    with folders.whole(path) as part:
        if suffix == ".safetensors":
            formats.write_safetensors(arrays, part, dtype, metadata)
        else:
            formats.write_pytorch(arrays, part, dtype)


def publish(params, path):
    """{published name: float32 array of the published shape}, or a CheckpointError."""
    table = TABLES[version_of(params)]
    names = {name: published for name, published, _ in checks.rows_of(params, table)}
    stored = {names[name]: at_hand(params[name]) for name in params if name in names}
    problems = checks.find_problems(stored, TABLES)
    arrays = dict(numbers(stored))
    for key, values in arrays.items():
        problems += checks.find_bad_numbers(key, values)
    if others := [name for name in params if name not in names]:
        problems.append(f"unexpected names ({len(others)}): {', '.join(others)}")
    if problems:
        raise CheckpointError(path, problems)
    size = checks.sizes(stored, table)
    return {
        published: arrays[published].reshape(checks.wanted_shape(shape, size))
        for _, published, shape in layer_by_layer(checks.rows_of(stored, table))
    }


def layer_by_layer(rows):
    """Rows of a table as official files have them, which some programs depend on."""

    def place(row):
        first, layer, *_ = row[1].split(".")
        if first == "blocks":
            return int(layer)
        return -1 if row[1] == EMBEDDING else math.inf

    return sorted(rows, key=place)


def at_hand(values):
    """A NumPy array or a PyTorch tensor, as if it had been read from a file."""
    dtype = str(values.dtype).removeprefix("torch.")
    if hasattr(values, "detach"):  # PyTorch's, without importing it
        values = values.detach().cpu().float().numpy()
    shape = tuple(values.shape)
    return Stored(dtype, shape, lambda: formats.widen(values, dtype="float32"))


def shipped(name="shakespeare", folder=MODELS):
    """The path of a model that comes with the book, in its `folder` of models.

    One in a folder is called by both names, as in "generations/rwkv6". CheckpointError
    for any other name, with those of the models that write text.
    """
    found = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in folder.rglob("*.safetensors")
    }
    if name not in found:
        writers = [each for each, path in sorted(found.items()) if writes_bytes(path)]
        there = ", ".join(writers) or "none"
        problem = f"no such model comes with the book, which has {there}"
        raise CheckpointError(name, [problem])
    return found[name]


def writes_bytes(path):
    """Whether a file holds an RWKV that reads and writes bytes; no number is read."""
    stored, _ = published_tensors(read(path))
    whole = not checks.find_problems(stored, TABLES)
    return whole and stored[EMBEDDING].shape[0] == 256
