"""What a process hears when another one of its run dies, or hangs: tried out."""

import os
import re
import signal
import socket
import tempfile
import time
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist

from rwkv_book.parallel.processes import start
from rwkv_book.parallel.ranks import LostRank, started

STEPS = 3  # that both take, before one is lost


class Loss(NamedTuple):
    """What rank 0 raised, and how long after the last step that both have taken."""

    said: str
    seconds: float


def lose_a_rank(how, patience=3.0, seconds=60):
    """A Loss: rank 1 of two "dies" or "hangs", and rank 0 has `patience`, in seconds.

    RuntimeError where rank 0 says nothing within `seconds`.
    """
    if how not in ("dies", "hangs"):
        raise ValueError(f"how must be 'dies' or 'hangs', got {how!r}")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        one, other = start(member, how, patience, port, folder, ranks=2)
        one.join(seconds)
        for process in (one, other):
            process.kill()
            process.join()
        try:
            said, passed = torch.load(f"{folder}/said")
        except FileNotFoundError:
            raise RuntimeError(f"rank 0 said nothing for {seconds} seconds") from None
    return Loss(re.sub(r" ?\[[\d.:a-f]*\]:\d+", "", said), passed)


def member(rank, how, patience, port, folder):
    """One of the two, in the environment that torchrun would give it."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    last = 0.0
    try:
        with started(patience=timedelta(seconds=patience)):
            step = 0
            while True:
                last = time.monotonic()
                dist.all_reduce(torch.ones(1000))
                step += 1
                if rank == 1 and step == STEPS:
                    os.kill(os.getpid(), signal.SIGKILL) if how == "dies" else None
                    time.sleep(600)
    except LostRank as error:
        torch.save((str(error), time.monotonic() - last), f"{folder}/said")
