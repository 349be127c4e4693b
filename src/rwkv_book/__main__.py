"""Train a small RWKV-4 on a text, let it write, look into a file of weights.

`doctor` says whether this machine can run the book. For instance, without a network and
in some minutes:

    python -m rwkv_book train --corpus pydoc --steps 200
    python -m rwkv_book generate --model runs/pydoc/model.safetensors
    python -m rwkv_book inspect runs/pydoc/model.safetensors
"""

import argparse
import math
import os
import shlex
import shutil
import sys
from dataclasses import fields
from pathlib import Path

from rwkv_book import doctor

PROGRAM = "python -m rwkv_book"
try:
    import numpy as np

    from rwkv_book import checkpoint
    from rwkv_book.rwkv4 import minimal
    from rwkv_book.text import END_OF_TEXT, corpora, tokenizers
except ImportError as error:  # nothing works; the doctor says what to do
    print(f"{PROGRAM}: {error}", file=sys.stderr)
    sys.exit(doctor.main(as_json="--json" in sys.argv))

WHOLE = "a whole number, 0 or more"

SEVERAL = """
Several processes share each batch when torchrun starts them; the result is the same:

    torchrun --nproc-per-node 2 -m rwkv_book train --corpus pydoc --steps 200

A run may go on with another number of them, with --shard, --split-text or without.
Machines that share a folder join with torchrun's --nnodes and --rdzv-endpoint. With its
option --max-restarts 3 a run goes on by itself when a process was lost.
"""

RUN_HELP = {
    "corpus": "what to read: shakespeare (5 MB, downloaded once) or pydoc (no network)",
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
    "bfloat16": "multiply matrices in bfloat16: faster where the processor knows it",
}


