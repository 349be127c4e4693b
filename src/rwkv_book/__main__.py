"""Train a small RWKV-4 on a text, let it write, look into a file of weights.

`doctor` says whether this machine can run the book. For instance, without a network and
in a few minutes:

    python -m rwkv_book train --corpus prose --steps 200
    python -m rwkv_book generate --model runs/prose/model.safetensors
    python -m rwkv_book inspect runs/prose/model.safetensors
"""

import sys

if sys.version_info < (3, 8):  # where not even the doctor can be read
    sys.exit(
        f"python -m rwkv_book: this is Python {sys.version.split()[0]}. Install Python "
        "3.11 or newer, and begin with a new environment."
    )

import argparse
import os
import shlex
from importlib import import_module

from rwkv_book.commands import SUMMARIES
from rwkv_book.doctor import OLDEST_PYTHON
from rwkv_book.folders import FULL
from rwkv_book.out_of_memory import ran_out

PROGRAM = "python -m rwkv_book"
SMALLER = "close other programs, or take a machine with more memory"


def main(arguments=None):
    """Run one command; 0 if it went well, 1 if it failed, 2 for a bad argument."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = command_of(arguments)
    failures, smaller = (FloatingPointError, OSError), SMALLER
    try:
        if name != "doctor" and sys.version_info[:2] < OLDEST_PYTHON:
            raise ImportError("this Python is too old")
        command = import_module(f"rwkv_book.commands.{name}")
        failures, smaller = (*failures, *command.FAILURES), command.SMALLER
        return command.run(options_of(name, command, arguments)) or 0
    except KeyboardInterrupt:
        print(f"\n{PROGRAM} {name}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough of it
        print_or_drop()
        return 0
    except ImportError as error:  # nothing works; the doctor says what to do
        *_, reason = str(error).strip().splitlines() or [type(error).__name__]
        print(f"{PROGRAM} {name}: {reason}", file=sys.stderr)
        return main(["doctor", *(["--json"] if "--json" in arguments else [])]) or 1
    except Exception as error:
        full = ran_out(error)
        if not full and not isinstance(error, (*failures, ValueError)):
            raise
        said = f"there is not enough memory: {smaller}" if full else sentence(error)
        print(f"{PROGRAM} {name}: {said}", file=sys.stderr)
        print_or_drop()  # it may be that error which keeps it from being printed
        return 1 if full or isinstance(error, failures) else 2


def sentence(error):
    """What an error says, with what it is about and what to do, in one sentence."""
    if not isinstance(error, OSError) or not error.errno:
        return error
    reason = error.strerror or os.strerror(error.errno)
    if error.filename is not None:
        return f"{error.filename}: {reason[:1].lower()}{reason[1:]}, name another path"
    if error.errno in FULL:  # whose files have names: it is what was printed
        return f"what it prints can't be written ({reason}): print it to another place"
    return error


def command_of(arguments):
    """The command, which is the first argument; --help and mistakes end here."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        epilog=f"'{PROGRAM} COMMAND --help' lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in SUMMARIES.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser.parse_args(arguments[:1]).command


def options_of(name, command, arguments):
    """A command's options; in `typed` all that was typed, as a shell would read it."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_options(parser)
    chosen = parser.parse_args(arguments[1:])
    typed = shlex.join([*PROGRAM.split(), *arguments])
    # A name whose bytes are not UTF-8 is still a name, and can't be kept as text.
    chosen.typed = typed.encode("utf-8", "backslashreplace").decode("utf-8")
    return chosen


def as_process():
    """`main` with what only a process of its own has to see to; the exit code."""
    give_closed_streams_a_stand_in()
    sys.stdout.reconfigure(errors="replace")  # a terminal may lack a character
    try:
        code = main()
    except SystemExit as stop:  # argparse's
        code = stop.code
    error = print_or_drop()
    if error and not isinstance(error, BrokenPipeError):
        print(f"{PROGRAM}: {sentence(error)}", file=sys.stderr)
        code = code or 1
    return code


def give_closed_streams_a_stand_in():
    """Where stdout was closed, as by >&-, prints go nowhere and don't fail.

    Without it the next file to be opened would have the number of stdout, and get what
    any library prints.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))


def print_or_drop():
    """Print what stdout still holds. Where that fails, drop it, and give the error.

    Python would try again at its end, and fail with a message of its own.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


if __name__ == "__main__":
    sys.exit(as_process())
