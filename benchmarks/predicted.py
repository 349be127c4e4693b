"""How fast would `wkv.cu` be on an H100? *Predicted*: no GPU has run it.

    pip install nvidia-cuda-nvdisasm==13.2.86
    python benchmarks/predicted.py --dtype=bfloat16 --shape 8 4096 768

The kernels are compiled for the H100 by NVRTC, and NVIDIA's disassembler lists the
machine code. A model of one scheduler of a multiprocessor then issues the loop over
tiles for all the warps that it holds: one instruction a cycle, in order within a warp,
each when its registers are there and its unit is free. A kernel takes as long as that,
or as its bytes at the bandwidth of memory, whichever is longer.

What the model leaves out: caches, launches, what PyTorch does between them, and the
ends of loops. Its latencies are round numbers (LATENCY), so its answer is worth one
digit: good for asking which of two texts is faster, and by about how much.
"""

import argparse
import math
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

from rwkv_book.compiled import gpu
from rwkv_book.compiled.roofline import least_bytes
from rwkv_book.rwkv4 import bounds, kernels
from rwkv_book.rwkv4.kernels import SOURCE, STORED

# An H100 with HBM3: NVIDIA, "H100 Tensor Core GPU Architecture".
MULTIPROCESSORS, SCHEDULERS, CLOCK, BANDWIDTH = 132, 4, 1.755e9, 3.35e12
REGISTERS, WARPS = 16_384, 16  # of a scheduler; registers go to warps by 256
SUSTAINED = 0.9  # of the bandwidth is what a copy gets
MEMORY_LATENCY = 650  # cycles, with other warps asking too
LATENCY = {"MUFU": 22, "LDC": 30, "LDS": 30, "I2F": 22, "F2I": 22, "F2F": 22}  # else 4
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
NO_RESULT = ("ST", "BRA", "BSSY", "BSYNC", "EXIT", "RED", "NOP", "WARPSYNC")


class Instruction(NamedTuple):
    """Of a warp: registers written and read, and which unit it keeps for how long."""

    writes: tuple
    reads: tuple
    unit: str
    latency: int


def disassembler():
    """The path of nvdisasm: on PATH, or beside NVRTC."""
    beside = Path(sys.prefix).glob("lib/python*/site-packages/nvidia/*/bin/nvdisasm")
    found = shutil.which("nvdisasm") or next(map(str, beside), None)
    if found is None:
        sys.exit("There is no nvdisasm: pip install nvidia-cuda-nvdisasm==13.2.86")
    return found


def listing(code):
    """{kernel: its text} of machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [disassembler(), "-c", file.name]
        text = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout
    parts = re.findall(r"\.text\.(\w+):\n(.*?)(?=\n\s*//-+ \.|\Z)", text, re.DOTALL)
    return dict(parts)


def tile_loop(text, at_least=150):
    """The Instructions of the innermost of a kernel's loops that are long enough."""
    rows, labels = [], {}
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(rows)
        pattern = r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*?);"
        if found := re.search(pattern, line):
            rows.append(found.groups())
    loops = []
    for end, (name, operands) in enumerate(rows):
        target = re.search(r"\.L_x_\d+", operands)
        if name.startswith("BRA") and target and labels[target[0]] <= end:
            loops.append((labels[target[0]], end))
    long = [(begin, end) for begin, end in loops if end - begin > at_least]
    begin, end = min(long, key=lambda loop: loop[1] - loop[0])
    return [instruction(*row) for row in rows[begin : end + 1]]


def instruction(name, operands):
    """What the model has to know of a line of machine code."""
    first, _, rest = operands.partition(",")
    if name.startswith(NO_RESULT):
        writes, reads = (), registers(operands)
    else:
        wide = "WIDE" in name or (".64" in name and name.startswith(("LD", "CS2R")))
        writes, reads = registers(first, wide), registers(rest)
    base = name.split(".")[0]
    latency = MEMORY_LATENCY if base in ("LDG", "LD") else LATENCY.get(base, 4)
    unit = base if base in UNITS else "ALU" if base in ALU else "FMA"
    if base in ("LDG", "LD", "STG", "ST"):
        unit = "MEMORY"
    return Instruction(writes, reads, unit, latency)


def registers(operands, wide=False):
    """The registers and predicates in a list of operands."""
    found = set()
    for name, number, more in re.findall(
        r"\b(U?[RP])(\d+)(?:\.reuse)?(\.64)?", operands
    ):
        found.add(name + number)
        if more or wide:
            found.add(f"{name}{int(number) + 1}")
    return tuple(found)


