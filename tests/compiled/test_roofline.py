"""What is counted is what PyTorch's profiler and paper and pencil find."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from rwkv_book.compiled import roofline
from rwkv_book.compiled.roofline import LaunchCounter
from rwkv_book.rwkv4.wkv import wkv_recurrent


def arguments(length, channels=8):
    key, value = torch.ones(2, 1, length, channels)
    return torch.ones(channels), torch.ones(channels), key, value


def test_the_bytes_are_those_of_arguments_and_results():
    x, y = torch.ones(10), torch.ones(5, 1)
    with LaunchCounter() as counted:
        x.add(y)
    assert (counted.launches, counted.bytes) == (1, 4 * (10 + 5 + 50))
    with LaunchCounter() as counted:
        x[3:].view(7, 1).sum()
    assert counted.bytes == 4 * (7 + 1)


def test_the_launches_of_the_loop_are_those_that_the_profiler_sees(capfd):
    tensors = arguments(20)
    with LaunchCounter() as counted:
        wkv_recurrent(*tensors)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        wkv_recurrent(*tensors)
    outermost = [event for event in profiled.events() if event.cpu_parent is None]
    assert counted.launches == len(outermost) > 20 * 20


def test_the_floor_is_the_larger_time():
    assert roofline.floor_seconds(100, 10, bandwidth=50, peak=1) == 10
    assert roofline.floor_seconds(100, 10, bandwidth=5, peak=1) == 20


@pytest.mark.parametrize(("arrays", "itemsize", "total"), [(3, 4, 288), (5, 2, 240)])
def test_the_least_bytes_are_each_array_once(arrays, itemsize, total):
    assert roofline.least_bytes((2, 3, 4), arrays, itemsize) == total


def test_the_machine_is_as_fast_as_a_machine():
    assert 1e8 < roofline.read_bandwidth(megabytes=8) < 1e13
    assert 1e8 < roofline.peak_flops(size=256) < 1e15


class Event:
    """Of CUDA, in a list of what is queued."""

    def __init__(self, queue):
        self.queue = queue

    def record(self):
        self.queue.append("event")

    def synchronize(self):
        self.queue.append("wait")

    def elapsed_time(self, other):
        return 3.0


def test_a_gpu_has_work_while_python_queues_what_is_timed():
    queue = []
    fill_seconds = 1e-4
    other = SimpleNamespace(
        zero_=lambda: queue.append("fill"),
        nbytes=fill_seconds * roofline.FASTEST_MEMORY,
    )
    start, end = Event(queue), Event(queue)
    job = partial(queue.append, "work")
    assert roofline.between_events(job, start, end, other, 1.01e-3) == 0.003
    fills = ["fill"] * 22  # 2.2 ms, while Python launches for 1.01
    assert queue == [*fills, "event", "work", "event", "wait"]
