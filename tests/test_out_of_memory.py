"""Whoever says that there is not enough memory is understood."""

import errno

import numpy as np
import pytest
import torch

from rwkv_book import out_of_memory

FAR = 10**15  # numbers: more bytes than a processor can address


@pytest.mark.parametrize(
    "ask",
    [
        lambda: np.empty(FAR),
        lambda: np.empty(2**62),
        lambda: np.empty(10**30),
        lambda: [0] * FAR,
        lambda: torch.empty(FAR),
        lambda: torch.empty(2**62, 4),
    ],
)
def test_numpy_python_and_pytorch_are_understood(ask):
    with pytest.raises((MemoryError, RuntimeError, ValueError)) as caught:
        ask()
    assert out_of_memory.ran_out(caught.value)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(FAR, device="cuda")
    assert out_of_memory.ran_out(caught.value)


def test_the_system_is_understood_and_other_errors_are_none_of_memory():
    assert out_of_memory.ran_out(OSError(errno.ENOMEM, "Cannot allocate memory"))
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("shape '[3]' is invalid"),
        ValueError("an array is no number"),
        TypeError("out of memory"),
    ):
        assert not out_of_memory.ran_out(error)
