"""Checkpoints: files of weights under their published names, read by name and checked.

A published RWKV file calls a tensor `blocks.0.att.time_decay` that the book calls
`blocks.0.time_mix.log_decay_rate`. TABLE says which is which; `load` and `save` go
through it, so the order of a file never matters. All that is wrong with a file is said
at once, in one CheckpointError. Reading a .safetensors file needs no PyTorch.
Sources: github.com/BlinkDL/RWKV-LM and github.com/BlinkDL/ChatRWKV, for the names and
for how the versions differ; github.com/huggingface/safetensors for the file format.
"""

import hashlib
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file

from rwkv_book.folders import cache_folder

# Our name, the published one, the published shape: V tokens, C channels, F hidden ones.
# {} stands for one layer: "blocks.0.", "blocks.1.", ...
TABLE = (
    ("embedding.weight", "emb.weight", "VC"),
    ("norm_in.weight", "blocks.0.ln0.weight", "C"),
    ("norm_in.bias", "blocks.0.ln0.bias", "C"),
    ("{}norm_time.weight", "{}ln1.weight", "C"),
    ("{}norm_time.bias", "{}ln1.bias", "C"),
    ("{}time_mix.log_decay_rate", "{}att.time_decay", "C"),
    ("{}time_mix.bonus", "{}att.time_first", "C"),
    ("{}time_mix.mix_key", "{}att.time_mix_k", "11C"),
    ("{}time_mix.mix_value", "{}att.time_mix_v", "11C"),
    ("{}time_mix.mix_receptance", "{}att.time_mix_r", "11C"),
    ("{}time_mix.key.weight", "{}att.key.weight", "CC"),
    ("{}time_mix.value.weight", "{}att.value.weight", "CC"),
    ("{}time_mix.receptance.weight", "{}att.receptance.weight", "CC"),
    ("{}time_mix.output.weight", "{}att.output.weight", "CC"),
    ("{}norm_channel.weight", "{}ln2.weight", "C"),
    ("{}norm_channel.bias", "{}ln2.bias", "C"),
    ("{}channel_mix.mix_key", "{}ffn.time_mix_k", "11C"),
    ("{}channel_mix.mix_receptance", "{}ffn.time_mix_r", "11C"),
    ("{}channel_mix.key.weight", "{}ffn.key.weight", "FC"),
    ("{}channel_mix.receptance.weight", "{}ffn.receptance.weight", "CC"),
    ("{}channel_mix.value.weight", "{}ffn.value.weight", "CF"),
    ("norm_out.weight", "ln_out.weight", "C"),
    ("norm_out.bias", "ln_out.bias", "C"),
    ("head.weight", "head.weight", "VC"),
)

FLOATS = ("float32", "float16", "bfloat16", "float64")

# What `download` fetches: repository, file, SHA-256. The digests pin the content; the
# project codekansas/ml-pretrained compares its downloads with the same ones.
PUBLISHED = {
    "RWKV-4-Pile-169M": (
        "BlinkDL/rwkv-4-pile-169m",
        "RWKV-4-Pile-169M-20220807-8023.pth",
        "713c6f6137a08d3a86ab57df4f09ea03563329beb3bbabc23509d6c57aa0f9e2",
    ),
    "RWKV-4-Pile-430M": (
        "BlinkDL/rwkv-4-pile-430m",
        "RWKV-4-Pile-430M-20220808-8066.pth",
        "261e6b8fef1c7c9e08a4dde31bf5caf8e79c4da38126d77977a4707de82a7f64",
    ),
}


class CheckpointError(ValueError):
    """A checkpoint that can't be used: `problems` and the message list all reasons."""

    def __init__(self, path, problems, advice=""):
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            text = f"{path}: {self.problems[0]}"
        else:
            listed = "".join(f"\n- {problem}" for problem in self.problems)
            text = f"{path}: {len(self.problems)} problems{listed}"
        super().__init__(f"{text}\n{advice}" if advice else text)


class Stored(NamedTuple):
    """One tensor of a file; `read()` gives its values as a new float32 array."""

    dtype: str
    shape: tuple
    read: Callable


