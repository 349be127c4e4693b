"""`python -m rwkv_book` in a process of its own, and small models for it."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from helpers.published import random_tensors

COMMAND = [sys.executable, "-m", "rwkv_book"]
OFFLINE = os.environ | {"PIP_INDEX_URL": "http://127.0.0.1:9"}
CORPUS = "prose"  # what is at hand without a network
TEXT = Path(__file__).with_name("little_text.txt")  # the first 3 kB of it: quickly read
TINY = [
    *(
        "train",
        "--corpus",
        str(TEXT),
        "--device",
        "cpu",
        "--layers",
        "1",
        "--width",
        "8",
    ),
    *("--steps", "4", "--warm-up", "1", "--batch", "2", "--length", "16"),
]


def run(*arguments, **options):
    """A run of the command in a process of its own, as text."""
    return subprocess.run(
        [*COMMAND, *arguments],
        **{"capture_output": True, "encoding": "utf-8", "timeout": 120} | options,
    )


def chain(following, scale=1.0):
    """A checkpoint of bytes that is sure of what follows each: {byte: the next one}.

    Its blocks add nothing, and a row of its head looks for the byte before.
    """
    tensors = random_tensors(layers=1, width=256, hidden=4, vocabulary=256)
    for name in ("blocks.0.ln0", "ln_out"):
        tensors[f"{name}.weight"] = torch.ones(256)
        tensors[f"{name}.bias"] = torch.zeros(256)
    for name in ("blocks.0.att.output", "blocks.0.ffn.value"):
        tensors[f"{name}.weight"].zero_()
    tensors["emb.weight"] = torch.eye(256)
    tensors["head.weight"].zero_()
    for byte, following_byte in following.items():
        tensors["head.weight"][following_byte, byte] = scale
    return tensors