def cycles_of_a_tile(body, warps, tiles=4):
    """Between the ends of two tiles, when so many warps share a scheduler."""
    ready = [{} for _ in range(warps)]
    place, turn = [0] * warps, [0] * warps  # instructions done; when it last issued
    free = dict.fromkeys(UNITS, 0)
    now, end, ends = 0, tiles * len(body), []
    while min(place) < end:
        running = [warp for warp in range(warps) if place[warp] < end]
        times = {}
        for warp in running:
            x = body[place[warp] % len(body)]
            needs = (ready[warp].get(r, 0) for r in (*x.reads, *x.writes))
            times[warp] = max(now, free[x.unit], *needs, 0)
        warp = min(running, key=lambda w: (times[w], turn[w]))
        x = body[place[warp] % len(body)]
        issued = times[warp]
        ready[warp] |= dict.fromkeys(x.writes, issued + x.latency)
        free[x.unit] = issued + UNITS[x.unit]
        turn[warp], now = issued, issued + 1
        place[warp] += 1
        if min(place) % len(body) == 0 and min(place) // len(body) > len(ends):
            ends.append(now)
    return (ends[-1] - ends[0]) / (tiles - 1)


def waves(warps, held):
    """How many warps a scheduler holds at a time until all have run."""
    while warps > 0:
        yield min(warps, held)
        warps -= held


def moved_bytes(kernel, shape, itemsize, chunks):
    """What a kernel reads and writes: arrays, and a state of 16 bytes a tile."""
    states = math.prod(shape)
    arrays = {"sum_chunks": 2, "forward": 3, "sum_adjoints": 3, "backward": 5}[kernel]
    total = least_bytes(shape, arrays, itemsize)
    if kernel.startswith("sum"):
        return total * (chunks - 1) / chunks
    return total + states


def predict(source, dtype, shape, chunks):
    """Rows (kernel, registers, warps, instructions a token, seconds, s for bytes)."""
    code = gpu.compile_for(source, STORED[dtype], "sm_90")
    batch, length, channels = shape
    tile = source.number("TILE")
    tokens = math.ceil(length / chunks / tile) * tile
    chunks = math.ceil(length / tokens)
    for kernel, text in listing(code).items():
        parts = chunks - 1 if kernel.startswith("sum") else chunks
        if kernel == "scan_chunks" or parts == 0:
            continue
        body = tile_loop(text)
        warps = math.ceil(batch * channels * parts / 32 / MULTIPROCESSORS / SCHEDULERS)
        used = used_registers(text)
        size = math.ceil(used * 32 / 256) * 256
        cycles = sum(
            cycles_of_a_tile(body, wave)
            for wave in waves(warps, min(WARPS, REGISTERS // size))
        )
        computed = cycles * math.ceil(tokens / tile) / CLOCK
        moved = moved_bytes(kernel, shape, dtype.itemsize, chunks)
        streamed = moved / BANDWIDTH / SUSTAINED
        yield kernel, used, warps, len(body) / tile, computed, streamed


def used_registers(text):
    """How many registers a thread has: they are numbered."""
    return 1 + max(map(int, re.findall(r"\bR(\d+)\b", text)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--shape", nargs=3, type=int, default=(8, 4096, 768))
    parser.add_argument("--chunks", type=int, default=0, help="0: as wkv_fused cuts")
    given = parser.parse_args()
    dtype, shape = getattr(torch, given.dtype), tuple(given.shape)
    sums = shape[0] * shape[2]
    at_once = MULTIPROCESSORS * gpu.SUMS_AT_ONCE
    chunks = given.chunks or kernels.enough_chunks(sums, at_once)
    arrays = bounds.FORWARD_ARRAYS + bounds.BACKWARD_ARRAYS
    floor = least_bytes(shape, arrays, dtype.itemsize) / BANDWIDTH
    print(
        f"PREDICTED, not measured: {shape} in {given.dtype} on an H100, {chunks} chunks"
    )
    print("kernel        registers  warps  instructions    compute      bytes  (µs)")
    total = 0
    for row in predict(SOURCE, dtype, shape, chunks):
        kernel, used, warps, count, computed, moved = row
        total += max(computed, moved)
        print(
            f"{kernel:13s} {used:9d} {warps:6d} {count:13.1f} "
            f"{computed * 1e6:10.0f} {moved * 1e6:10.0f}"
        )
    print(
        f"predicted: {total * 1e6:.0f} µs forward and backward, {total / floor:.1f} "
        f"floors of {floor * 1e6:.0f} µs; launches and PyTorch's part are not in it"
    )


if __name__ == "__main__":
    main()
