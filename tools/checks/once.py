"""What several notebooks compute alike is computed once while nbval runs them all.

The small GPT of chapter 2 takes half a minute of a core, and chapter 3 trains it again.
PyTorch is imported in kernels only: pytest, which calls `end`, has no use for it.
"""

import functools
import hashlib
import os
import tempfile
from pathlib import Path

from rwkv_book.folders import whole

RUN = "PYTEST_XDIST_TESTRUNUID"  # by which the workers of a run know each other


def begin():
    """Have this kernel take what another one of the same run has trained already."""
    from rwkv_book import training

    if RUN in os.environ:
        training.quick_gpt = shared(training.quick_gpt, os.environ[RUN])


def shared(function, run):
    """The function, whose result is computed once for each of its arguments in a run.

    Random numbers go on from where the function left them, whoever called it first.
    """

    @functools.wraps(function)
    def once(*given, **named):
        import torch

        path = place(run, repr((given, named)))
        if path.exists():
            result, state = torch.load(path, weights_only=False)
            torch.set_rng_state(state)
            return result
        result = function(*given, **named)
        with whole(path) as part:
            torch.save((result, torch.get_rng_state()), part)
        return result

    return once


def place(run, asked):
    """Where a run keeps what somebody has asked for."""
    name = hashlib.sha256(asked.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"rwkv-book-{run}-{name}.pt")


def end(run):
    """Nothing of a run is kept: the next one computes it again."""
    for path in Path(tempfile.gettempdir()).glob(f"rwkv-book-{run}-*.pt"):
        path.unlink(missing_ok=True)
