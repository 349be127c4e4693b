"""A source on a CPU: compiled by g++ in about half a second, called through ctypes.

A kernel is a C function there, whose threads OpenMP deals out to the same pool of
threads that PyTorch computes with.
"""

import ctypes
import shutil
import subprocess
from functools import cache

import torch

from rwkv_book.compiled.cache import compiled

# Not -ffast-math: infinities have a meaning here, and linking with it changes how some
# processors round, for the whole process.
FLAGS = ["-x", "c++", "-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC"]
ONE_PASS = False  # it is one anyway
FEWEST_CHUNKS = 4  # with fewer, reading the keys twice takes longer than it saves
WORTH_WAKING = 16_384  # keys a worker: with fewer, waking it takes longer than the work


def run_kernel(source, kernel, stored, device, rows, channels, tokens, *arguments):
    """Run a kernel of a source on rows · channels sums, `tokens` for each of them.

    `stored` is a value of STORED in hardware.h; `arguments` are tensors, integers or
    None. TypeError where the kernel takes another number of them.
    """
    source.check(kernel, arguments)
    worth = 1 + rows * channels * tokens // WORTH_WAKING
    workers = min(torch.get_num_threads(), worth)
    words = (as_word(argument) for argument in (workers, rows, *arguments))
    getattr(library(source, stored), kernel)(*words)


def as_word(argument):
    """An integer, or the address of a tensor's numbers, or of nothing."""
    if isinstance(argument, torch.Tensor):
        argument = argument.data_ptr()
    return ctypes.c_longlong(argument or 0)


def sums_at_once(device):
    """How many sums this machine works on at the same time: vectors · workers."""
    return 16 * torch.get_num_threads()


def rooms(groups):
    """How many places there are for what a group of threads keeps: one a worker."""
    return torch.get_num_threads()


@cache
def library(source, stored):
    """The kernels for one type of keys. RuntimeError where they can't be had."""
    flags = [*FLAGS, f"-DSTORED={stored}"]
    # What the compiler predefines: its version, and what -march=native found here.
    here = run_compiler([*FLAGS, "-dM", "-E", "-"], "", source.instead)

    def compile(path):
        options = [*flags, "-shared", "-o", str(path), "-"]
        run_compiler(options, source.whole, source.instead)

    with compiled(source, ".so", [*flags, here], compile) as path:
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            raise RuntimeError(
                f"The compiled operator can't be loaded ({error}): let XDG_CACHE_HOME "
                f"name a folder from which programs may run, or {source.instead}"
            ) from error


def run_compiler(options, text, instead):
    """What g++ prints when it gets a text; RuntimeError when it has a complaint."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise RuntimeError(
            f"There is no g++ to compile the operator: install g++, or {instead}"
        )
    result = subprocess.run(
        [compiler, *options], input=text.encode(), capture_output=True, check=False
    )
    if result.returncode:
        complaint = result.stderr.decode(errors="replace").strip()
        raise RuntimeError(
            f"{compiler} can't compile the operator: get another g++, or {instead}\n"
            + complaint[:2000]
        )
    return result.stdout.decode(errors="replace")
