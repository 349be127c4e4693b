"""How fast would `table.cu`, RWKV-7's recurrence, be on an H100? *Predicted*.

    pip install nvidia-cuda-nvdisasm==13.2.86
    python benchmarks/table_predicted.py

By the model of `predicted.py`: the loop over tokens of `forward` and `backward_rows`,
in machine code, on one scheduler. `backward_keys` has loops in loops, twice: what a
warp does for a tile of tokens is written out, each loop as often as it turns. What a
thread keeps in memory is thought to be in the cache.

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


def rows_for(source, shape=SHAPE):
    """A row for each kernel, with seconds in microseconds."""
    batch, length, channels = shape
    warps = predicted.warps_for(batch * channels)
    code = gpu.compile_for(source, STORED[DTYPE], "sm_90")
    for kernel, text in predicted.listing(code).items():
        used = predicted.used_registers(text)
        loops, tokens = [predicted.loop_rows(text)], 1
        if kernel == "backward_keys":
            tokens = source.number("TILE_BYTES") // 4
            loops = tiles(text, tokens, source.number("ROWS"))
        bodies = [tuple(predicted.instruction(*x) for x in rows) for rows in loops]
        cycles = sum(
            predicted.cycles_of_all(body, warps, predicted.resident(used)) / tokens
            for body in bodies
        )
        done = [x for body in bodies for x in body]
        yield {
            "kernel": kernel,
            "registers": used,
            "instructions": len(done) / tokens,
            "reads": sum(x.latency == predicted.MEMORY_LATENCY for x in done) / tokens,
            "exponentials": sum(x.unit == "MUFU" for x in done) / tokens,
            "cycles a token": cycles,
            "µs": 1e6 * (length * cycles / predicted.CLOCK + predicted.LAUNCH),
        }


def tiles(text, tokens, together):
    """The lines that a warp runs for so many tokens, in both passes of backward_keys.

    Of a table it works on so many rows `together`.
    """
    code = predicted.code_of(text)
    reading = [x for x in code.loops if code.count(x, "MUFU") and not code.inside(x)]
    for inner in reading:
        around = [loop for loop in code.loops if inner in code.inside(loop)]
        smallest = min(around, key=lambda loop: loop[1] - loop[0])
        yield written_out(code, smallest, tokens, together)


def written_out(code, loop, *tile):
    """The lines of one turn of a loop, and of all turns of the loops in it.

    A loop of the kind of one before, and what multiplies outside of all loops, is for
    the last tokens of a tile that is not whole: it is left out.
    """
    (place, end), rows, kinds = loop, [], set()
    inside = code.inside(loop)
    if not inside:
        return code.part(loop)
    while place < end:
        inner = max((x for x in inside if x[0] == place), default=None)
        block = place, min(x for x in code.places if x > place)
        if inner and kind(code, inner) not in kinds:
            rows += turns(code, inner, *tile) * written_out(code, inner, *tile)
            kinds.add(kind(code, inner))
        elif not inner and not code.count(block, "FMUL"):
            rows += code.part(block)
        place = (inner or block)[1]
    return rows


def turns(code, loop, tokens, together):
    """How often a loop turns in a tile.

    One that holds others does so once for the rows that are worked on together. In the
    innermost a product that is not added is there for each token, and where sums are
    made for each token of each row.
    """
    if code.inside(loop):
        return HEAD // together
    adds = code.count(loop, "FFMA") > 0
    return tokens * (together if adds else 1) // code.count(loop, "FMUL")


def kind(code, loop):
    """How many exponentials and sums it has for a product."""
    return tuple(
        code.count(loop, x) / code.count(loop, "FMUL") for x in ("MUFU", "FFMA")
    )


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
    print("PREDICTED, not measured: RWKV-7's recurrence on an H100")
    measure.print_table(rows)
    measure.print_table(least)
    together = sum(row["µs"] for row in rows)
    print(f"predicted: {together:,.0f} µs forward and backward")
    measure.record(
        "table-predicted",
        "an H100, predicted on a CPU",
        rows,
        predicted=True,
        command="python benchmarks/table_predicted.py",
        shape=list(SHAPE),
        head=HEAD,
        dtype=str(DTYPE).removeprefix("torch."),
        floors=least,
        together=together,
        nvrtc=".".join(map(str, gpu.cuda_packages("")[1][1:])),
    )


if __name__ == "__main__":
    main()
