"""Threads, step by step, on a machine small enough to watch.

A thread is a generator that stops at everything that it reads. The machine has a few
slots. In every tick each thread in a slot takes one step; a thread that ends makes room
for the next that waits, and a kernel begins when the one before has ended. What is
simpler than in a GPU: a step takes one tick whatever it does, and nothing is ever late
from memory.
"""

from typing import Any, NamedTuple


class Turn(NamedTuple):
    """What one thread does in one tick: `at` is its place, `read` what it yielded."""

    tick: int
    slot: int
    kernel: str
    thread: int
    at: Any
    read: Any


def run_kernels(kernels, memory, slots):
    """Every Turn of some kernels, pairs (generator, places), one after the other.

    A thread is generator(place, memory). ValueError without a slot.
    """
    if slots < 1:
        raise ValueError(f"slots must be at least 1, got {slots}")
    turns = []
    for kernel, places in kernels:
        run_kernel(kernel, places, memory, slots, turns)
    return turns


def run_kernel(kernel, places, memory, slots, turns):
    """Run a thread for every place to its end, at most `slots` at the same time."""
    waiting = iter(enumerate(places))
    running = dict.fromkeys(range(slots))  # slot: (thread, place, generator)
    tick = turns[-1].tick + 1 if turns else 0
    while True:
        before = len(turns)
        for slot, job in running.items():
            read = next(job[2], None) if job else None
            while read is None and (new := next(waiting, None)):
                job = (*new, kernel(new[1], memory))
                read = next(job[2], None)
            running[slot] = None if read is None else job
            if read is not None:
                turns.append(Turn(tick, slot, kernel.__name__, *job[:2], read))
        if len(turns) == before:
            return
        tick += 1
