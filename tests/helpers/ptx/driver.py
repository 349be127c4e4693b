"""NVIDIA's driver, as far as cuda.core asks it; its GPU is a machine for PTX.

As the real one, it takes PTX in place of machine code.
"""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tools.ptx import machine
from tools.ptx.program import programs

NOT_FOUND, ILLEGAL_ADDRESS = 500, 700  # errors of CUDA
LOAD = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_char_p)
FIND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long, ctypes.c_char_p)
LAUNCH = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_long,
    ctypes.c_char_p,
    *(2 * [ctypes.c_uint]),
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(ctypes.c_uint64)),
)


class Launched(NamedTuple):
    """A kernel that was launched."""

    kernel: str
    grid: int
    block: int
    stream: int
    device: int


class Driver:
    """The one driver of this process.

    `memory` are the arrays that the next kernel may touch, pairs (address, bytes);
    `refuses` an error that it answers when it is to load code; `captures` says whether
    what is launched goes into a CUDA graph. After a Fault, which
    stands in `fault`, a launch ends as it does on a GPU: with an error.
    """

    def __init__(self, library):
        self.library, self.images = library, {}
        library.context_now.restype = ctypes.c_void_p
        self.hooks = LOAD(self.load), FIND(self.find), LAUNCH(self.launch)
        library.python_says(*self.hooks)
        self.forget()

    def forget(self):
        """Be as a driver to which nothing has happened yet."""
        self.memory, self.refuses, self.fault = [], 0, None
        self.captures = False
        self.loads, self.launched = 0, []

    def has_context(self):
        """Whether this thread has a context."""
        return self.library.context_now() is not None

    @property
    def unloads(self):
        """How many libraries were given back since this process began."""
        return ctypes.c_int.in_dll(self.library, "unloads").value

    def load(self, image):
        self.loads += 1
        if self.refuses:
            return -self.refuses
        if image not in self.images:
            self.images[image] = programs(image.decode())
        return 1 + list(self.images).index(image)

    def programs(self, library):
        return list(self.images.values())[library - 1]

    def find(self, library, name):
        return 0 if name.decode() in self.programs(library) else NOT_FOUND

    def run(self, program, words, grid, block, **options):
        machine.run(program, words, grid, block, self.memory, **options)

    def launch(self, library, name, grid, block, stream, device, parameters):
        program = self.programs(library)[name.decode()]
        self.launched.append(Launched(name.decode(), grid, block, stream or 0, device))
        words = [parameters[i][0] for i in range(program.parameters)]
        try:
            self.run(program, words, grid, block)
        except machine.Fault as fault:
            self.fault = fault
            return ILLEGAL_ADDRESS
        return 0


@cache
def driver():
    """The driver, which from now on answers for libcuda.so.1 in this process."""
    source = Path(__file__).with_name("driver.c")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "libcuda.so.1")
        flags = ["-w", "-fPIC", "-shared", f"-Wl,-soname,{path.name}", "-o", path]
        subprocess.run(["g++", "-x", "c", source, *flags, "-ldl"], check=True)
        return Driver(ctypes.CDLL(str(path)))
