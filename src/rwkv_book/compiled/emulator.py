"""The kernels of `fused`, token by token, on a machine small enough to watch.

A thread of `wkv.cu` is a generator here, which stops at every token that it reads. The
machine has a few slots. In every tick each thread in a slot takes one step; a thread
that ends makes room for the next that waits, and a kernel begins when the one before
has ended. What is simpler than in a GPU: a step takes one tick whatever it does, and
nothing is ever late from memory.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from rwkv_book.rwkv4.fused import cut
from rwkv_book.rwkv4.minimal import merge, wkv


class Place(NamedTuple):
    """Which sums a thread keeps: `lanes` channels from `channel` on."""

    batch: int
    chunk: int
    channel: int
    lanes: int


class Step(NamedTuple):
    """What one thread does in one tick: it reads `token`, or, in the scan, `chunk`."""

    tick: int
    slot: int
    kernel: str
    thread: int
    at: Place
    token: int | None
    chunk: int


@dataclass
class Memory:
    """What all threads see. `entering` (B,chunks,3,C) and `out` begin as NaN."""

    decay_rate: np.ndarray
    bonus: np.ndarray
    key: np.ndarray
    value: np.ndarray
    out: np.ndarray
    entering: np.ndarray
    chunk: int  # tokens of a chunk

    def tokens(self, chunk):
        """The times of the tokens of a chunk."""
        begin = chunk * self.chunk
        return range(begin, min(self.key.shape[1], begin + self.chunk))

    def token(self, batch, t, here):
        """decay_rate, bonus, key and value of some channels at one time."""
        per_channel = self.decay_rate[here], self.bonus[here]
        return *per_channel, self.key[batch, t, here], self.value[batch, t, here]


def place(thread, chunks, channels, lanes=1):
    """`place` of wkv.cu: neighbouring threads have neighbouring channels."""
    row, vector = divmod(thread, -(-channels // lanes))
    first = vector * lanes
    return Place(*divmod(row, chunks), first, min(lanes, channels - first))


def run(decay_rate, bonus, key, value, chunks=1, slots=64, lanes=1):
    """The averages (B,T,C) and every Step, for tensors as `wkv_fused` takes them.

    `lanes` channels share a thread, as on a CPU. ValueError without a slot or a lane.
    """
    if slots < 1 or lanes < 1:
        raise ValueError(f"slots and lanes must be at least 1, got {slots} and {lanes}")
    chunks, chunk = cut(key, chunks)
    batch, _, channels = key.shape
    arrays = [tensor.double().numpy() for tensor in (decay_rate, bonus, key, value)]
    entering = np.full((batch, chunks, 3, channels), np.nan)
    entering[:, 0] = np.array([0, 0, -np.inf])[:, None]
    memory = Memory(*arrays, np.full(key.shape, np.nan), entering, chunk)
    steps = []
    for kernel, part in (sum_chunks, chunks - 1), (scan_chunks, 1), (forward, chunks):
        if chunks > 1 or kernel is forward:
            threads = batch * part * -(-channels // lanes)
            places = [place(thread, part, channels, lanes) for thread in range(threads)]
            launch(kernel, places, memory, slots, steps)
    return torch.from_numpy(memory.out), steps


def launch(kernel, places, memory, slots, steps):
    """Run a thread for every place to its end, at most `slots` at the same time."""
    waiting = iter(enumerate(places))
    running = dict.fromkeys(range(slots))  # slot: (thread, place, generator)
    tick = steps[-1].tick + 1 if steps else 0
    while True:
        before = len(steps)
        for slot, job in running.items():
            reads = next(job[2], None) if job else None
            while reads is None and (new := next(waiting, None)):
                job = (*new, kernel(new[1], memory))
                reads = next(job[2], None)
            running[slot] = job if reads else None
            if reads:
                steps.append(Step(tick, slot, kernel.__name__, *job[:2], *reads))
        if len(steps) == before:
            return
        tick += 1


def sum_chunks(at, memory):
    """Sums over a chunk on its own, stored as if they entered the next one."""
    here = slice(at.channel, at.channel + at.lanes)
    sums = 0, 0, -np.inf
    for t in memory.tokens(at.chunk):
        yield t, at.chunk
        _, sums = wkv(*memory.token(at.batch, t, here), sums)
    memory.entering[at.batch, at.chunk + 1, :, here] = np.broadcast_arrays(*sums)


def scan_chunks(at, memory):
    """From chunk to chunk: what was summed becomes what enters."""
    here = slice(at.channel, at.channel + at.lanes)
    carried = memory.entering[at.batch, 0, :, here]
    for chunk in range(1, memory.entering.shape[1]):
        yield None, chunk
        sums = memory.entering[at.batch, chunk, :, here].copy()
        num, den, log_scale = carried
        fading = len(memory.tokens(chunk - 1)) * memory.decay_rate[here]
        carried = merge((num, den, log_scale - fading), sums)
        memory.entering[at.batch, chunk, :, here] = carried


def forward(at, memory):
    """The loop of RWKV over the tokens of a chunk."""
    here = slice(at.channel, at.channel + at.lanes)
    sums = memory.entering[at.batch, at.chunk, :, here]
    for t in memory.tokens(at.chunk):
        yield t, at.chunk
        average, sums = wkv(*memory.token(at.batch, t, here), sums)
        memory.out[at.batch, t, here] = average
