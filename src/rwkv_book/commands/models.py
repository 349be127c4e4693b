"""Which file is meant by the name of a model on the command line, and what runs it."""

import os
from pathlib import Path

from rwkv_book import checkpoint
from rwkv_book.rwkv4 import minimal as rwkv4
from rwkv_book.rwkv5 import minimal as rwkv5
from rwkv_book.rwkv6 import minimal as rwkv6
from rwkv_book.rwkv7 import minimal as rwkv7

SMALLER_MODEL = "take a smaller model, or a machine with more memory"
MINIMAL = {"4": rwkv4, "5.2": rwkv5, "6": rwkv6, "7": rwkv7}


def minimal_of(params):
    """The module that runs these weights token by token, whatever their version."""
    return MINIMAL[checkpoint.version_of(params)]


def find_model(name):
    """The path of a model that comes with the book, or `name` as a path.

    A bare word is first the name of a model of the book; with a suffix or a folder in
    it, as in ./shakespeare, it is first a path. CheckpointError where a word is
    neither; of a path that leads nowhere, what reads it says so.
    """
    path = Path(name)
    is_word, there = path.name == name and not path.suffix, os.path.exists(name)
    if there and not is_word:
        return path
    try:
        return checkpoint.shipped(name)
    except checkpoint.CheckpointError:
        if is_word and not there:
            raise
        return path