def main(arguments=None):
    """Run one command; 0 if it went well, 1 if it failed, 2 for a bad argument."""
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = parse(arguments)
    failures = (
        checkpoint.CheckpointError,
        corpora.CorpusError,
        tokenizers.TokenizerError,
        FloatingPointError,
        OSError,
    )
    try:
        command = shlex.join(["python", "-m", "rwkv_book", *arguments])
        return chosen.run(chosen, command) or 0
    except KeyboardInterrupt:
        print(f"\n{PROGRAM} {chosen.command}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except failures as error:
        print(f"{PROGRAM} {chosen.command}: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"{PROGRAM} {chosen.command}: {error}", file=sys.stderr)
        return 2


def parse(arguments):
    """The options of one command, and in `run` the function that carries it out."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        epilog=f"'{PROGRAM} COMMAND --help' lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (add_train, add_generate, add_inspect, add_doctor):
        add(commands, asked_for=arguments[:1] == [add.__name__.removeprefix("add_")])
    return parser.parse_args(arguments)


def add_train(commands, asked_for):
    """`train`: every field of training.Run is an option."""
    summary = "train a model on a corpus; run it again to go on after an interruption"
    description = (
        "Train a byte-level RWKV-4. A folder keeps the run: run.json, log.json and "
        "checkpoint.pt, from which the same command goes on after an interruption, "
        "and at the end model.safetensors, in the layout of published RWKV-4 files."
    )
    parser = commands.add_parser(
        "train",
        help=summary,
        description=description,
        epilog=SEVERAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=train)
    if not asked_for:  # the fields of Run come with PyTorch, which takes seconds
        return
    from rwkv_book.training import Run

    for field in fields(Run):
        option = f"--{field.name.replace('_', '-')}"
        text = RUN_HELP[field.name]
        if field.type is bool:
            parser.add_argument(option, action="store_true", help=text)
        else:
            choices = ("shakespeare", "pydoc") if field.name == "corpus" else None
            parser.add_argument(
                option,
                type=field.type,
                default=field.default,
                choices=choices,
                metavar={int: "N", float: "X", str: "NAME"}[field.type],
                help=f"{text} (default: {field.default})",
            )
    parser.add_argument(
        "--folder",
        type=Path,
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


def train(chosen, command):
    """Carry out a run, write its model, say how well it predicts what it never read."""
    import torch

    from rwkv_book import parallel, training
    from rwkv_book.rwkv4.wkv import wkv_chunked

    run = training.Run(
        **{f.name: getattr(chosen, f.name) for f in fields(training.Run)}
    )
    folder = chosen.folder or Path("runs") / run.corpus
    device = chosen.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device was found: use --device cpu")
    compilers = (os.environ.get("CXX", "c++"), "g++", "clang++")
    if chosen.compile and device == "cpu" and not any(map(shutil.which, compilers)):
        raise ValueError("no C++ compiler was found: leave --compile out")
    wkv = training.fast_wkv() if chosen.compile else wkv_chunked
    path = folder / "model.safetensors"
    with parallel.started(device, chosen.shard, chosen.split_text) as ranks:
        model, _ = training.train(run, folder, wkv, device, ranks=ranks)
        loss = training.export(model, run, path, command, ranks)
    if ranks.rank == 0:
        size = path.stat().st_size
        print(f"{path}: {size:,} bytes, held-out loss {loss:.4f} nats per byte")


def add_generate(commands, asked_for):
    """`generate`: what minimal.sample takes, and where to begin."""
    summary = "let a model go on writing from a beginning"
    description = f"{summary.capitalize()}. Runs on NumPy alone."
    parser = commands.add_parser("generate", help=summary, description=description)
    parser.set_defaults(run=generate)
    if not asked_for:
        return
    parser.add_argument(
        "--model",
        default="shakespeare",
        metavar="PATH",
        help=".safetensors or .pth file, or a model that comes with the book "
        "(default: shakespeare)",
    )
    parser.add_argument(
        "--prompt",
        default="",
        metavar="TEXT",
        help="how the text begins (default: nothing, the beginning of a new text)",
    )
    parser.add_argument(
        "--length",
        type=number(int, 0, math.inf, WHOLE),
        default=500,
        metavar="N",
        help="tokens to write at most, which may end earlier (default: 500)",
    )
    parser.add_argument(
        "--temperature",
        type=number(float, 0, math.inf, "a number, 0 or more"),
        default=1.0,
        metavar="X",
        help="below 1 plainer, above 1 wilder, 0 always the likeliest (default: 1)",
    )
    parser.add_argument(
        "--top-p",
        type=number(float, 1e-9, 1, "a number above 0, up to 1"),
        default=1.0,
        metavar="X",
        help="draw from the likeliest tokens that together reach this probability "
        "(default: 1, from all)",
    )
    parser.add_argument(
        "--seed",
        type=number(int, 0, math.inf, WHOLE),
        metavar="N",
        help="the same seed gives the same text (default: another text each time)",
    )
    parser.add_argument(
        "--tokenizer",
        default="bytes",
        metavar="PATH",
        help="bytes, or the file 20B_tokenizer.json for the official Pile models "
        "(default: bytes)",
    )


def number(kind, least, most, description):
    """An argparse type: an int or a float from `least` to `most`."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {description}")
        return value

    return parse


def generate(chosen, command):
    """Print the prompt and what the model makes of it, each character when it is whole.

    A token that ends a text ends the output.
    """
    params = checkpoint.load(find_model(chosen.model))
    as_bytes = chosen.tokenizer == "bytes"
    tokens = tokenizers.Bytes() if as_bytes else tokenizers.load_20b(chosen.tokenizer)
    known = len(params["head.weight"])
    if tokens.vocabulary != known:
        raise ValueError(
            f"{chosen.model} knows {known} tokens and the tokenizer "
            f"{chosen.tokenizer} {tokens.vocabulary}: choose another with --tokenizer"
        )
    state = minimal.initial_state(params)
    for token in tokens.encode(chosen.prompt) or [END_OF_TEXT]:
        logits, state = minimal.step(token, state, params)
    print(chosen.prompt, end="", flush=True)
    stream, generator = tokens.stream(), np.random.default_rng(chosen.seed)
    for _ in range(chosen.length):
        token = minimal.sample(logits, chosen.temperature, chosen.top_p, generator)
        if token == END_OF_TEXT:
            break
        print(stream.push(token), end="", flush=True)
        logits, state = minimal.step(token, state, params)
    print(stream.flush())


def find_model(name):
    """A path where `name` is one, otherwise the path of a model of the book."""
    return Path(name) if Path(name).suffix else checkpoint.shipped(name)


def add_inspect(commands, asked_for):
    """`inspect`: a path."""
    summary = "say what a file of weights holds and what is wrong with it"
    description = f"{summary.capitalize()}. Reads RWKV-4 to 7; runs nothing in it."
    parser = commands.add_parser("inspect", help=summary, description=description)
    parser.set_defaults(run=inspect)
    parser.add_argument(
        "path",
        metavar="PATH",
        help=".safetensors or .pth file, or a model that comes with the book",
    )


def inspect(chosen, command):
    """Print the report of checkpoint.inspect."""
    print(checkpoint.inspect(find_model(chosen.path)))


def add_doctor(commands, asked_for):
    """`doctor`: this machine, or the reports of others."""
    summary = "say whether this machine can run the book, and what to do if not"
    description = f"{summary.capitalize()}. Fetches nothing; 1 is a problem."
    parser = commands.add_parser("doctor", help=summary, description=description)
    parser.set_defaults(run=examine)
    parser.add_argument(
        "--json", action="store_true", help="print a report that a program can read"
    )
    parser.add_argument(
        "reports",
        nargs="*",
        metavar="REPORT",
        help="reports of other machines, made with --json: who is ready, who is not",
    )


def examine(chosen, command):
    """Print the doctor's findings; 1 where there is a problem."""
    return doctor.main(chosen.json, chosen.reports)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a terminal may lack a character
    sys.exit(main())
