"""How fast would `wkv.cu` be on an H100? *Predicted*: no GPU has run it.

    pip install -e '.[test]'
    python benchmarks/predicted.py --dtype=bfloat16 --shape 8 4096 768
    python benchmarks/predicted.py --record

The kernels are compiled for the H100 by NVRTC, and NVIDIA's disassembler lists the
machine code. A model of one scheduler of a multiprocessor then issues the loop over
tiles for all the warps that it holds: one instruction a cycle, in order within a warp,
each when its registers are there and its unit is free. A kernel takes as long as that,
or as its bytes at the bandwidth of memory, whichever is longer, and every launch adds a
microsecond. Before its tiles a thread of `forward` and `backward` walks over the sums
of the chunks before or after its own: the walk of the one that goes furthest is added
whole, as if nothing else were read meanwhile, and nothing of it were in a cache.

Without chunks, every key is read once: there the warps of a block wait for each other,
and the model issues those of the scheduler that has most to do, on a multiprocessor
that has most blocks. It takes every tile as even, as `one_pass.cu` calls it.

What the model leaves out: caches, what PyTorch does between launches, and the ends of
loops. Its latencies are round numbers (LATENCY), so its answer is worth one digit: good
for asking which of two texts is faster, and by about how much.

`--record` writes down what comes out for many shapes and numbers of chunks, and which
of these `wkv_fused` chooses.
"""

import argparse
import math
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import measure
import torch

from rwkv_book.compiled import gpu
from rwkv_book.compiled.roofline import least_bytes
from rwkv_book.compiled.source import replaced
from rwkv_book.rwkv4 import bounds
from rwkv_book.rwkv4.kernels import SOURCE, STORED, enough_chunks

# An H100 with HBM3: NVIDIA, "H100 Tensor Core GPU Architecture".
MULTIPROCESSORS, SCHEDULERS, CLOCK, BANDWIDTH = 132, 4, 1.755e9, 3.35e12
REGISTERS, WARPS = 16_384, 16  # of a scheduler; registers go to warps by 256
SUSTAINED = 0.9  # of the bandwidth is what a copy gets
MEMORY_LATENCY = 650  # cycles, with other warps asking too
LAUNCH = 1e-6  # seconds until a kernel that was queued before is under way
LATENCY = {"MUFU": 22, "LDC": 30, "LDS": 30, "LDL": 30}  # a thread's own memory: cached
LATENCY |= {"I2F": 22, "F2I": 22, "F2F": 22}  # else 4
# Cycles for which an instruction of a warp keeps its unit: 32 lanes over its width.
UNITS = {
    "MUFU": 8,
    "I2F": 8,
    "F2I": 8,
    "F2F": 8,
    "ALU": 2,
    "IMAD": 2,
    "FMA": 1,
    "MEMORY": 4,
    "MEETING": 1,
}
ALU = [
    "FSEL",
    "FSETP",
    "FMNMX",
    "ISETP",
    "IADD3",
    "LOP3",
    "SHF",
    "SEL",
    "LEA",
    "PRMT",
    "P2R",
    "R2P",
    "PLOP3",
    "IMNMX",
    "VIMNMX",
    "MOV",
    "FCHK",
    "CSEL",
    "IABS",
]
PASSES = {  # the kernels of each, with more than one chunk
    "forward": ("sum_chunks", "forward"),
    "backward": ("sum_adjoints", "backward"),
}
ONCE = "_in_one_pass"
UNEVEN = (  # what one_pass.cu does for other tiles than even ones, and nothing instead
    ("later(no_token(), key + row, value + row, C, rows, w)", "no_token()"),
    ("ROLLED for (int i = 0; i < rows; i++, row += C) {", "for (; false;) {"),
    (
        "adjoints(entering, key + row, value + row, grad_out + row, C, rows, u, w)",
        "own",
    ),
    ("ROLLED for (int i = rows - 1; i >= 0; i--) {", "for (int i = 0; false;) {"),
)
STATE = 4  # numbers, each of them a read
SHAPES = [(batch, length, 768) for batch in (1, 8, 32) for length in (1024, 4096)]
SHAPES += [(1, 65_536, 768), (4, 4096, 768), (8, 512, 256), (8, 1024, 2048)]
SHAPES += [(batch, 4096, 2048) for batch in (1, 8, 16, 32)]
SHAPES += [(1, 4096, 4096), (8, 4096, 4096)]
TRIED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # chunks
NO_RESULT = ("ST", "BRA", "BSSY", "BSYNC", "EXIT", "RED", "NOP", "WARPSYNC", "BAR")


