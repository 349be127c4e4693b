"""A kernel compiled by NVRTC, which takes no GPU; launches, on one."""

import sys

import pytest
import torch
from helpers.kernels import times

from rwkv_book.compiled import gpu

needs_nvrtc = pytest.mark.skipif(
    sys.platform == "darwin", reason="the extra `cuda` is not for macOS"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "rwkv-book" / "compiled"


@needs_nvrtc
def test_any_kernel_compiles_for_a_gpu(cache):
    code = gpu.compile_for(times, "float", "sm_90")
    assert code.startswith(b"\x7fELF") and b"every\0" in code
    (path,) = cache.iterdir()
    assert path.read_bytes() == code and path.suffix == ".cubin"


@needs_nvrtc
def test_what_nvrtc_complains_about_is_passed_on(cache):
    with pytest.raises(RuntimeError, match=r"use your fingers(.|\n)*nonsense"):
        gpu.compile_for(times, "nonsense", "sm_90")
    assert list(cache.iterdir()) == []


def test_without_cuda_core_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    with pytest.raises(RuntimeError, match=r"'rwkv-book\[cuda\]', or count sheep"):
        gpu.cuda_packages("count sheep")


@pytest.mark.parametrize("threads", [1, 32, 33, 6 * 33, 2**40])
def test_blocks_have_a_thread_for_every_sum_or_are_as_many_as_can_be(threads):
    blocks = gpu.blocks(threads)
    assert blocks * gpu.BLOCK >= threads or blocks == 2**31 - 1
    assert (blocks - 1) * gpu.BLOCK < threads


def test_an_argument_is_a_word():
    numbers = torch.zeros(3)
    words = [gpu.as_word(argument) for argument in (5, numbers, None)]
    assert words == [5, numbers.data_ptr(), 0]
    assert all(type(word) is int for word in words)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_launch_on_a_gpu_works_on_every_number_and_on_no_other():
    x, y = torch.randn(3, 33).cuda(), torch.full((4, 33), torch.nan).cuda()
    gpu.Gpu().run_kernel(times, "every", "float", x.device, 3, 33, 1, 33, x, y)
    assert torch.equal(y[:3], 2 * x) and y[3].isnan().all()
