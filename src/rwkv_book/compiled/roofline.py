"""How fast the operator can be: what it launches, moves and computes, and the floor.

No program is faster than its bytes over the machine's bandwidth, nor than its FLOPs
over the machine's peak: the larger of the two times is its floor. Source: Williams,
Waterman and Patterson 2009.
"""

from math import ceil, prod
from time import perf_counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LARGER_THAN_A_CACHE = 2**28  # bytes
FASTEST_MEMORY = 8e12  # bytes a second, more than a GPU of 2026 writes


def least_bytes(shape, arrays, itemsize=4):
    """What has to travel if each of some arrays of a shape travels once."""
    return arrays * itemsize * prod(shape)


def floor_seconds(total_bytes, flops, bandwidth, peak):
    """The larger of two times: for bytes at a bandwidth, for FLOPs at a peak."""
    return max(total_bytes / bandwidth, flops / peak)


def seconds(function, repeats=5, device="cpu"):
    """The shortest of some times that a function takes: the least disturbed one."""
    return min(one_time(function, device) for _ in range(repeats))


def one_time(function, device="cpu"):
    """Seconds that a function takes once; on a GPU, `between_events`."""
    if device == "cpu":
        start = perf_counter()
        function()
        return perf_counter() - start
    torch.cuda.synchronize(device)
    launching = one_time(function)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    other = torch.empty(LARGER_THAN_A_CACHE, dtype=torch.uint8, device=device)
    return between_events(function, start, end, other, launching)


def between_events(function, start, end, other, launching):
    """Seconds that a GPU takes for what a function launches.

    They are taken between two events, after the L2 cache was filled with something
    else, `other`, as often as Python needs twice its `launching` seconds: all that the
    function launches is queued by then, and what is timed is the GPU.
    """
    for _ in range(1 + ceil(2 * launching * FASTEST_MEMORY / other.nbytes)):
        other.zero_()
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def read_bandwidth(device="cpu", megabytes=256):
    """Bytes a second at which a machine's processor reads what is in no cache.

    The better of a sum and a product with a vector, which read every number once.
    """
    numbers = torch.ones(megabytes * 1024, 256, device=device)
    vector = torch.ones(256, device=device)
    jobs = numbers.sum, lambda: numbers @ vector
    return numbers.nbytes / min(on_any_threads(job, device) for job in jobs)


def peak_flops(device="cpu", size=1024):
    """FLOPs a second of a machine in products of float32 matrices."""
    matrix = torch.ones(size, size, device=device)
    return 2 * size**3 / on_any_threads(lambda: matrix @ matrix, device)


def on_any_threads(function, device="cpu"):
    """The shorter time on one thread and on all: others may need the machine, too."""
    function()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = seconds(function, device=device)
    finally:
        torch.set_num_threads(threads)
    return min(alone, seconds(function, device=device))


class LaunchCounter(TorchDispatchMode):
    """Within it, count what PyTorch launches, and the bytes that go in and come out.

    A view of a tensor moves nothing, and neither does a question about types.
    """

    def __init__(self):
        super().__init__()
        self.launches = self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        before, after = tensors((args, kwargs)), tensors(result)
        self.launches += 1
        if not {place(tensor) for tensor in before} & {place(t) for t in after}:
            self.bytes += sum(tensor.nbytes for tensor in (*before, *after))
        return result


def tensors(tree):
    """All tensors in tuples, lists and dictionaries."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def place(tensor):
    """Where the numbers of a tensor are kept; its views share it."""
    return tensor.untyped_storage().data_ptr()
