"""A `__global__` function on the machine for PTX: `compiled.warps` once more.

There g++ compiles the text; here NVRTC does, as it would for a GPU, and every
instruction that it makes of it is run.
"""

from typing import NamedTuple

import numpy as np

from rwkv_book.compiled import nvrtc, warps
from tools.ptx import machine
from tools.ptx.program import programs

WRAPPED = 1 << 32
BETWEEN = 1 << 16  # bytes between arrays, so that a stray address has a nearest one
CALL = "\tcall"  # PTX's own
KINDS = {"W": "twice", "R": "race", "0": "divides", "E": "endless"}  # others: a crash


class Launched(NamedTuple):
    """After a launch: the arrays, and what all threads did. No sectors are counted."""

    arrays: dict
    instructions: int
    threads: int
    sectors: dict
    least: dict


def launch(text, arguments, threads, block=64, seed=0):
    """As `compiled.warps.launch`, which says what the arguments are."""
    kernel, parameters = warps.signature(text)
    warps.check_arguments(kernel, parameters, arguments)
    program = translated(text)
    given = dict(zip((name for name, _ in parameters), arguments, strict=True))
    arrays = placed({n: x for n, x in given.items() if isinstance(x, np.ndarray)})
    words = [arrays[n].ctypes.data if n in arrays else x for n, x in given.items()]
    memory = [(array.ctypes.data, array.nbytes) for array in arrays.values()]
    grid = -(-threads // block)
    order = np.random.default_rng(seed).permutation(grid * block)
    try:
        done = machine.run(program, words, grid, block, memory, order)
    except machine.Fault as fault:
        raise as_fault(fault, arrays, block) from None
    return Launched(arrays, done, len(order), {}, {})


def translated(text):
    """The one Program that NVRTC makes of a text; Fault where it makes none.

    RuntimeError without NVRTC.
    """
    try:
        ptx = nvrtc.ptx(text)
        if CALL in ptx:
            raise warps.Fault(
                "NVRTC leaves a function of yours beside the kernel, and the machine "
                "runs the kernel alone: take __noinline__ away, and write a function "
                "that calls itself as a loop",
                "compiler",
            )
        (program,) = programs(ptx).values()
    except nvrtc.Complaint as complaint:
        raise warps.Fault(str(complaint), "compiler") from None
    except ValueError as error:
        raise warps.Fault(
            f"the machine gives up: {error}; ask exercises.check", "compiler"
        ) from None
    return program


def placed(arrays):
    """Copies of all arrays, far from each other in one piece of memory."""
    ends = np.cumsum([array.nbytes + BETWEEN for array in arrays.values()])
    memory, copies = np.zeros(ends[-1] + BETWEEN, "u1"), {}
    first = -memory.ctypes.data % 256  # as a GPU's arrays begin
    for end, (name, array) in zip(ends, arrays.items(), strict=True):
        begin = first + (end - array.nbytes) // 256 * 256
        place = memory[begin : begin + array.nbytes].view(array.dtype)
        copies[name] = place.reshape(array.shape)
        copies[name][...] = array
    return copies


def as_fault(fault, arrays, block):
    """The Fault that `compiled.warps` has for what the machine found."""
    if fault.kind in "OWR":
        name = min(arrays, key=lambda name: distance(fault.where, arrays[name]))
        array = arrays[name]
        at = (fault.where - array.ctypes.data) // array.itemsize
        access = "writes" if fault.instruction.startswith("st") else "reads"
        kind, other = KINDS.get(fault.kind, access), fault.other or 0
        return warps.as_fault([kind, name, at, fault.thread, other], arrays, block)
    number, place = divmod(fault.thread, block)
    more = ": give it a value first" if fault.kind == "U" else ""
    return warps.Fault(
        f"thread {place} of block {number} {machine.FAULTS[fault.kind]}{more}",
        KINDS.get(fault.kind, "crash"),
    )


def distance(address, array):
    """How far an address is from an array's bytes: 0 within.

    An unsigned index that went below 0 is 2^32 numbers beyond its place.
    """
    begin, end = array.ctypes.data, array.ctypes.data + array.nbytes
    if address - end > WRAPPED // 2 * array.itemsize:
        address -= WRAPPED * array.itemsize
    return max(begin - address, address - end + 1, 0)
