"""A kernel compiled by g++ computes, and what stands in its way is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import kernels
from helpers.kernels import build, needs_compiler, put_first, times

from rwkv_book.compiled import cpu

pytestmark = needs_compiler


@pytest.mark.parametrize("channels", [1, 15, 16, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_kernel_works_on_every_number_and_on_no_other(dtype, channels):
    x, y = torch.randn(3, channels).to(dtype), torch.full((4, channels), torch.nan)
    y, stored = y.to(dtype), str(dtype).removeprefix("torch.")
    stored = {"float32": "float", "float64": "double"}.get(stored, stored)
    cpu.run_kernel(times, "every", stored, "cpu", 3, channels, 1, channels, x, y)
    assert torch.equal(y[:3], 2 * x) and y[3].isnan().all()


def test_a_kernel_that_gets_too_few_arguments_is_not_called():
    with pytest.raises(TypeError, match="takes 3 arguments, got 2"):
        cpu.run_kernel(times, "every", "float", "cpu", 1, 1, 1, 1, torch.ones(1))


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "Zwischen speicher 缓存 'é\""))
    build()


def test_without_a_compiler_the_error_says_what_to_do(cache, monkeypatch):
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(RuntimeError, match=r"no g\+\+.*install g\+\+, or use your fin"):
        build()


def test_what_a_compiler_complains_about_is_passed_on(cache, tmp_path, monkeypatch):
    put_first(tmp_path / "bin", "echo no such flag >&2; exit 1", monkeypatch)
    with pytest.raises(RuntimeError, match=r"use your fingers(.|\n)*no such flag"):
        build()


def test_what_cannot_be_loaded_is_named(cache, tmp_path, monkeypatch):
    script = """
    while [ $# -gt 0 ]; do [ "$1" = -o ] && echo broken > "$2"; shift; done
    exit 0"""
    put_first(tmp_path / "bin", script, monkeypatch)
    sentence = r"can't be loaded .*XDG_CACHE_HOME .* may run, or use your fingers"
    with pytest.raises(RuntimeError, match=sentence):
        build()


LIBRARIES_OF_THREADS = """
from pathlib import Path
from helpers.kernels import times
from rwkv_book.compiled import cpu
cpu.library(times, "float")
loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
print(*sorted(path for path in loaded if "libgomp" in path))
"""


def test_threads_are_those_of_pytorch(cache):
    """Two libraries of threads would wait for each other's on every CPU.

    In a process of its own: other tests may have loaded others here.
    """
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs Linux, which lists the libraries of a process")
    found = subprocess.run(
        [sys.executable, "-c", LIBRARIES_OF_THREADS],
        env={**os.environ, "PYTHONPATH": str(Path(kernels.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(found.stdout.split()) == 1, found.stdout
