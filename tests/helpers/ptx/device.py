"""The operators of the book on a GPU that runs PTX, with tensors of a CPU.

`compiled.gpu` and cuda.core are what they are; what a launch asks PyTorch is answered
here.
"""

from contextlib import contextmanager, nullcontext
from unittest import mock

import pytest
import torch

from helpers.kernels import needs_compiler, with_text
from helpers.ptx.driver import driver
from helpers.ptx.nvrtc import needs_nvrtc, ptx
from rwkv_book.compiled.gpu import Gpu
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
def on_ptx(architecture="sm_90", number=0, stream=0, text=None):
    """Within it the operators run on the stand-in for a GPU; gives its Driver.

    With a `text` they are compiled from it in place of their own. AssertionError at its
    end if a kernel did what it may not.
    """
    found = driver()
    found.forget()
    asked = Answers(found, architecture, number, stream)
    gpu = Ptx(asked, compile=as_ptx)
    gpu.text = text
    with mock.patch.dict(BACKENDS, cpu=gpu):
        yield found
    if found.fault:
        raise found.fault


class Ptx(Gpu):
    """A GPU that may touch only what a launch is given."""

    text = None  # what kernels are compiled from, where it is not their own

    def run_kernel(self, source, kernel, stored, device, *rest):
        tensors = [x for x in rest if isinstance(x, torch.Tensor)]
        self.asked.driver.memory = [(x.data_ptr(), x.nbytes) for x in tensors]
        source = with_text(source, self.text) if self.text else source
        super().run_kernel(source, kernel, stored, device, *rest)


class Answers:
    """What compiled.gpu.PyTorch says, of one GPU on which PyTorch has no tensors."""

    def __init__(self, driver, architecture, number, stream):
        self.driver, self.number = driver, number
        self.architecture = lambda number: architecture
        self.stream = lambda device: stream
        self.multiprocessors = lambda device: MULTIPROCESSORS

    def chosen(self, device):
        return nullcontext(self.number)

    def captures(self):
        return self.driver.captures


def as_ptx(source, stored, architecture):
    """What the driver gets in place of machine code."""
    return ptx(source.whole_on_gpu, stored, architecture)