class Instruction(NamedTuple):
    """Of a warp: registers written and read, and which unit it keeps for how long."""

    writes: tuple
    reads: tuple
    unit: str
    latency: int


def disassembler():
    """The path of nvdisasm: on PATH, or beside NVRTC; None where there is none."""
    beside = Path(sys.prefix).glob("lib/python*/site-packages/nvidia/*/bin/nvdisasm")
    return shutil.which("nvdisasm") or next(map(str, beside), None)


def listing(code):
    """{kernel: its text} of machine code. SystemExit without a disassembler."""
    if disassembler() is None:
        sys.exit("There is no nvdisasm: pip install -e '.[test]', on Linux")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [disassembler(), "-c", file.name]
        text = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout
    parts = re.findall(r"\.text\.(\w+):\n(.*?)(?=\n\s*//-+ \.|\Z)", text, re.DOTALL)
    return dict(parts)


def tile_loop(text, at_least=150, writes=False):
    """The Instructions of the innermost of a kernel's loops that are long enough.

    `writes`: of those that write to memory.
    """
    return tuple(instruction(*row) for row in loop_rows(text, at_least, writes))


def loop_rows(text, at_least=150, writes=False):
    """Its lines of machine code, each as (name, operands)."""
    long = [rows for rows in loops(text) if len(rows) > at_least]
    return min([x for x in long if writes_memory(x) or not writes], key=len)


def walk_loop(text):
    """The Instructions of the loop over chunks, which writes nothing; or none."""
    quiet = [rows for rows in loops(text) if not writes_memory(rows)]
    return tuple(instruction(*row) for row in max(quiet, key=len, default=()))


def writes_memory(rows):
    return any(name.startswith("ST") for name, _ in rows)


def loops(text):
    """The lines of each loop of a kernel, each line as (name, operands)."""
    code = code_of(text)
    return [code.part(loop) for loop in code.loops]


class Code(NamedTuple):
    """The lines of a kernel as (name, operands), and where (begin, end) its loops are.

    Of the lines before each of `places` all run, or none.
    """

    rows: list
    loops: list
    places: list

    def part(self, loop):
        """Its lines."""
        return self.rows[slice(*loop)]

    def count(self, loop, name):
        """How many of its lines have such a name."""
        return sum(row[0].startswith(name) for row in self.part(loop))

    def inside(self, loop):
        """The loops in a loop."""
        begin, end = loop
        return [x for x in self.loops if begin <= x[0] and x[1] <= end and x != loop]


def code_of(text):
    """The Code of a kernel. What stands behind its end and leads back is no loop."""
    rows, labels, loops = [], {}, []
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(rows)
        pattern = r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*?);"
        if found := re.search(pattern, line):
            rows.append(found.groups())
    places = {*labels.values(), len(rows)}
    for end, (name, operands) in enumerate(rows, 1):
        target = re.search(r"\.L_x_\d+", operands)
        if name.startswith("BRA") and target:
            places.add(end)
            if labels[target[0]] < end:
                loops.append((labels[target[0]], end))
    exits = [end for end, (name, _) in enumerate(rows) if name == "EXIT"]
    loops = [loop for loop in loops if not exits or loop[1] <= exits[-1]]
    return Code(rows, loops, sorted(places))


