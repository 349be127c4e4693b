"""How much would each rung of the GPU's ladder bring on an H100? *Predicted*.

    pip install -e '.[test]'
    python benchmarks/gpu_rungs.py

The forward pass of `wkv.cu` as it was, rung by rung, in bfloat16 at (8,4096,768), by
the model of `predicted.py`. Beside the time it prints what the time comes from: the
registers of a thread, and of a loop's reads, how often a warp has to wait for them, and
how many are on their way at most. Nothing here was measured on a GPU.
"""

import math

import measure
import predicted
import torch

from rwkv_book.compiled import gpu
from rwkv_book.rwkv4 import bounds, rungs
from rwkv_book.rwkv4.kernels import STORED

SHAPE, DTYPE = (8, 4096, 768), torch.bfloat16
READS = 2  # of a token: key and value


def waits(body):
    """(reads, waits, most) of a loop: how many reads, in how many trips to memory.

    A warp goes on until an instruction needs what was read; then all reads that are on
    their way arrive. `most` is how many those are at most.
    """
    reads = trips = most = 0
    pending, on_the_way = set(), 0
    for x in body:
        if pending & {*x.reads, *x.writes}:
            trips, pending, on_the_way = trips + 1, set(), 0
        if x.latency == predicted.MEMORY_LATENCY:
            reads, on_the_way = reads + 1, on_the_way + 1
            most = max(most, on_the_way)
            pending |= set(x.writes)
    return reads, trips, most


def row_for(rung, kernel, text):
    """What is known of a kernel of a rung, before any GPU has seen it."""
    batch, length, channels = SHAPE
    adds = predicted.is_sum(kernel)
    body = predicted.tile_loop(text, 50, writes=not adds)
    walk = () if adds else predicted.walk_loop(text)
    registers = predicted.used_registers(text)
    reads, trips, most = waits(body)
    steps = reads / READS
    parts = predicted.parts_of(kernel, rung.chunks)
    warps = predicted.warps_for(batch * channels * parts)
    held = predicted.resident(registers)
    turns = math.ceil(length / rung.chunks / steps)
    cycles = turns * predicted.cycles_of_all(body, warps, held)
    walked = predicted.walked(walk, rung.chunks, min(warps, held)) / predicted.CLOCK
    moved = predicted.moved_bytes(kernel, SHAPE, DTYPE.itemsize, rung.chunks)
    if kernel == "forward":  # without gradients no state is kept
        moved -= math.prod(SHAPE)
    streamed = moved / predicted.BANDWIDTH / predicted.SUSTAINED
    computed = cycles / predicted.CLOCK
    return {
        "rung": rung.name,
        "chunks": rung.chunks,
        "kernel": kernel,
        "registers": registers,
        "warps": 4 * held,
        "reads": reads,
        "waits": trips,
        "on the way": most,
        "instructions a token": len(body) / steps,
        "bytes, µs": 1e6 * streamed,
        "predicted, µs": 1e6 * (walked + max(computed, streamed) + predicted.LAUNCH),
    }


def row_of_one_pass(rung):
    """The same of the kernel that reads every key once."""
    kernels = predicted.listed(rungs.source(rung), DTYPE)
    name = "forward" + predicted.ONCE
    kernel = kernels[name]
    found = predicted.once(kernels, name, DTYPE, SHAPE)
    moved = predicted.moved_bytes(name, SHAPE, DTYPE.itemsize, 1) - math.prod(SHAPE)
    streamed = 1e6 * moved / predicted.BANDWIDTH / predicted.SUSTAINED
    reads, trips, most = waits(kernel.bodies[0])
    time = max(found["compute, µs"], streamed) + 1e6 * predicted.LAUNCH
    return {
        "rung": rung.name,
        "chunks": 1,
        "kernel": name,
        "registers": found["registers"],
        "warps": predicted.blocks_held(kernel) * kernel.warps,
        "reads": reads,
        "waits": trips,
        "on the way": most,
        "instructions a token": found["instructions"],
        "bytes, µs": streamed,
        "predicted, µs": time,
    }


def main():
    rows = []
    for rung in rungs.RUNGS:
        if rung.one_pass:
            rows.append(row_of_one_pass(rung))
            continue
        code = gpu.compile_for(rungs.source(rung), STORED[DTYPE], "sm_90")
        listed = predicted.listing(code)
        needed = ["sum_chunks", "forward"][rung.chunks == 1 :]
        rows += [row_for(rung, kernel, listed[kernel]) for kernel in needed]
    print("PREDICTED, not measured: forward, on an H100")
    measure.print_table(rows)
    floor = predicted.floor_of(SHAPE, DTYPE, bounds.FORWARD_ARRAYS)
    for rung in rungs.RUNGS:
        together = [row["predicted, µs"] for row in rows if row["rung"] == rung.name]
        print(
            f"{sum(together):6.0f} µs, {sum(together) / floor:4.1f} floors, {rung.name}"
        )
    measure.record(
        "gpu-rungs",
        "an H100, predicted on a CPU",
        rows,
        predicted=True,
        command="python benchmarks/gpu_rungs.py",
        shape=list(SHAPE),
        dtype=str(DTYPE).removeprefix("torch."),
        floor=floor,
        nvrtc=".".join(map(str, gpu.cuda_packages("")[1][1:])),
    )


if __name__ == "__main__":
    main()
