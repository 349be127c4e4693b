"""A run that takes a second, on four works of a few words: two are held out."""

from functools import partial

import torch

from rwkv_book import training
from rwkv_book.text.corpora import Corpus

TINY = Corpus(
    "tiny",
    {"one": b"the cat sat on the mat; " * 20, "two": b"a rose is a rose. " * 9},
    {"three": b"the rose sat on a cat. " * 3, "four": b"is the mat a mat? "},
)
RUN = training.Run(
    corpus="tiny", layers=2, width=8, steps=12, batch=4, length=16, warm_up=3, seed=5
)
train = partial(training.train, corpus=TINY)
export = partial(training.export, corpus=TINY)


def weights(model):
    """A model's tensors as they are now."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_weights(one, other):
    """Two models are the same, bit for bit."""
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def losses(log):
    """{step: training loss} of a log."""
    return {entry["step"]: entry["loss"] for entry in log}


def checkpoint_of(folder):
    """What checkpoint.pt of a run's folder holds."""
    return torch.load(folder / "checkpoint.pt", weights_only=True)
