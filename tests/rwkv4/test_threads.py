"""The emulated threads compute the operator, and sit where those of wkv.cu sit."""

import ctypes
from dataclasses import replace

import pytest
import torch
from helpers.kernels import needs_compiler

from rwkv_book.compiled import cpu
from rwkv_book.rwkv4 import threads
from rwkv_book.rwkv4.kernels import SOURCE
from rwkv_book.rwkv4.wkv import wkv_attention


def arguments(length, channels=3, batch=2, scale=1):
    generator = torch.Generator().manual_seed(0)
    decay_rate = torch.rand(channels, generator=generator)
    bonus = torch.randn(channels, generator=generator)
    key, value = torch.randn(2, batch, length, channels, generator=generator)
    return decay_rate, bonus, scale * key, value


@pytest.mark.parametrize("scale", [1, 300])
@pytest.mark.parametrize("slots", [1, 5, 1000])
@pytest.mark.parametrize(("length", "chunks"), [(1, 1), (17, 1), (64, 4), (70, 3)])
def test_the_threads_compute_the_operator(length, chunks, slots, scale):
    tensors = [x.double() for x in arguments(length, scale=scale)]
    wanted, _ = wkv_attention(*tensors)
    for lanes in (1, 2, 4):
        found, _ = threads.run(*tensors, chunks, slots, lanes)
        assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_every_token_is_read_once_without_chunks_and_nearly_twice_with_them():
    for chunks, reads in ((1, 64), (4, 64 + 48)):
        _, steps = threads.run(*arguments(64), chunks)
        read = [(s.kernel, s.at, s.token) for s in steps if s.token is not None]
        assert len(read) == len(set(read)) == 2 * 3 * reads


def test_a_slot_has_one_thread_and_a_thread_keeps_its_slot():
    _, steps = threads.run(*arguments(64), chunks=4, slots=5)
    assert len({(s.tick, s.slot) for s in steps}) == len(steps)
    assert len({(s.kernel, s.thread, s.slot) for s in steps}) == len(
        {(s.kernel, s.thread) for s in steps}
    )


def test_a_kernel_begins_when_the_one_before_has_ended():
    _, steps = threads.run(*arguments(64), chunks=4, slots=5)
    ticks = {}
    for step in steps:
        ticks.setdefault(step.kernel, []).append(step.tick)
    assert list(ticks) == ["sum_chunks", "forward"]
    assert max(ticks["sum_chunks"]) + 1 == min(ticks["forward"])


def test_before_its_tokens_a_thread_walks_over_every_chunk_before_its_own():
    _, steps = threads.run(*arguments(64), chunks=4, slots=5)
    walked = {}
    for step in steps:
        if step.kernel == "forward":
            walked.setdefault(step.at, []).append(step.chunk)
    for at, chunks in walked.items():
        assert chunks == [*range(at.chunk), *16 * [at.chunk]]


@pytest.mark.parametrize(("chunks", "ticks"), [(1, 64), (2, 65), (4, 16 + 3 + 16)])
def test_with_slots_enough_a_chunk_takes_as_long_as_its_tokens(chunks, ticks):
    _, steps = threads.run(*arguments(64), chunks, slots=1000)
    assert steps[-1].tick + 1 == ticks


def test_with_one_slot_the_ticks_are_the_steps():
    _, steps = threads.run(*arguments(32), chunks=2, slots=1)
    assert [step.tick for step in steps] == list(range(len(steps)))


@pytest.mark.parametrize("missing", ["slots", "lanes"])
def test_without_slots_or_lanes_it_says_so(missing):
    with pytest.raises(ValueError, match=f"{missing} must be at least 1, got 0"):
        threads.run(*arguments(1), **{missing: 0})


WHERE = """
extern "C" int where(index thread, index chunks, index C, index* found) {
  Place at = place(thread, chunks, C);
  found[0] = at.batch; found[1] = at.chunk; found[2] = at.channel; found[3] = at.lanes;
  return LANES;
}
"""


@needs_compiler
def test_a_thread_is_where_the_source_says():
    source = replace(SOURCE, text=SOURCE.text + WHERE, kept=False)
    where = cpu.library(source, "float").where
    for channels in (1, 15, 16, 50):
        for thread in range(40):
            found = (ctypes.c_longlong * 4)()
            lanes = where(*map(ctypes.c_longlong, (thread, 3, channels)), found)
            assert tuple(found) == threads.place(thread, 3, channels, lanes)
