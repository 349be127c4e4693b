"""What could go wrong on the first GPU, tried on a stand-in for its driver."""

from threading import Thread

import pytest
import torch
from helpers.kernels import INSTEAD, times
from helpers.ptx import device
from helpers.ptx.device import on_ptx
from torch.utils._python_dispatch import TorchDispatchMode

from rwkv_book.compiled import gpu
from rwkv_book.rwkv4 import kernels
from rwkv_book.rwkv4.kernels import BACKENDS

pytestmark = device.pytestmark


def double(x):
    """2 x, by the kernel of `helpers.kernels`."""
    y = torch.full_like(x, torch.nan)
    rows, channels = x.shape
    BACKENDS["cpu"].run_kernel(
        times, "every", "float", x.device, rows, channels, 1, channels, x, y
    )
    return y


def test_a_launch_has_a_thread_for_every_number_in_small_blocks_on_the_stream():
    x = torch.randn(3, 33)
    with on_ptx(stream=0x7F0012345678) as driver:
        assert torch.equal(double(x), 2 * x)
    assert driver.launched == [("every", 4, gpu.BLOCK, 0x7F0012345678, 0)]


def test_a_kernel_is_loaded_once_and_a_stream_is_named_once():
    gpu.stream.cache_clear()
    with on_ptx(stream=5) as driver:
        unloads = driver.unloads
        for rows in (1, 2, 2):
            double(torch.ones(rows, 40))
        assert driver.unloads == unloads
    assert driver.loads == 1
    assert [launched.grid for launched in driver.launched] == [2, 3, 3]
    assert gpu.stream.cache_info().misses == 1


def test_code_that_the_driver_cannot_load_is_refused_with_an_alternative():
    """As an old driver refuses what a new NVRTC made."""
    with on_ptx() as driver:
        driver.refuses = 222  # CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        sentence = (
            r"unsupported toolchain.*get a driver for CUDA 1\d\.\d+ or newer, or "
        )
        with pytest.raises(RuntimeError, match=sentence + INSTEAD):
            double(torch.ones(1, 1))
        driver.refuses = 0
        assert double(torch.ones(1, 1)) == 2  # a refusal is not kept


def test_a_thread_without_a_context_gets_one():
    found = []
    with on_ptx() as driver:

        def launch():
            before = driver.has_context()
            found.extend([before, double(torch.ones(2, 2)), driver.has_context()])

        thread = Thread(target=launch)
        thread.start()
        thread.join()
    assert found[0] is False and found[2] is True
    assert (found[1] == 2).all()


def test_another_gpu_is_made_current():
    with on_ptx(number=1) as driver:
        assert (double(torch.ones(2, 2)) == 2).all()
    assert [launched.device for launched in driver.launched] == [1]


def test_nothing_is_loaded_while_a_graph_is_captured():
    """A first launch in one would load its kernel there, which CUDA does not allow."""
    with on_ptx() as driver:
        driver.captures = True
        with pytest.raises(RuntimeError, match=r"graph is captured: call it once befo"):
            double(torch.ones(2, 2))
        assert driver.loads == 0
        driver.captures = False
        double(torch.ones(2, 2))
        driver.captures = True
        assert (double(torch.ones(2, 2)) == 2).all()


class Operators(TorchDispatchMode):
    """Within it, what PyTorch is asked for: pairs (name, axes of the first tensor)."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        first = next((x for x in args if isinstance(x, torch.Tensor)), None)
        self.asked.append((str(function), first.ndim if first is not None else 0))
        return function(*args, **(kwargs or {}))


def test_between_the_launches_is_nothing_that_a_graph_cannot_hold():
    """No number that Python reads; and PyTorch's deterministic scatter copies strides
    from the host where there is more than one axis."""
    after, by_after, by_state = (torch.rand(2, 4, 5) for _ in range(3))
    after[:, 3] = torch.arange(10).view(2, 5)
    by_key, by_rate = torch.zeros(2, 8, 5), torch.zeros(5)
    with Operators() as operators:
        kernels.add_gradients_of_the_scale(after, by_after, by_rate, by_key, by_state)
    names = [name for name, _ in operators.asked]
    assert not any("local_scalar" in name or "to_copy.cpu" in name for name in names)
    scattered = [axes for name, axes in operators.asked if "scatter" in name]
    assert scattered == [1]
    num, den = by_after[:, 0] * after[:, 0], by_after[:, 1] * after[:, 1]
    rest = by_after[:, 2] - num - den
    for b, c in torch.cartesian_prod(torch.arange(2), torch.arange(5)).tolist():
        wanted = torch.zeros(8)
        age = int(after[b, 3, c])
        if age < 8:
            wanted[7 - age] = rest[b, c]
        assert torch.allclose(by_key[b, :, c], wanted), (b, c)