def instruction(name, operands):
    """What the model has to know of a line of machine code."""
    first, _, rest = operands.partition(",")
    if name.startswith(NO_RESULT):
        writes, reads = (), registers(operands)
    else:
        width = 2 if "WIDE" in name else 1
        if name.startswith(("LD", "CS2R")):
            width = next(
                (int(bits) // 32 for bits in ("64", "128") if f".{bits}" in name), 1
            )
        writes, reads = registers(first, width), registers(rest)
    base = name.split(".")[0]
    latency = MEMORY_LATENCY if base in ("LDG", "LD") else LATENCY.get(base, 4)
    unit = base if base in UNITS else "ALU" if base in ALU else "FMA"
    if base in ("LDG", "LD", "STG", "ST"):
        unit = "MEMORY"
    if base == "BAR":
        unit = "MEETING"
    return Instruction(writes, reads, unit, latency)


def registers(operands, width=1):
    """The registers and predicates in a list of operands, each and those behind it."""
    found = set()
    for name, number, more in re.findall(
        r"\b(U?[RP])(\d+)(?:\.reuse)?(\.64)?", operands
    ):
        count = 2 if more else width
        found |= {f"{name}{int(number) + i}" for i in range(count)}
    return tuple(found)


@cache
def cycles_of_a_tile(body, warps, tiles=4):
    """Between the ends of two tiles, when so many warps share a scheduler."""
    return cycles_of(warps * (body,), tuple(range(warps)), tiles)


@cache
def cycles_of(bodies, blocks, passes=4):
    """Between the ends of two passes through a loop, of which each warp has its body.

    `blocks` says to which block a warp belongs: there all wait at a MEETING.
    """
    warps, free = range(len(bodies)), dict.fromkeys(UNITS, 0)
    ready, met = [{} for _ in warps], [[] for _ in warps]
    place, turn = [0 for _ in warps], [0 for _ in warps]
    now, ends = 0, []

    def next_of(warp):
        return bodies[warp][place[warp] % len(bodies[warp])]

    def earliest(warp):
        """When its next instruction can be issued; never, while it waits for others."""
        meetings = len(met[warp])
        others = [other for other in warps if blocks[other] == blocks[warp]]
        if min(len(met[other]) for other in others) < meetings:
            return math.inf
        x, together = next_of(warp), (met[other][meetings - 1] for other in others)
        needs = (ready[warp].get(r, 0) for r in (*x.reads, *x.writes))
        return max(now, free[x.unit], *needs, *(together if meetings else ()), 0)

    while running := [w for w in warps if place[w] < passes * len(bodies[w])]:
        times = {warp: earliest(warp) for warp in running}
        warp = min(running, key=lambda w: (times[w], turn[w]))
        x, issued = next_of(warp), times[warp]
        ready[warp] |= dict.fromkeys(x.writes, issued + x.latency)
        free[x.unit] = issued + UNITS[x.unit]
        turn[warp], now = issued, issued + 1
        place[warp] += 1
        if x.unit == "MEETING":
            met[warp].append(issued)
        if min(place[w] // len(bodies[w]) for w in warps) > len(ends):
            ends.append(now)
    return (ends[-1] - ends[0]) / (passes - 1)


def cycles_of_all(body, warps, held):
    """Of a loop's pass, when so many warps share a scheduler that holds fewer."""
    whole, rest = divmod(warps, held)
    cycles = whole * cycles_of_a_tile(body, held) if whole else 0
    return cycles + (cycles_of_a_tile(body, rest) if rest else 0)


def resident(registers):
    """How many warps find room on a scheduler."""
    size = math.ceil(registers * 32 / 256) * 256
    return min(WARPS, REGISTERS // size)


def moved_bytes(kernel, shape, itemsize, chunks):
    """What a kernel reads and writes: arrays, a state of 16 bytes a tile, and sums."""
    batch, _, channels = shape
    states = math.prod(shape)
    arrays = {"sum_chunks": 2, "forward": 3, "sum_adjoints": 3, "backward": 5}
    arrays = arrays[kernel.removesuffix(ONCE)]
    total = least_bytes(shape, arrays, itemsize)
    sums = batch * channels * 4 * STATE  # of one chunk
    if is_sum(kernel):  # all chunks but one, and their sums are written
        return total * (chunks - 1) / chunks + sums * (chunks - 1)
    return total + states + sums * chunks * (chunks - 1) / 2


class Together(NamedTuple):
    """A kernel whose warps wait for each other: the bodies of a scheduler's warps.

    A pass takes `tokens`; a block has so many `warps`.
    """

    bodies: tuple
    tokens: int
    registers: int
    warps: int


class Listed(NamedTuple):
    """A kernel's loop, how many tokens a pass takes, its registers, its walk.

    `walk` is its loop over chunks, or empty: it reads STATE numbers for each chunk.
    """

    body: tuple
    tokens: int
    registers: int
    walk: tuple


@cache
def listed(source, dtype):
    """{kernel: Listed, or Together} of the machine code for the H100."""
    code, found = gpu.compile_for(source, STORED[dtype], "sm_90"), {}
    for kernel, text in listing(code).items():
        tokens, used, adds = source.number("TILE"), used_registers(text), is_sum(kernel)
        if kernel.endswith(ONCE):
            found[kernel] = used
            continue
        body, walk = tile_loop(text, writes=not adds), () if adds else walk_loop(text)
        found[kernel] = Listed(body, tokens, used, walk)
    if source.on_gpu:
        found |= together(source, dtype, found)
    return found


def together(source, dtype, registers):
    """{kernel: Together} of a text in which all tiles are even."""
    on_gpu, found = source.on_gpu, {}
    for old, new in UNEVEN:
        on_gpu = replaced(on_gpu, old, new)
    source = replace(source, on_gpu=on_gpu, kept=False)
    listed = listing(gpu.compile_for(source, STORED[dtype], "sm_90"))
    warps, tokens = source.number("TOGETHER"), source.number("TILE")
    last = range(warps - 1, 0, -SCHEDULERS)  # tiles before those of a scheduler
    for kernel in (name for name in listed if name.endswith(ONCE)):
        code = code_of(listed[kernel])
        loop = min((x for x in code.loops if code.count(x, "BAR")), key=lambda x: x[1])
        bodies = tuple(unrolled(code, loop, before) for before in last)
        found[kernel] = Together(bodies, tokens * warps, registers[kernel], warps)
    return found


def unrolled(code, loop, times):
    """The Instructions of a pass through a loop, the one inside it gone through."""
    (inner,) = code.inside(loop)
    parts = (loop[0], inner[0]), *times * (inner,), (inner[1], loop[1])
    return tuple(instruction(*row) for part in parts for row in code.part(part))


def walked(walk, chunks, warps):
    """Cycles until the thread that is furthest from its first state has it."""
    if chunks == 1 or not walk:
        return 0
    at_once = sum(x.latency == MEMORY_LATENCY for x in walk) // STATE
    return math.ceil((chunks - 1) / at_once) * cycles_of_a_tile(walk, warps)


def predict(kernels, dtype, shape, chunks, passes=PASSES):
    """A dictionary for every launch, with the seconds in microseconds."""
    batch, length, channels = shape
    chunks, tokens = cut(length, chunks, kernels["forward"].tokens)
    if chunks == 1 and "forward" + ONCE in kernels:
        yield from (once(kernels, one + ONCE, dtype, shape) for one in passes)
        return
    for kernel in (x for one in passes for x in (PASSES[one] if chunks > 1 else [one])):
        body, a_pass, used, walk = kernels[kernel]
        warps, held = (
            warps_for(batch * channels * parts_of(kernel, chunks)),
            resident(used),
        )
        computed = cycles_of_all(body, warps, held) * math.ceil(tokens / a_pass) / CLOCK
        first = walked(walk, chunks, min(warps, held)) / CLOCK
        moved = moved_bytes(kernel, shape, dtype.itemsize, chunks)
        yield row_for(kernel, used, warps, len(body) / a_pass, first, computed, moved)


def once(kernels, kernel, dtype, shape):
    """Such a dictionary for a kernel that reads every key once."""
    batch, length, channels = shape
    bodies, a_pass, used, warps = kernels[kernel]
    blocks = math.ceil(batch * math.ceil(channels / gpu.BLOCK) / MULTIPROCESSORS)
    held = min(blocks, blocks_held(kernels[kernel]))
    whole, rest = divmod(blocks, held)
    cycles = whole * turn(bodies, held) + (turn(bodies, rest) if rest else 0)
    computed = cycles * math.ceil(length / a_pass) / CLOCK
    mean = sum(map(len, bodies)) / len(bodies) / a_pass * warps
    moved = moved_bytes(kernel, shape, dtype.itemsize, 1)
    return row_for(kernel, used, blocks * warps / SCHEDULERS, mean, 0, computed, moved)


def blocks_held(kernel):
    """How many blocks of warps that are Together find room on a multiprocessor."""
    return resident(kernel.registers) * SCHEDULERS // kernel.warps


def turn(bodies, blocks):
    """Cycles of a turn of so many blocks, of which a scheduler has these warps."""
    owners = tuple(block for block in range(blocks) for _ in bodies)
    return cycles_of(blocks * bodies, owners)


def row_for(kernel, registers, warps, instructions, walk, computed, moved):
    """What is predicted of a kernel, times in microseconds."""
    streamed = moved / BANDWIDTH / SUSTAINED
    return {
        "kernel": kernel,
        "registers": registers,
        "warps": warps,
        "instructions": instructions,
        "walk, µs": 1e6 * walk,
        "compute, µs": 1e6 * computed,
        "bytes, µs": 1e6 * streamed,
        "all, µs": 1e6 * (walk + max(computed, streamed) + LAUNCH),
    }


def parts_of(kernel, chunks):
    """How many of the chunks need threads."""
    return chunks - 1 if is_sum(kernel) else chunks


def is_sum(kernel):
    """Whether it sums chunks up, and leaves the last one out."""
    return kernel.startswith("sum")


def warps_for(threads):
    """How many warps each scheduler gets."""
    return math.ceil(threads / 32 / MULTIPROCESSORS / SCHEDULERS)


def cut(length, chunks, tile):
    """(chunks, tokens of a chunk) as `kernels.cut` has them."""
    tokens = math.ceil(length / chunks / tile) * tile
    return math.ceil(length / tokens), tokens


def microseconds(*arguments):
    """All launches of `predict` together."""
    return sum(row["all, µs"] for row in predict(*arguments))


def used_registers(text):
    """How many registers a thread has: they are numbered."""
    return 1 + max(map(int, re.findall(r"\bR(\d+)\b", text)))


def chosen(shape):
    """How many chunks `wkv_fused` makes of it on an H100."""
    batch, length, channels = shape
    at_once = MULTIPROCESSORS * gpu.SUMS_AT_ONCE
    return enough_chunks(batch * channels, length, at_once, gpu.Gpu.FEWEST_CHUNKS)


def floor_of(shape, dtype, arrays=bounds.FORWARD_ARRAYS + bounds.BACKWARD_ARRAYS):
    """Microseconds in which the bytes that have to travel could."""
    return 1e6 * least_bytes(shape, arrays, dtype.itemsize) / BANDWIDTH


def table(kernels, dtype):
    """A row for each shape and number of chunks, forward and backward together.

    One chunk is the one pass, and, in a row of its own, the classic loop.
    """
    loops = {name: x for name, x in kernels.items() if not name.endswith(ONCE)}
    for shape in SHAPES:
        tile = kernels["forward"].tokens
        ours, *others = (cut(shape[1], n, tile)[0] for n in (chosen(shape), *TRIED))
        for chunks in sorted({ours, *others}):
            found = table_row(kernels, dtype, shape, chunks)
            yield found | {"chosen": chunks == ours, "classic": False}
        classic = table_row(loops, dtype, shape, 1)
        yield classic | {"chosen": False, "classic": True}


def table_row(kernels, dtype, shape, chunks):
    """What is predicted of both passes together."""
    both = microseconds(kernels, dtype, shape, chunks)
    return {
        "(B, T, C)": str(shape),
        "chunks": chunks,
        "forward, µs": microseconds(kernels, dtype, shape, chunks, ["forward"]),
        "both, µs": both,
        "floors": both / floor_of(shape, dtype),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--shape", nargs=3, type=int, default=(8, 4096, 768))
    parser.add_argument("--chunks", type=int, default=0, help="0: as wkv_fused cuts")
    parser.add_argument("--record", action="store_true", help="many shapes and chunks")
    given = parser.parse_args()
    dtype, shape = getattr(torch, given.dtype), tuple(given.shape)
    chunks = given.chunks or chosen(shape)
    kernels = listed(SOURCE, dtype)
    rows = list(predict(kernels, dtype, shape, chunks))
    total, floor = sum(row["all, µs"] for row in rows), floor_of(shape, dtype)
    print(
        f"PREDICTED, not measured: {shape} in {given.dtype} on an H100, {chunks} chunks"
    )
    measure.print_table(rows)
    print(
        f"predicted: {total:.0f} µs forward and backward, {total / floor:.1f} "
        f"floors of {floor:.0f} µs; what PyTorch does beside them is not in it"
    )
    if given.record:
        measure.record(
            "predicted",
            "an H100, predicted on a CPU",
            list(table(kernels, dtype)),
            predicted=True,
            command="python benchmarks/predicted.py --record",
            dtype=given.dtype,
            shape=list(shape),
            floor=floor,
            kernels=rows,
            nvrtc=".".join(map(str, gpu.cuda_packages("")[1][1:])),
        )


if __name__ == "__main__":
    main()
