"""How fast the operator can be: what it launches, moves and computes, and the floor.

No program is faster than its bytes over the machine's bandwidth, nor than its FLOPs
over the machine's peak: the larger of the two times is its floor. Source: Williams,
Waterman and Patterson 2009.
"""

from math import prod
from time import perf_counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# A merge takes 11 FLOPs, an exponential counted as one. Forward: two of them, a decay,
# the bonus and a division. Backward: three and the products of a state and a gradient.
FORWARD_FLOPS, BACKWARD_FLOPS = 25, 67  # for each key
FORWARD_ARRAYS = 3  # key and value are read, out is written
BACKWARD_ARRAYS = 5  # with its gradient; the gradients of key and value are written


def least_bytes(shape, arrays=FORWARD_ARRAYS, itemsize=4):
    """What has to travel for keys of a shape (B,T,C) if every array travels once."""
    return arrays * itemsize * prod(shape)


def floor_seconds(total_bytes, flops, bandwidth, peak):
    """The larger of two times: for bytes at a bandwidth, for FLOPs at a peak."""
    return max(total_bytes / bandwidth, flops / peak)


def seconds(function, repeats=5):
    """The shortest of some times that a function takes: the least disturbed one."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return min(times)


def read_bandwidth(megabytes=256):
    """Bytes a second at which this machine's processor reads what is in no cache.

    The better of a sum and a product with a vector, which read every number once.
    """
    numbers = torch.ones(megabytes * 1024, 256)
    vector = torch.ones(256)
    jobs = numbers.sum, lambda: numbers @ vector
    return numbers.nbytes / min(on_any_threads(job) for job in jobs)


def peak_flops(size=1024):
    """FLOPs a second of this machine in products of float32 matrices."""
    matrix = torch.ones(size, size)
    return 2 * size**3 / on_any_threads(lambda: matrix @ matrix)


def on_any_threads(function):
    """The shorter time on one thread and on all: others may need the machine, too."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = seconds(function)
    finally:
        torch.set_num_threads(threads)
    return min(alone, seconds(function))


class Traffic(TorchDispatchMode):
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
