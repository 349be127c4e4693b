"""Files of weights as others write them, and what the book says of them."""

import sys
from contextlib import contextmanager

import pytest
import safetensors.torch
import torch

from helpers.published import random_tensors
from rwkv_book import checkpoint
from rwkv_book.checkpoint import CheckpointError, formats

SUFFIXES = (".safetensors", ".pth", ".pt")
DTYPES = ("float32", "float16", "bfloat16")


def write(tensors, path):
    """A checkpoint as others would write it."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@contextmanager
def calls_of(built_in):
    """The names of the functions that call a function of C within it, in a list."""
    callers = []

    def look(frame, event, called):
        if event == "c_call" and called is built_in:
            callers.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield callers
    finally:
        sys.setprofile(before)


def problems_of(path):
    """The sentences of the error that loading `path` raises."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert all(problem in message for problem in caught.value.problems)
    return caught.value.problems


def problem_of(path):
    """The one sentence that keeps `path` from being loaded, and from being looked at.

    It is the whole message, and so has to say what to do. Where `inspect` has a report
    all the same, it says that the file doesn't load.
    """
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    (problem,) = caught.value.problems
    assert str(caught.value) == formats.printable(f"{path}: {problem}")
    try:
        report = checkpoint.inspect(path)
    except CheckpointError as error:
        assert error.problems == (problem,)
    else:
        assert not report.loads and report.deviations[0] == problem
    return problem


def problems_after(folder, changes=(), remove=(), suffix=".safetensors"):
    """The same for a whole checkpoint with some tensors changed or removed."""
    tensors = random_tensors() | dict(changes)
    for name in remove:
        del tensors[name]
    return problems_of(write(tensors, folder / f"model{suffix}"))