@dataclass(frozen=True)
class Report:
    """What a file holds; a size that its tensors don't tell is 0.

    `version` is "4", "5.0", "5.1", "5.2", "6", "7" or "unknown". `deviations` are
    sentences: where the file is not what `load` reads, or not as published files are.
    """

    path: Path
    version: str
    layers: int
    width: int
    vocabulary: int
    hidden: int
    parameters: int
    dtypes: tuple
    file_bytes: int
    metadata: dict
    deviations: tuple

    def __str__(self):
        rows = {
            "version": version_name(self.version),
            "layers": self.layers,
            "width": self.width,
            "hidden channels": self.hidden,
            "vocabulary": self.vocabulary,
            "parameters": f"{self.parameters:,}",
            "stored as": ", ".join(self.dtypes),
            "file size": f"{self.file_bytes:,} bytes",
        }
        pairs = [*rows.items(), *sorted(self.metadata.items())]
        pairs += [("deviations", len(self.deviations) or "none")]
        lines = [f"{name:<16} {value}" for name, value in pairs]
        return "\n".join([str(self.path), *lines, *(f"- {d}" for d in self.deviations)])


def load(path):
    """The weights of an RWKV-4 file, as `minimal` takes them: {our name: array}.

    Arrays are float32; the mixes are (C,), stored as (1,1,C) or as (C,). `path` ends in
    .safetensors, or in .pth or .pt, for which PyTorch is imported; code inside such a
    file is not run. CheckpointError says all that keeps a file from being a whole and
    finite RWKV-4.
    """
    stored = read(path)
    problems = find_problems(stored)
    if problems:
        advice = "Get the file again, or mend it: checkpoint.TABLE says what is in one."
        raise CheckpointError(path, problems, advice)
    size = sizes(stored)
    return {
        name: stored[published].read().reshape(wanted_shape(shape.strip("1"), size))
        for name, published, shape in table_rows(stored)
    }


def inspect(path):
    """A Report on a file of any version; CheckpointError where it holds no tensors."""
    stored = read(path)
    size = sizes(stored)
    return Report(
        path=Path(path),
        version=find_version(stored),
        layers=len(find_layers(stored)),
        width=size.get("C", 0),
        vocabulary=size.get("V", 0),
        hidden=size.get("F", 0),
        parameters=sum(prod(tensor.shape) for tensor in stored.values()),
        dtypes=tuple(sorted({tensor.dtype for tensor in stored.values()})),
        file_bytes=Path(path).stat().st_size,
        metadata=metadata(path),
        deviations=(*find_problems(stored), *find_oddities(stored)),
    )


def save(params, path, dtype="float16", metadata=None):
    """Write params to a file with the published names and shapes, as `load` reads it.

    `params` has our names and NumPy or PyTorch tensors: minimal's params or a model's
    state_dict(). `path` ends in .safetensors, or in .pth or .pt; `dtype` is float32,
    float16 or bfloat16: numbers are rounded to it. `metadata`, text to text, is kept in
    the head of a .safetensors file. CheckpointError, and no file, where a tensor is
    missing or mis-shaped or has a number that `dtype` can't hold. The file appears when
    it is complete, so nothing ever reads half of one.
    """
    path = Path(path)
    if dtype not in ("float32", "float16", "bfloat16"):
        raise ValueError(f"dtype must be float32, float16 or bfloat16, not {dtype!r}")
    check_suffix(path)
    if metadata and path.suffix != ".safetensors":
        raise ValueError(f"{path}: metadata needs a file that ends in .safetensors")
    published = publish(params, path)
    arrays = {key: narrow(values, dtype) for key, values in published.items()}
    problems = [
        f"{key} has numbers that {dtype} can't hold, up to {np.abs(values).max():g}"
        for key, values in published.items()
        if not np.isfinite(widen(arrays[key], dtype)).all()
    ]
    if problems:
        raise CheckpointError(path, [*problems, "save it as float32 or bfloat16"])
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write = write_safetensors if path.suffix == ".safetensors" else write_pth
        write(arrays, part, dtype, metadata)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def metadata(path):
    """The text that `save` put into the head of a .safetensors file; {} elsewhere."""
    if Path(path).suffix != ".safetensors":
        return {}
    read(path)
    with safe_open(path, "numpy") as file:
        return dict(file.metadata() or {})


