"""How much would each rung of the GPU's ladder bring on an H100? *Predicted*.

    pip install nvidia-cuda-nvdisasm==13.2.86
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
from rwkv_book.compiled.roofline import least_bytes
from rwkv_book.rwkv4 import bounds, kernels, rungs
from rwkv_book.rwkv4.kernels import STORED

SHAPE, DTYPE = (8, 4096, 768), torch.bfloat16
MOST = 16  # chunks that are tried
OTHERS = (8, 1024, 768), (8, 4096, 2048), (1, 65_536, 768)
KERNELS = "sum_chunks", "forward"
READS = 2  # numbers of a token that they read


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


def resident(registers):
    """How many warps find room on a scheduler."""
    size = math.ceil(registers * 32 / 256) * 256
    return min(predicted.WARPS, predicted.REGISTERS // size)


def row_for(rung, kernel, text, shape=SHAPE):
    """What is known of a kernel of a rung, before any GPU has seen it."""
    batch, length, channels = shape
    body, registers = predicted.tile_loop(text, 100), predicted.used_registers(text)
    reads, trips, most = waits(body)
    parts = rung.chunks - (kernel == "sum_chunks")
    schedulers = predicted.MULTIPROCESSORS * predicted.SCHEDULERS
    warps = math.ceil(batch * channels * parts / 32 / schedulers)
    cycles = sum(
        predicted.cycles_of_a_tile(body, wave)
        for wave in predicted.waves(warps, resident(registers))
    )
    loops = math.ceil(length / rung.chunks / (reads / READS))
    moved = predicted.moved_bytes(kernel, shape, DTYPE.itemsize, rung.chunks)
    if kernel == "forward":  # without gradients no state is kept
        moved -= math.prod(shape)
    streamed = moved / predicted.BANDWIDTH / predicted.SUSTAINED
    computed = cycles * loops / predicted.CLOCK
    return {
        "rung": rung.name,
        "chunks": rung.chunks,
        "kernel": kernel,
        "registers": registers,
        "warps": 4 * resident(registers),
        "reads": reads,
        "waits": trips,
        "on the way": most,
        "instructions a token": len(body) / (reads / READS),
        "bytes, µs": 1e6 * streamed,
        "predicted, µs": 1e6 * max(computed, streamed),
    }


def pass_for(rung, listed, shape=SHAPE):
    """The rows of a rung's forward pass: with one chunk it is one kernel."""
    needed = KERNELS if rung.chunks > 1 else KERNELS[1:]
    return [row_for(rung, kernel, listed[kernel], shape) for kernel in needed]


def cut(listed):
    """A row for each shape: the last rung in one chunk, as `wkv_fused` cuts, and best.

    The best number of chunks is looked for among those up to `MOST` and its own.
    """
    for shape in (SHAPE, *OTHERS):
        at_once = predicted.MULTIPROCESSORS * gpu.SUMS_AT_ONCE
        chunks = kernels.enough_chunks(shape[0] * shape[2], at_once)
        times = {}
        for count in {*range(1, MOST + 1), chunks}:
            rung = rungs.RUNGS[-1]._replace(chunks=count)
            rows = pass_for(rung, listed, shape)
            times[count] = sum(row["predicted, µs"] for row in rows)
        best = min(times, key=times.get)
        yield {
            "(B, T, C)": str(shape),
            "one chunk, µs": times[1],
            "chunks": chunks,
            "as cut, µs": times[chunks],
            "best": best,
            "at best, µs": times[best],
        }


def main():
    rows = []
    for rung in rungs.RUNGS:
        code = gpu.compile_for(rungs.source(rung), STORED[DTYPE], "sm_90")
        listed = predicted.listing(code)
        rows += pass_for(rung, listed)
    print("PREDICTED, not measured: forward, on an H100")
    measure.print_table(rows)
    shapes = list(cut(listed))
    measure.print_table(shapes)
    floor = 1e6 * least_bytes(SHAPE, bounds.FORWARD_ARRAYS, DTYPE.itemsize)
    floor /= predicted.BANDWIDTH
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
        shapes=shapes,
        nvrtc=".".join(map(str, gpu.cuda_packages("")[1][1:])),
    )


if __name__ == "__main__":
    main()
