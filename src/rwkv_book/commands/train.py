"""Train a byte-level RWKV-4, 5.2, 6 or 7.

A folder keeps the run: run.json, log.json and checkpoint.pt, from which the same
command goes on after an interruption, and at the end model.safetensors, in the layout
of published files.
"""

import os
import re
import shutil
from dataclasses import fields
from pathlib import Path

import torch

from rwkv_book import checkpoint, parallel, training
from rwkv_book.text import corpora

FAILURES = (checkpoint.CheckpointError, corpora.CorpusError)
SMALLER = "lower --batch, --length or --width"

SEVERAL = """
Several processes share each batch when torchrun starts them; the result is the same:

    torchrun --nproc-per-node 2 -m rwkv_book train --corpus prose --steps 200

A run may go on with another number of them, with --shard, --split-text or without.
Machines that share a folder join with torchrun's --nnodes and --rdzv-endpoint. With its
option --max-restarts 3 a run goes on by itself when a process was lost.
"""

RUN_HELP = {
    "corpus": "what to read: shakespeare (5 MB, downloaded once), prose (comes with "
    "the book), or the path of a text file or of a folder of texts",
    "layers": "blocks on top of each other",
    "width": "channels of each block",
    "steps": "updates of the weights",
    "batch": "pieces of text in a step",
    "length": "bytes in a piece of text",
    "learning_rate": "highest learning rate, after the warm-up",
    "final_learning_rate": "learning rate of the last step",
    "warm_up": "steps over which the learning rate rises",
    "weight_decay": "pull of the matrices towards 0",
    "clip": "longest gradient that is let through",
    "seed": "another seed gives other first weights and another order of the text",
    "version": "which RWKV: 4, 5.2, 6 or 7",
    "head_size": "channels of a head, from version 5.2 on",
    "bfloat16": "multiply matrices in bfloat16: faster where the processor knows it",
}


def add_options(parser):
    """Every field of training.Run is an option."""
    parser.epilog = SEVERAL
    for field in fields(training.Run):
        option = f"--{field.name.replace('_', '-')}"
        text = RUN_HELP[field.name]
        if field.type is bool:
            parser.add_argument(option, action="store_true", help=text)
        else:
            parser.add_argument(
                option,
                type=field.type,
                default=field.default,
                metavar={int: "N", float: "X", str: "NAME"}[field.type],
                help=f"{text} (default: {field.default})",
            )
    parser.add_argument(
        "--folder",
        metavar="PATH",
        help="where to keep the run (default: runs/ and the name of the corpus)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto is cuda where there is one (default: auto)",
    )
    parser.add_argument(
        "--shard",
        action="store_true",
        help="of several processes, each keeps only its part of the weights",
    )
    parser.add_argument(
        "--split-text",
        action="store_true",
        help="of several processes, each reads its part of every piece of text, "
        "instead of some of the pieces",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the operator: faster, needs a C++ compiler and a first minute",
    )


def run(chosen):
    """Carry out a run, write its model, say how well it predicts what it never read."""
    asked = training.Run(
        **{f.name: getattr(chosen, f.name) for f in fields(training.Run)}
    )
    if chosen.folder == "":
        raise ValueError("--folder has no name behind it: name one, or . for this one")
    folder = Path(chosen.folder or folder_of(asked.corpus))
    device = device_of(chosen.device)
    compilers = (os.environ.get("CXX", "c++"), "g++", "clang++")
    if chosen.compile and device == "cpu" and not any(map(shutil.which, compilers)):
        raise ValueError("no C++ compiler was found: leave --compile out")
    wkv = training.fast_wkv(asked.version) if chosen.compile else None
    path = folder / "model.safetensors"
    with parallel.started(device, chosen.shard, chosen.split_text) as ranks:
        model, _ = training.train(asked, folder, wkv, device, ranks=ranks)
        loss = training.export(model, asked, path, chosen.typed, ranks)
    if ranks.rank == 0:
        size = path.stat().st_size
        print(f"{path}: {size:,} bytes, held-out loss {loss:.4f} nats per byte")


def folder_of(corpus):
    """Where a run is kept: runs/my-notes for ../texts/my notes.txt."""
    name = re.sub(r"[^\w.-]+", "-", Path(corpus).stem).strip("-.")
    return Path("runs") / (name or "text")


def device_of(name):
    """cpu or cuda for auto; ValueError for a cuda that isn't there."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("no CUDA device was found: use --device cpu")
    return ("cuda" if there else "cpu") if name == "auto" else name