def shipped(name="shakespeare"):
    """The path of a model that comes with the book; `load` reads it."""
    folder = Path(files("rwkv_book") / "models")
    found = {path.stem: path for path in folder.glob("*.safetensors")}
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        problem = f"no such model comes with the book, which has {there}"
        raise CheckpointError(name, [problem])
    return found[name]


def download(name="RWKV-4-Pile-169M", cache=None):
    """Fetch an official checkpoint once and give its path: the only use of the network.

    The first download asks the hub for the current revision, and notes it in
    source.json beside the file; an interrupted one goes on where it stopped, with that
    revision. Whatever the revision, the hub's own metadata and then the file must have
    the SHA-256 in PUBLISHED. `cache` is the folder to keep it in. CheckpointError
    without a network, and where a digest differs: then nothing is kept.
    """
    if name not in PUBLISHED:
        raise CheckpointError(name, [f"not known; there are {', '.join(PUBLISHED)}"])
    repository, file, digest = PUBLISHED[name]
    folder = Path(cache or cache_folder()) / name
    path, source = folder / file, folder / "source.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fetch(repository, file, digest, folder, source)
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != digest:
        path.unlink()
        source.unlink(missing_ok=True)
        problem = f"SHA-256 is {found}, not {digest}: deleted, download it again"
        raise CheckpointError(path, [problem])
    return path


def fetch(repository, file, digest, folder, source):
    """Let huggingface_hub download `file` into `folder`, with its progress bar."""
    import httpx
    import huggingface_hub

    known = json.loads(source.read_text()) if source.exists() else {}
    try:
        info = huggingface_hub.HfApi().model_info(
            repository, revision=known.get("revision"), files_metadata=True
        )
        offered = {s.rfilename: s.lfs.sha256 for s in info.siblings if s.lfs}.get(file)
        if offered != digest:
            problem = f"the hub offers SHA-256 {offered}, not {digest}: not downloaded"
            raise CheckpointError(f"{repository}/{file}", [problem])
        note = {"repository": repository, "file": file, "revision": info.sha}
        source.write_text(json.dumps(note | {"sha256": digest}, indent=2) + "\n")
        huggingface_hub.hf_hub_download(
            repository, file, revision=info.sha, local_dir=folder
        )
    except (OSError, httpx.HTTPError) as error:
        problem = (
            f"could not be fetched from https://huggingface.co/{repository} ({error}). "
            "Without a network use the model that comes with the book, "
            "checkpoint.load(checkpoint.shipped()), or bring the file from elsewhere "
            "and give its path to checkpoint.load"
        )
        raise CheckpointError(file, [problem]) from error


def read(path):
    """The tensors of any checkpoint, {name in the file: Stored}; CheckpointError."""
    path = Path(path)
    if path.is_dir():
        problem = "this is a folder: name the .safetensors or .pth file in it"
        raise CheckpointError(path, [problem])
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        problem = f"can't be read, {error.strerror}: check the path"
        raise CheckpointError(path, [problem]) from error
    if empty:
        raise CheckpointError(path, ["the file is empty: copy or download it again"])
    check_suffix(path)
    return read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)


def check_suffix(path):
    """A file's last letters say what it is."""
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        problem = f"ends in {path.suffix!r} and should in .safetensors, .pth or .pt"
        raise CheckpointError(path, [problem])


def read_safetensors(path):
    """The tensors of a .safetensors file: safe_open checks it, NumPy maps its bytes."""
    try:
        with safe_open(path, "numpy") as file:
            keys = list(file.keys())
    except (SafetensorError, OSError) as error:
        problem = f"truncated, or not a safetensors file ({error}): get it again"
        raise CheckpointError(path, [problem]) from error
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    names = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    numpy_names = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}

    def stored(entry):
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        offset = 8 + length + entry["data_offsets"][0]

        def read():
            flat = np.fromfile(path, numpy_names[dtype], prod(shape), offset=offset)
            return widen(flat, names[dtype]).reshape(shape)

        return Stored(names.get(dtype, dtype), shape, read)

    return {key: stored(header[key]) for key in keys}


