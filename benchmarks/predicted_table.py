"""How fast would `table.cu`, RWKV-7's recurrence, be on an H100? *Predicted*.

    pip install nvidia-cuda-nvdisasm==13.2.86
    python benchmarks/predicted_table.py

By the model of `predicted.py`: the loop over tokens of `forward` and `backward_rows`,
in machine code, on one scheduler. `backward_keys` has loops in loops, so of it only
what its multiplications and additions take is said, one a cycle: *at least* so long.

Beside them stand the bytes that have to travel, and what chunks of 16 tokens on tensor
cores would need: the FLOPs of `table_chunked` at the peak of these cores, twice as many
for the backward pass, or the bytes, whichever takes longer. What that leaves out: the
triangular systems, which tensor cores don't solve, products too small to fill them,
tables that a chunk leaves in memory for the next one, and waiting for it. So it is a
floor, and the other column is a prediction.
"""

import math

import measure
import predicted
import torch
from torch.utils.flop_counter import FlopCounterMode

from rwkv_book.compiled import gpu
from rwkv_book.family import equation
from rwkv_book.family.kernels import STORED, source_for

SHAPE, HEAD, DTYPE = (8, 4096, 768), 64, torch.bfloat16
CHUNK, TENSOR_CORES = 16, 989e12  # FLOPs a second of an H100, in bfloat16
# Bytes for each number of a vector: log_decay has 4 and the others 2. Forward reads six
# vectors and writes one; backward reads seven, and writes gradients of six.
BYTES = {"forward": 6 * 2 + 4, "backward": 6 * 2 + 4 + 5 * 2 + 4}
KEYS_ARITHMETIC = 3 + 3 + 8  # of backward_keys, for each number of a table and token


def rows_for(source, shape=SHAPE):
    """A row for each kernel, with seconds in microseconds."""
    batch, length, channels = shape
    warps = predicted.warps_for(batch * channels)
    code = gpu.compile_for(source, STORED[DTYPE], "sm_90")
    for kernel, text in predicted.listing(code).items():
        used = predicted.used_registers(text)
        nested = kernel == "backward_keys"
        row = {"kernel": kernel, "registers": used, "at least": nested}
        cycles = warps * KEYS_ARITHMETIC * HEAD
        if not nested:
            body = predicted.tile_loop(text)
            cycles = predicted.cycles_of_all(body, warps, predicted.resident(used))
            row["instructions"] = len(body)
            row["reads"] = sum(x.latency == predicted.MEMORY_LATENCY for x in body)
            row["exponentials"] = sum(x.unit == "MUFU" for x in body)
        row["cycles a token"] = cycles
        yield row | {"µs": 1e6 * (length * cycles / predicted.CLOCK + predicted.LAUNCH)}


def chunk_flops(length=1024):
    """FLOPs of `table_chunked` for a token of a head, forward, without its systems."""
    vectors = torch.zeros(6, 1, length, 1, HEAD)
    with FlopCounterMode(display=False) as counted:
        equation.table_chunked(*vectors, chunk=CHUNK, least=-1)
    return counted.get_total_flops() / length


def floors(shape=SHAPE):
    """Of each pass: the bytes, and chunks on tensor cores, in microseconds."""
    numbers, flops = math.prod(shape), chunk_flops()
    for times, (name, size) in enumerate(BYTES.items(), 1):
        travel = 1e6 * numbers * size / predicted.BANDWIDTH
        multiply = 1e6 * times * numbers / HEAD * flops / TENSOR_CORES
        row = {"pass": name, "bytes, µs": travel, "tensor cores, µs": multiply}
        yield row | {"chunks, µs": max(travel, multiply)}


def main():
    source = source_for(HEAD, HEAD, True, False)
    rows, least = list(rows_for(source)), list(floors())
    print("PREDICTED, not measured: RWKV-7's recurrence on an H100; keys: at least")
    measure.print_table([{key: row.get(key, "") for key in rows[-1]} for row in rows])
    measure.print_table(least)
    measure.record(
        "table-predicted",
        "an H100, predicted on a CPU",
        rows,
        predicted=True,
        command="python benchmarks/predicted_table.py",
        shape=list(SHAPE),
        head=HEAD,
        dtype=str(DTYPE).removeprefix("torch."),
        floors=least,
        nvrtc=".".join(map(str, gpu.cuda_packages("")[1][1:])),
    )


if __name__ == "__main__":
    main()
