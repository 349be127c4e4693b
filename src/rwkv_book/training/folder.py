"""The folder of a run: it can be written, and `run.json` in it asks for the same run.

`run.json` holds the fields of the run and the digest of its corpus.
"""

import json
from dataclasses import asdict, fields

from rwkv_book.folders import why_not, write_text
from rwkv_book.training.run import Run

LATER = {"version": "4", "head_size": 64}  # fields that runs of before don't name
KEPT = ("checkpoint.pt", "log.json", "model.safetensors")  # by a run that has begun


def begin(run, folder, digest, rank=0):
    """Write run.json, or check that the one in `folder` asks for the same run.

    Only rank 0 writes. A run that has kept nothing yet gives way to another one.
    ValueError where the folder holds another run, or one of another text; OSError where
    it can't be written.
    """
    path, asked = folder / "run.json", asdict(run) | {"corpus_digest": digest}
    if rank == 0:
        make(folder)
        begun = any((folder / name).exists() for name in KEPT)
        if not path.exists() or not begun:
            write_text(path, json.dumps(asked, indent=2) + "\n")
    if not path.exists():
        raise ValueError(f"no {path}: the folder must be one that all processes see")
    before = LATER | read_run(path)
    names = [f.name for f in fields(Run)]
    changed = [name for name in names if before.get(name) != asked[name]]
    if changed:
        held = ", ".join(f"{name} {before.get(name)}" for name in changed)
        raise ValueError(
            f"{folder} holds a run with {held}: ask for that, or name another"
        )
    if before.get("corpus_digest", digest) != digest:  # older ones have none
        raise ValueError(
            f"the corpus {run.corpus} has changed since the run in {folder} began: "
            "bring the old text back, or name another folder"
        )


def make(folder):
    """The folder of a run, where there is none: one that can be written."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file: name a folder for the run")
    reason = why_not(folder)
    if reason:
        raise PermissionError(
            f"the folder {folder} can't be written ({reason}): name another one"
        )


def read_run(path):
    """What run.json says: {name: value}."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        before, reason = None, str(error)
    else:
        reason = "not the fields of a run"
    if not isinstance(before, dict):
        raise ValueError(
            f"{path} is damaged ({reason}): delete it, and ask for the same run again"
        )
    return before