def read_pth(path):
    """The tensors of a PyTorch file, a pickle: read without running any code in it."""
    import torch

    problem = "truncated, not a PyTorch file, or more than tensors (no code was run)"
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        found = re.search(r"nsupported (?:global: )?GLOBAL (\S+)", str(error))
        if found:
            problem = f"wants to run {found[1]} when it is read, and was not let"
        advice = "a checkpoint is tensors alone: get it again, from where you trust"
        raise CheckpointError(path, [f"{problem}; {advice}"]) from error
    if not isinstance(content, dict):
        problem = f"holds one {type(content).__name__}, not tensors with names"
        raise CheckpointError(path, [problem])

    def stored(value):
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            return Stored(f"no dense tensor but {type(value).__name__}", (), None)

        def read():
            return value.detach().to(torch.float32, copy=True).contiguous().numpy()

        dtype = str(value.dtype).removeprefix("torch.")
        return Stored(dtype, tuple(value.shape), read)

    return {str(key): stored(value) for key, value in content.items()}


def publish(params, path):
    """{published name: float32 array of the published shape}, or a CheckpointError."""
    names = {name: published for name, published, _ in table_rows(params)}
    stored = {names[name]: at_hand(params[name]) for name in params if name in names}
    problems = find_problems(stored)
    if others := [name for name in params if name not in names]:
        problems.append(f"unexpected names ({len(others)}): {', '.join(others)}")
    if problems:
        raise CheckpointError(path, problems)
    size = sizes(stored)
    return {
        published: stored[published].read().reshape(wanted_shape(shape, size))
        for _, published, shape in table_rows(stored)
    }


def at_hand(values):
    """A NumPy array or a PyTorch tensor, as if it had been read from a file."""
    dtype = str(values.dtype).removeprefix("torch.")
    if hasattr(values, "detach"):  # PyTorch's, without importing it
        values = values.detach().cpu().float().numpy()
    return Stored(dtype, tuple(values.shape), lambda: widen(values, dtype="float32"))


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
    serialize_file(specs, path, metadata)


def write_pth(arrays, path, dtype, metadata):
    """Named arrays, as `narrow` makes them, to a PyTorch file."""
    import torch

    tensors = {key: torch.from_numpy(values) for key, values in arrays.items()}
    with path.open("wb") as file:
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


def find_version(stored):
    """Which RWKV wrote these names, told as the package `rwkv` tells it."""
    parts = {re.sub(r"^blocks\.\d+\.", "", key): stored[key] for key in stored}
    if "att.k_k" in parts or "att.r_k" in parts:
        return "7"
    if any("time_maa" in part for part in parts):
        return "6"
    if any(part.startswith("att.ln_x.") for part in parts):
        decay = parts["att.time_decay"].shape if "att.time_decay" in parts else ()
        if len(decay) > 1 and decay[1] > 1:
            return "5.2"
        return "5.1" if "att.gate.weight" in parts else "5.0"
    return "4" if any("time_mix" in part for part in parts) else "unknown"


def version_name(version):
    """RWKV-6 (Finch) for "6": versions from 5.2 on are called after birds."""
    birds = {"5.2": " (Eagle)", "6": " (Finch)", "7": " (Goose)"}
    if version == "unknown":
        return version
    return f"RWKV-{version}{birds.get(version, '')}"


def find_layers(stored):
    """The numbers of the layers that have a tensor of their own, in order."""
    numbers = (re.match(r"blocks\.(0|[1-9]\d{0,5})\.(?!ln0)", key) for key in stored)
    return sorted({int(number[1]) for number in numbers if number})


