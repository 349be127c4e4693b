"""How fast is each form of the WKV operator, and how far from the memory's speed?

    python benchmarks/operator_forms.py                                  on the CPU
    python benchmarks/operator_forms.py --device cuda --dtype bfloat16

The floor is the time that reading and writing every number once would take: forward 3
of them per channel and token (key, value, out), backward 5 (key, value and three
gradients). Every form's outputs and gradients are compared before any is timed.
"""

import argparse
import statistics
from functools import partial

import measure
import torch
from torch.nn.functional import scaled_dot_product_attention

from rwkv_book.compiled.roofline import read_bandwidth
from rwkv_book.rwkv4.fused import from_source, wkv_fused
from rwkv_book.rwkv4.kernels import SOURCE, cut
from rwkv_book.rwkv4.wkv import wkv_attention, wkv_chunked, wkv_recurrent, wkv_scan

SHAPES = {
    "cpu": [(1, 128, 768), (1, 1024, 768), (4, 1024, 256)],
    "cuda": [(8, 1024, 768), (8, 4096, 768), (8, 4096, 2048), (1, 65_536, 768)],
}
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}
HEAD = 64  # channels of a head of attention


def forms_for(device, batch, length, channels):
    """{name: form} of what fits into memory and ends within seconds."""
    forms = {"fused": wkv_fused, "fused, 1 chunk": partial(wkv_fused, chunks=1)}
    if batch * length**2 * channels <= 2**24:
        forms["attention"] = wkv_attention
    if batch * length * channels <= 2**24:
        forms["chunked"], forms["scan"] = wkv_chunked, wkv_scan
    if length <= 1024:
        forms["recurrent"] = wkv_recurrent
    if device == "cuda":
        forms["classic loop"] = partial(from_source(SOURCE.text), chunks=1)
        forms |= fla_form()
    return forms


def fla_form():
    """RWKV-4 of flash-linear-attention, where its kernels can be imported."""
    try:
        from fla.ops.rwkv4 import fused_recurrent_rwkv4
    except ImportError as error:
        print(f"without fla: {error}")
        return {}

    def form(decay_rate, bonus, key, value):
        state = key.new_zeros(len(key), 3, 1, key.shape[2])
        state[:, 2] = -1e38 if key.dtype == torch.float32 else -1e4
        return fused_recurrent_rwkv4(decay_rate.log(), bonus, key, value, state)

    return {"fla": form}


def jobs_for(forms, tensors, grad):
    """Two functions for each form: forward, and backward on a graph that is kept."""
    forward, backward = {}, {}
    for name, form in forms.items():
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        out = form(*leaves)[0]
        forward[name] = partial(without_gradients, form, tensors)
        backward[name] = partial(
            torch.autograd.grad, out, leaves, grad, retain_graph=True
        )
    return forward, backward


def without_gradients(form, tensors):
    with torch.no_grad():
        return form(*tensors)[0]


def attention_jobs(key, grad):
    """Softmax attention of as many channels, which no other form here computes."""
    batch, length, channels = key.shape
    heads = (batch, channels // HEAD, length, HEAD)
    query = key.reshape(heads).clone().requires_grad_()
    form = partial(scaled_dot_product_attention, is_causal=True)
    out = form(query, query, query)
    return (
        partial(without_gradients, lambda x: [form(x, x, x)], [query]),
        partial(torch.autograd.grad, out, query, grad.view(heads), retain_graph=True),
    )


def assert_same(jobs, tolerance):
    """The results of all jobs are those of the first, to a part of the largest."""
    first, *others = (as_list(job()) for job in jobs.values())
    for name, other in zip(list(jobs)[1:], others, strict=True):
        for found, wanted in zip(other, first, strict=True):
            error = (found.double() - wanted.double()).abs().max()
            assert error <= tolerance * max(1, wanted.abs().max()), (name, error)


def as_list(results):
    return [results] if isinstance(results, torch.Tensor) else results


def rows_for(device, dtype, shape, rounds, speed):
    batch, length, channels = shape
    normal = partial(torch.randn, device=device)
    decay_rate, bonus = normal(channels).exp(), normal(channels)
    key, value, grad = (normal(shape).to(dtype) for _ in range(3))
    tensors = (decay_rate, bonus, key, value)
    directions = jobs_for(forms_for(device, *shape), tensors, grad)
    for jobs in directions:
        assert_same(jobs, TOLERANCE[dtype])
    if channels % HEAD == 0 and length <= 16_384:
        attention = attention_jobs(key, grad)
        for jobs, job in zip(directions, attention, strict=True):
            jobs["softmax attention"] = job
    rows = []
    for direction, jobs, numbers in zip(
        ("forward", "backward"), directions, (3, 5), strict=True
    ):
        floor = numbers * key.nbytes / speed
        seconds = measure.time_in_rounds(jobs, rounds, device)
        for name in jobs:
            rows.append(
                {
                    "form": name,
                    "direction": direction,
                    "(B,T,C)": f"{batch},{length},{channels}",
                    "chunks": cut(key)[0] if name == "fused" else "",
                    "ms": statistics.median(seconds[name]) * 1e3,
                    "× fused": measure.median_ratio(seconds, name, "fused"),
                    "floor ms": floor * 1e3,
                    "× floor": statistics.median(seconds[name]) / floor,
                }
            )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=SHAPES, default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype or "float32")
    torch.manual_seed(0)
    speed = read_bandwidth(options.device)
    print(f"memory is read at {speed / 1e9:.1f} GB/s\n")
    rows = []
    for shape in SHAPES[options.device]:
        new = rows_for(options.device, dtype, shape, options.rounds, speed)
        measure.print_table(new)
        rows += new
    question = f"operator-forms-{str(dtype).removeprefix('torch.')}"
    measure.record(question, options.device, rows, bandwidth=speed)
