"""Runs programs of PTX thread by thread, and looks at every access to memory."""

import ctypes
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from tools.ptx.program import INSTRUCTIONS

FAULTS = {  # by the letters that machine.h knows them by
    "O": "reads or writes outside of every array",
    "A": "is not aligned",
    "W": "writes what another thread wrote",
    "R": "reads what another thread writes, or the other way round",
    "C": "reads as constant what this kernel writes",
    "U": "reads what nobody wrote",
    "0": "divides by 0",
    "E": "does not end",
    "B": "waits at a barrier to which others of its block don't come",
}
NAMES = list(INSTRUCTIONS)
PATIENCE = 50_000_000  # instructions of a thread
FLAGS = ["-std=c++17", "-O1", "-march=native", "-ffp-contract=off", "-fwrapv", "-w"]


class Fault(AssertionError):
    """What a kernel may not do: its `kind`, of FAULTS, and where it did it.

    `instruction` is the name of what `thread` did, `where` in memory, or in which
    register, and `other` the thread that it met there, or None.
    """

    def __init__(
        self, sentence, kind="", instruction="", thread=0, where=0, other=None
    ):
        super().__init__(sentence)
        self.kind, self.instruction, self.thread = kind, instruction, thread
        self.where, self.other = where, other


class Given(ctypes.Structure):
    """Program in machine.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("instructions", "registers", "given")),
        *((name, ctypes.c_int64) for name in ("count", "size", "bytes", "shared")),
    )


@cache
def library():
    """The machine, compiled once a process."""
    cases = []
    for code, text in enumerate(INSTRUCTIONS.values()):
        reads = "".join(
            f"Register {x} = read(x.{x}); "
            for x in "abc"
            if re.search(rf"\b{x}\b[.)]|&{x}\b", text)
        )
        end = "break" if re.search(r"\bd\b", text) else "continue"
        cases.append(f"case {code}: {{ {reads}{text} }} {end};")
    source = Path(__file__).with_name("machine.h").read_text("utf-8")
    source = source.replace("/* INSTRUCTIONS */", "\n".join(cases))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "machine.so")
        command = ["g++", *FLAGS, "-x", "c++", "-fPIC", "-shared", "-o", path, "-"]
        subprocess.run(command, input=source.encode(), check=True)
        return ctypes.CDLL(str(path))


def run(
    program,
    words,
    grid,
    block,
    memory,
    threads=None,
    units=True,
    watch=True,
    patience=PATIENCE,
):
    """Run a kernel: how many instructions its threads did together.

    Fault at the first thing that it may not do.

    `words` are its parameters, `memory` pairs (address, bytes) of the arrays that it
    may touch, `threads` those that run, in this order (all, in a random one). `units`:
    whether approximate instructions are as wrong as they may be. `watch`: whether
    races are looked for. `patience`: how many instructions a thread may do.
    """
    if len(words) != program.parameters:
        raise Fault(f"{program.name} takes {program.parameters} parameters: {words}")
    if threads is None:
        threads = np.random.default_rng(0).permutation(grid * block)
    threads = np.ascontiguousarray(threads, "<u8")
    memory = np.array(memory, "<u8").reshape(-1, 2)
    registers = program.registers.copy()
    registers[4 : 4 + len(words)] = [word % 2**64 for word in words]
    given = Given(
        program.instructions.ctypes.data,
        registers.ctypes.data,
        program.given.ctypes.data,
        len(program.instructions),
        len(registers),
        program.local,
        program.shared,
    )
    found = (ctypes.c_uint64 * 5)()
    kind = library().run(
        ctypes.byref(given),
        ctypes.c_void_p(memory.ctypes.data),
        ctypes.c_int64(len(memory)),
        ctypes.c_void_p(threads.ctypes.data),
        ctypes.c_int64(len(threads)),
        ctypes.c_uint32(block),
        ctypes.c_uint32(grid),
        ctypes.c_int(units),
        ctypes.c_int(watch),
        ctypes.c_int64(patience),
        found,
    )
    now, thread, where, other, done = found
    if kind:
        row = program.instructions[now]
        raise Fault(
            f"thread {thread} of {program.name} {FAULTS[chr(kind)]}: line "
            f"{row['line']} of the PTX, {where:#x}",
            chr(kind),
            NAMES[row["code"]],
            thread,
            where,
            other - 1 if other else None,
        )
    return done
