"""The machine gives every slot one thread, and every thread its slot, to the end."""

import pytest

from rwkv_book.compiled.emulator import run_kernels


def count(at, memory):
    """A thread that reads as many things as its place says."""
    for n in range(at):
        memory.append((at, n))
        yield n


def test_every_thread_reads_everything_whatever_the_slots():
    for slots in (1, 2, 5):
        memory = []
        turns = run_kernels([(count, [3, 0, 2, 4])], memory, slots)
        assert sorted(memory) == [(at, n) for at in (2, 3, 4) for n in range(at)]
        assert [(turn.at, turn.read) for turn in turns] == memory
        assert max(turn.slot for turn in turns) < slots


def test_a_thread_that_ends_makes_room_for_the_next():
    turns = run_kernels([(count, [1, 3, 1, 0, 2])], [], slots=2)
    found = [(turn.tick, turn.slot, turn.thread) for turn in turns]
    assert found[:4] == [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 1)]
    assert found[4:] == [(2, 0, 4), (2, 1, 1), (3, 0, 4)]


def test_a_kernel_begins_when_the_one_before_has_ended():
    turns = run_kernels([(count, [3, 1]), (count, [2])], [], slots=2)
    assert [turn.tick for turn in turns] == [0, 0, 1, 2, 3, 4]


def test_without_slots_it_says_so():
    with pytest.raises(ValueError, match="slots must be at least 1, got 0"):
        run_kernels([(count, [1])], [], slots=0)
