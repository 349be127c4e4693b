"""The kernels of `wkv.cu`, token by token, for the machine of `compiled.emulator`.

A thread of `wkv.cu` is a generator here, which stops at every token that it reads.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from rwkv_book.compiled.emulator import run_kernels
from rwkv_book.rwkv4.kernels import cut
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
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, got {lanes}")
    chunks, chunk = cut(key, chunks)
    batch, _, channels = key.shape
    arrays = [tensor.double().numpy() for tensor in (decay_rate, bonus, key, value)]
    entering = np.full((batch, chunks, 3, channels), np.nan)
    entering[:, 0] = np.array([0, 0, -np.inf])[:, None]
    memory = Memory(*arrays, np.full(key.shape, np.nan), entering, chunk)

    def places(part):
        threads = range(batch * part * -(-channels // lanes))
        return [place(thread, part, channels, lanes) for thread in threads]

    kernels = [(forward, places(chunks))]
    if chunks > 1:
        sums = (sum_chunks, places(chunks - 1)), (scan_chunks, places(1))
        kernels = [*sums, *kernels]
    turns = run_kernels(kernels, memory, slots)
    steps = [Step(*turn[:-1], *turn.read) for turn in turns]
    return torch.from_numpy(memory.out), steps


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
