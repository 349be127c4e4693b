"""How fast is each form of the recurrence of a table, and how far from the processor?

    python benchmarks/table_forms.py                     on the CPU
    python benchmarks/table_forms.py --threads 1
    python benchmarks/table_forms.py --device cuda

The floor is the larger of two times. FLOPs, over what the processor does in products of
matrices: for each number of a table and token 9 forward (5 without removal) and 24
backward (16), in which the tables are computed a second time. Bytes, over the speed at
which memory is read: forward 7 numbers per channel and token (5), backward 13 (9).
Every form's outputs and gradients are compared before any is timed.
"""

import argparse
import statistics
from functools import partial

import measure
import torch
from operator_forms import assert_same, jobs_for
from torch.nn.functional import normalize

from rwkv_book.compiled.roofline import floor_seconds, peak_flops, read_bandwidth
from rwkv_book.family.equation import table_chunked
from rwkv_book.family.fused import table_fused
from rwkv_book.rwkv7.wkv import FASTEST

SHAPES = {
    "cpu": [(1, 1024, 768), (8, 512, 256)],
    "cuda": [(8, 1024, 768), (8, 4096, 768)],
}
HEAD = 64  # keys, and values, of a head
TOLERANCE = 1e-4
FLOPS = {"forward": (5, 9), "backward": (16, 24)}  # without removal, with it
NUMBERS = {"forward": (5, 7), "backward": (9, 13)}


def arguments(shape, removes, device):
    """As RWKV-7 has them, or without `remove` and `replace`."""
    batch, length, channels = shape
    heads = batch, length, channels // HEAD, HEAD
    normal = partial(torch.randn, *heads, device=device)
    log_decay = -FASTEST * normal().sigmoid()
    found = [log_decay, normal(), normal(), normal()]
    if removes:
        removed = normalize(normal(), dim=-1)
        found += [-removed, removed * normal().sigmoid()]
    return found


def rows_for(device, shape, removes, rounds, peak, bandwidth):
    tensors = arguments(shape, removes, device)
    forms = {
        "fused": table_fused,
        "chunked": partial(table_chunked, least=-FASTEST),
    }
    directions = jobs_for(forms, tensors, torch.randn_like(tensors[3]))
    rows = []
    for direction, jobs in zip(FLOPS, directions, strict=True):
        assert_same(jobs, TOLERANCE)
        numbers = tensors[0].numel()
        floor = floor_seconds(
            NUMBERS[direction][removes] * numbers * 4,
            FLOPS[direction][removes] * numbers * HEAD,
            bandwidth,
            peak,
        )
        seconds = measure.time_in_rounds(jobs, rounds, device)
        for name in jobs:
            rows.append(
                {
                    "form": name,
                    "direction": direction,
                    "(B,T,C)": ",".join(map(str, shape)),
                    "removal": "yes" if removes else "no",
                    "ms": statistics.median(seconds[name]) * 1e3,
                    "least ms": min(seconds[name]) * 1e3,
                    "× fused": measure.median_ratio(seconds, name, "fused"),
                    "floor ms": floor * 1e3,
                    "× floor": min(seconds[name]) / floor,
                }
            )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=SHAPES, default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    peak, bandwidth = peak_flops(options.device), read_bandwidth(options.device)
    print(f"{peak / 1e9:.0f} GFLOP/s; memory is read at {bandwidth / 1e9:.1f} GB/s\n")
    rows = []
    for shape in SHAPES[options.device]:
        for removes in (True, False):
            new = rows_for(
                options.device, shape, removes, options.rounds, peak, bandwidth
            )
            measure.print_table(new)
            rows += new
    measure.record("table-forms", options.device, rows, peak=peak, bandwidth=bandwidth)
