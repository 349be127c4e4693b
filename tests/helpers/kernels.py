"""Kernels of another text, one without RWKV, and a compiler that does as it is told."""

import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from unittest import mock

import pytest

from rwkv_book.compiled import cpu
from rwkv_book.compiled.source import Source
from rwkv_book.rwkv4.kernels import BACKENDS

# In CI a missing compiler is an error, not a reason to test less.
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or os.environ.get("CI")),
    reason="there is no g++ (on Debian: apt-get install g++)",
)
TIMES = """constexpr int FACTOR = 2;

struct Pair { real one, other; };

DEVICE real times(real x) { return x * (scalar)FACTOR; }

// So many times every number. x, y (rows,C)
KERNEL(every, index C, const stored* x, stored* y) {
  EACH_THREAD {
    index row = thread / vectors(C), channel = thread % vectors(C) * LANES;
    int lanes = C - channel < LANES ? C - channel : LANES;
    index at = row * C + channel;
    store(y + at, times(load(x + at, lanes)), lanes);
  }
}
"""
INSTEAD = "use your fingers."
times = Source(TIMES, name="times.cu", instead=INSTEAD, kept=True)


def build(stored="float"):
    """Compile and load, whatever this process has loaded before."""
    return cpu.library.__wrapped__(times, stored)


@cache
def with_text(source, text):
    """A source whose text is another one; what is compiled from it is kept nowhere."""
    return replace(source, text=text, kept=False)


@contextmanager
def compiled_from(text):
    """Within it a CPU's operators are compiled from a text that is not their own."""

    def run_kernel(source, *rest):
        cpu.run_kernel(with_text(source, text), *rest)

    instead = SimpleNamespace(**vars(cpu) | {"run_kernel": run_kernel})
    with mock.patch.dict(BACKENDS, cpu=instead):
        yield


def a_compiler(folder, script):
    """A folder with a program in it that is called g++."""
    folder.mkdir()
    (folder / "g++").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "g++").chmod(0o755)
    return folder


def put_first(folder, script, monkeypatch):
    """Put a program called g++ before all others."""
    a_compiler(folder, script)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
