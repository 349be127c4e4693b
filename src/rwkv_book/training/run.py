"""A run: all that decides how a training ends."""

import math
import os
from dataclasses import dataclass

VOCABULARY = 256
VERSIONS = ("4", "5.2", "6", "7")


@dataclass(frozen=True)
class Run:
    """All that decides how a run ends. `length` counts tokens, which are bytes here.

    `corpus` is a name that `corpora.load` knows, or the path of a text of one's own.
    `version` says which RWKV it is; from 5.2 on it has heads of `head_size` channels.
    """

    corpus: str = "shakespeare"
    layers: int = 4
    width: int = 256
    steps: int = 3000
    batch: int = 8
    length: int = 512
    learning_rate: float = 2e-3
    final_learning_rate: float = 1e-4
    warm_up: int = 100
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    bfloat16: bool = False
    version: str = "4"
    head_size: int = 64

    def __post_init__(self):
        object.__setattr__(self, "corpus", os.fsdecode(self.corpus))
        sizes = ("layers", "width", "steps", "batch", "length", "head_size")
        wrong = [
            f"{name} must be above 0"
            for name in (*sizes, "learning_rate", "clip")
            if not 0 < getattr(self, name) < math.inf
        ]
        wrong += [
            f"{name} must not be below 0"
            for name in ("final_learning_rate", "weight_decay", "seed")
            if not 0 <= getattr(self, name) < math.inf
        ]
        wrong += [
            f"{name} must be below 2**63"
            for name in (*sizes, "seed")
            if 2**63 <= getattr(self, name) < math.inf
        ]
        if self.version not in VERSIONS:
            wrong.append(
                f"version must be one of {', '.join(VERSIONS)}, got {self.version}"
            )
        if not 0 <= self.warm_up < self.steps:
            wrong.append(f"warm_up must be from 0 to {self.steps - 1}, one below steps")
        if wrong:
            raise ValueError("; ".join(wrong))