def table_rows(stored):
    """TABLE with the layers at hand put in: (our name, published name, shape)."""
    layers = [f"blocks.{number}." for number in find_layers(stored)]
    for name, published, shape in TABLE:
        for layer in layers if "{}" in name else [""]:
            yield name.format(layer), published.format(layer), shape


def sizes(stored):
    """What V, C and F are, by vote of the tensors: one that differs is then the odd."""
    votes = {}
    for _, published, shape in table_rows(stored):
        found = stored[published].shape if published in stored else ()
        if len(found) == len(shape):
            for letter, size in zip(shape, found, strict=True):
                votes.setdefault(letter, Counter())[size] += 1
    return {letter: count.most_common(1)[0][0] for letter, count in votes.items()}


def wanted_shape(letters, size):
    """(1, 1, 768) for "11C"; a letter that no tensor tells the size of stays one."""
    return tuple(1 if letter == "1" else size.get(letter, letter) for letter in letters)


def find_problems(stored):
    """All that keeps these tensors from being a whole, finite RWKV-4, as sentences."""
    version, rows = find_version(stored), list(table_rows(stored))
    problems = []
    if version not in ("4", "unknown"):
        problems.append(
            f"this is {version_name(version)}: minimal.py and model.py read RWKV-4; "
            "the package rwkv from PyPI runs the later ones"
        )
    elif any(published in stored for _, published, _ in rows):
        problems += find_differences(stored, rows)
    else:
        shown = ", ".join(list(stored)[:3]) or "none at all"
        problems.append(f"no RWKV has such tensors: {shown}")
    for key, tensor in stored.items():
        if tensor.dtype not in FLOATS:
            problems.append(
                f"{key} is {tensor.dtype}, not float16, bfloat16 or float32"
            )
        elif wrong := np.count_nonzero(~np.isfinite(tensor.read())):
            problems.append(f"{key} has NaN or infinite numbers ({wrong})")
    return problems


def find_differences(stored, rows):
    """Missing, unexpected and mis-shaped tensors of an RWKV-4 file, as sentences."""
    size, layers = sizes(stored), find_layers(stored)
    problems = [] if layers else ["there is no layer in it"]
    for before, after in zip([-1, *layers], layers, strict=False):
        if after == before + 2:
            problems.append(f"layer {before + 1} is missing")
        elif after > before + 2:
            problems.append(f"layers {before + 1} to {after - 1} are missing")
    missing = [published for _, published, _ in rows if published not in stored]
    if missing:
        problems.append(f"missing tensors ({len(missing)}): {', '.join(missing)}")
    known = {published for _, published, _ in rows}
    others = [key for key in stored if key not in known]
    if others:
        problems.append(f"unexpected tensors ({len(others)}): {', '.join(others)}")
    if 0 in size.values():
        problems.append("tensors without any number in them")
    for _, published, letters in rows:
        wanted = wanted_shape(letters, size)
        found = stored[published].shape if published in stored else wanted
        if not same_shape(published, found, wanted):
            axes = ",".join(letters)
            problems.append(f"{published} has shape {found}, not ({axes}) = {wanted}")
    return problems


def same_shape(published, found, wanted):
    """Whether two shapes are one; in time_* vectors axes of length 1 don't count."""
    if ".time_" in published:
        return [n for n in found if n != 1] == [n for n in wanted if n != 1]
    return found == wanted


def find_oddities(stored):
    """Where a file that can be read is not like published ones, as sentences."""
    dtypes = {tensor.dtype for tensor in stored.values()}
    oddities = []
    if "float64" in dtypes:
        oddities.append("float64 is rounded to float32 when it is read")
    if len(dtypes) > 1:
        oddities.append(f"numbers of {len(dtypes)} kinds: {', '.join(sorted(dtypes))}")
    if find_version(stored) != "4":
        return oddities
    size = sizes(stored)
    squeezed = [
        published
        for _, published, letters in table_rows(stored)
        if published in stored
        and stored[published].shape != wanted_shape(letters, size)
        and same_shape(published, stored[published].shape, wanted_shape(letters, size))
    ]
    if squeezed:
        oddities.append(f"other axes of length 1 than usual: {', '.join(squeezed)}")
    return oddities
