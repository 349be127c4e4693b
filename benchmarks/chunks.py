"""Into how many chunks should time be cut?

    python benchmarks/chunks.py [--device cuda --dtype bfloat16]

Forward and backward together, for every power of two of chunks and for the number that
`wkv_fused` chooses. What it chooses should be no slower than the best by more than the
noise, and never slower than one chunk, the classic loop.
"""

import argparse
import statistics
from functools import partial

import measure
import torch

from rwkv_book.compiled.roofline import read_bandwidth
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.kernels import cut

SHAPES = {
    "cpu": [(1, 4096, 16), (1, 1024, 768)],
    "cuda": [
        (8, 1024, 768),
        (8, 4096, 768),
        (8, 4096, 2048),
        (1, 4096, 2048),
        (1, 65_536, 768),
    ],
}


def rows_for(device, dtype, shape, rounds, speed):
    normal = partial(torch.randn, device=device)
    key, value, grad = (normal(shape).to(dtype) for _ in range(3))
    leaves = [normal(shape[2]).exp(), normal(shape[2]), key, value]
    leaves = [leaf.requires_grad_() for leaf in leaves]

    def both_ways(chunks):
        out, _ = wkv_fused(*leaves, chunks=chunks)
        return out, *torch.autograd.grad(out, leaves, grad)

    chosen, _ = cut(key)
    most = min(1024, shape[1] // 16)
    counts = sorted({chosen, *(2**n for n in range(most.bit_length()))})
    jobs = {chunks: partial(both_ways, chunks) for chunks in counts}
    wanted = both_ways(1)
    for job in jobs.values():
        for found, one in zip(job(), wanted, strict=True):
            error = (found.double() - one.double()).abs().max()
            assert error <= 2e-2 * max(1, one.abs().max())
    seconds = measure.time_in_rounds(jobs, rounds, device)
    floor = 8 * key.nbytes / speed
    return [
        {
            "(B,T,C)": ",".join(map(str, shape)),
            "chunks": f"{chunks}{' (chosen)' if chunks == chosen else ''}",
            "ms": statistics.median(seconds[chunks]) * 1e3,
            "× one chunk": measure.median_ratio(seconds, chunks, 1),
            "× floor": statistics.median(seconds[chunks]) / floor,
        }
        for chunks in counts
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=SHAPES, default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.manual_seed(0)
    speed, rows = read_bandwidth(options.device), []
    dtype = getattr(torch, options.dtype)
    for shape in SHAPES[options.device]:
        new = rows_for(options.device, dtype, shape, options.rounds, speed)
        measure.print_table(new)
        rows += new
    question = f"chunks-{options.dtype}"
    measure.record(question, options.device, rows, bandwidth=speed)
