"""Works in bytes, some of them held out, and the error where there are none."""

import hashlib
from dataclasses import dataclass


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


def split(name, works, held_out):
    """A Corpus that holds out the works of these names."""
    training = {work: text for work, text in works.items() if work not in held_out}
    return Corpus(name, training, {work: works[work] for work in held_out})
