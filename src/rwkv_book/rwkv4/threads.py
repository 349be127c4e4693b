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
    """What one thread does in one tick: it reads `token`, or the sums of `chunk`."""

    tick: int
    slot: int
    kernel: str
    thread: int
    at: Place
    token: int | None
    chunk: int


@dataclass
class Memory:
    """What all threads see. `sums` (B,chunks,3,C) and `out` begin as NaN."""

    decay_rate: np.ndarray
    bonus: np.ndarray
    key: np.ndarray
    value: np.ndarray
    out: np.ndarray
    sums: np.ndarray
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
    sums = np.full((batch, chunks, 3, channels), np.nan)
    memory = Memory(*arrays, np.full(key.shape, np.nan), sums, chunk)

    def places(part):
        threads = range(batch * part * -(-channels // lanes))
        return [place(thread, part, channels, lanes) for thread in threads]

    kernels = [(forward, places(chunks))]
    if chunks > 1:
        kernels = [(sum_chunks, places(chunks - 1)), *kernels]
    turns = run_kernels(kernels, memory, slots)
    steps = [Step(*turn[:-1], *turn.read) for turn in turns]
    return torch.from_numpy(memory.out), steps


def sum_chunks(at, memory):
    """Sums over a chunk on its own."""
    here = slice(at.channel, at.channel + at.lanes)
    sums = 0, 0, -np.inf
    for t in memory.tokens(at.chunk):
        yield t, at.chunk
        _, sums = wkv(*memory.token(at.batch, t, here), sums)
    memory.sums[at.batch, at.chunk, :, here] = np.broadcast_arrays(*sums)


def entering(at, memory):
    """The state that enters a chunk: a walk over the sums of those before it."""
    here = slice(at.channel, at.channel + at.lanes)
    carried = 0, 0, -np.inf
    for chunk in range(at.chunk):
        yield None, chunk
        num, den, log_scale = carried
        fading = len(memory.tokens(chunk)) * memory.decay_rate[here]
        sums = memory.sums[at.batch, chunk, :, here]
        carried = merge((num, den, log_scale - fading), sums)
    return carried


def forward(at, memory):
    """The loop of RWKV over the tokens of a chunk."""
    here = slice(at.channel, at.channel + at.lanes)
    sums = yield from entering(at, memory)
    for t in memory.tokens(at.chunk):
        yield t, at.chunk
        average, sums = wkv(*memory.token(at.batch, t, here), sums)
        memory.out[at.batch, t, here] = average
