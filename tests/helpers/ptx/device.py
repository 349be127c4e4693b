"""The operators of the book on a GPU that runs PTX, with tensors of a CPU.

`compiled.gpu` and cuda.core are what they are; PyTorch's own CUDA is not asked.
"""

from contextlib import contextmanager, nullcontext
from functools import cache
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from helpers.kernels import needs_compiler
from helpers.ptx.driver import driver
from helpers.ptx.nvrtc import needs_nvrtc, ptx
from rwkv_book.compiled import gpu
from rwkv_book.rwkv4.kernels import BACKENDS

pytestmark = [
    needs_compiler,
    needs_nvrtc,
    pytest.mark.skipif(
        torch.version.cuda is not None,
        reason="needs a CPU build of PyTorch, which does not look for a driver itself",
    ),
]
MULTIPROCESSORS = 132


@contextmanager
def on_ptx(architecture="sm_90", stream=0):
    """Within it the operators run on the stand-in for a GPU; gives its Driver.

    AssertionError at its end if a kernel did what it may not.
    """
    found = driver()
    found.forget()
    properties = SimpleNamespace(multi_processor_count=MULTIPROCESSORS)

    def run_kernel(source, kernel, stored, device, *rest):
        tensors = [x for x in rest if isinstance(x, torch.Tensor)]
        found.memory = [(x.data_ptr(), x.nbytes) for x in tensors]
        gpu.run_kernel(source, kernel, stored, device, *rest)

    backend = SimpleNamespace(
        run_kernel=run_kernel,
        sums_at_once=gpu.sums_at_once,
        rooms=gpu.rooms,
        FEWEST_CHUNKS=gpu.FEWEST_CHUNKS,
    )
    pretended = {
        "device": lambda device: nullcontext(),
        "current_stream": lambda device: SimpleNamespace(cuda_stream=stream),
        "get_device_properties": lambda device: properties,
        "current_device": lambda: 0,
        "is_current_stream_capturing": lambda: False,
    }
    with (
        mock.patch.multiple(torch.cuda, **pretended),
        mock.patch.dict(BACKENDS, cpu=backend),
        mock.patch.object(gpu, "architecture", lambda number: architecture),
        mock.patch.object(gpu, "load", cache(gpu.load.__wrapped__)),
        mock.patch.object(gpu, "compile_for", as_ptx),
    ):
        yield found
    if found.fault:
        raise found.fault


def as_ptx(source, stored, architecture):
    """What the driver gets in place of machine code."""
    return ptx(source.whole, stored, architecture)
