"""The kernels of `wkv.cu` as two operators of PyTorch, forward and backward.

Inside, a state is one tensor (B,4,C) with the rows num, den, log_scale and age: as in
`wkv.cu` it stands for (num, den) · exp(log_scale - age · decay_rate).
"""

import hashlib
import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rwkv_book.compiled import cpu
from rwkv_book.compiled.gpu import Gpu
from rwkv_book.compiled.source import HARDWARE, Source

STORED = {  # types of key and value, and their names in wkv.cu
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
BACKENDS = {"cpu": cpu, "cuda": Gpu()}
INSTEAD = "use wkv=wkv_chunked, which needs no compiler."
WKV, ONE_PASS = (
    Path(__file__).with_name(name).read_text("utf-8")
    for name in ("wkv.cu", "one_pass.cu")
)
SOURCE = Source(
    WKV,
    name="wkv.cu",
    instead=INSTEAD,
    kept=True,
    on_gpu=f'#line 1 "one_pass.cu"\n{ONE_PASS}',
)
SOURCES = {SOURCE.name: SOURCE}  # an operator takes tensors, numbers and names only


def name_of(text, hardware=HARDWARE, on_gpu=""):
    """The name in SOURCES of another text than wkv.cu, or of other hardware."""
    source = Source(text, SOURCE.name, INSTEAD, hardware, on_gpu=on_gpu)
    name = hashlib.sha256(source.whole_on_gpu.encode()).hexdigest()
    SOURCES.setdefault(name, source)
    return name


@cache
def tile(source):
    """The tokens of a tile: the state before every tile is kept for `backward`."""
    return SOURCES[source].number("TILE")


def cut(key, chunks=0, source=SOURCE.name):
    """(chunks, tokens of a chunk): whole tiles, and no chunk empty.

    0 chunks are as many as keep the machine busy.
    """
    batch, length, channels = key.shape
    if chunks == 0:
        backend = BACKENDS[key.device.type]
        at_once = backend.sums_at_once(key.device)
        chunks = enough_chunks(batch * channels, length, at_once, backend.FEWEST_CHUNKS)
    tokens = math.ceil(length / chunks / tile(source)) * tile(source)
    return math.ceil(length / tokens), tokens


def enough_chunks(sums, length, at_once, fewest):
    """How many make so many sums into as many as a machine can work on `at_once`.

    Less than `fewest` would not make up for reading the keys twice. And a walk over
    chunks takes longer the more there are: at most three quarters of √length.
    """
    chunks = min(at_once // max(1, sums), 3 * math.isqrt(length) // 4)
    return chunks if chunks >= fewest else 1


def in_one_pass(source, key, chunks):
    """What a kernel's name ends in where each key is read once: on a GPU, uncut."""
    if not BACKENDS[key.device.type].ONE_PASS or not SOURCES[source].on_gpu:
        return ""
    fits = tile(source) <= key.shape[1] < 2**30  # its tokens are counted in an int
    return "_in_one_pass" if chunks == 1 and fits else ""


def runner(source, decay_rate, key, chunks, tokens):
    """A function that runs kernels on keys of this shape: run(name, chunks, ...).

    Its `chunks` says how many of them need threads in this kernel.
    """
    batch, length, channels = key.shape
    backend, stored = BACKENDS[key.device.type], STORED[key.dtype]

    def run(kernel, with_threads, *arguments):
        place = SOURCES[source], kernel, stored, key.device
        size = batch * with_threads, channels, tokens
        if key.numel():
            shape = length, channels, chunks, tokens, decay_rate
            backend.run_kernel(*place, *size, *shape, *arguments)

    return run


@torch.library.custom_op("rwkv_book::wkv", mutates_args=())
def forward(
    decay_rate: Tensor,
    bonus: Tensor,
    key: Tensor,
    value: Tensor,
    state: Tensor,
    chunks: int,
    keep: bool,
    source: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """out (B,T,C), the state after it (B,4,C), and, if they are kept, checkpoints."""
    tensors = decay_rate, bonus, key, value, state
    out, after, checkpoints = allocate(*tensors, chunks, keep, source)
    decay_rate, bonus, key, value, state = contiguous(*tensors)
    chunks, tokens = cut(key, chunks, source)
    run = runner(source, decay_rate, key, chunks, tokens)
    sums = None
    if chunks > 1:
        sums = state.new_empty(len(state), chunks, *state.shape[1:])
        run("sum_chunks", chunks - 1, key, value, sums)
    kept = checkpoints if keep else None
    name = f"forward{in_one_pass(source, key, chunks)}"
    run(name, chunks, bonus, key, value, state, sums, out, after, kept)
    return out, after, checkpoints


@forward.register_fake
def allocate(decay_rate, bonus, key, value, state, chunks, keep, source):
    batch, length, channels = key.shape
    assert state.shape == (batch, 4, channels)
    tiles = (length + tile(source) - 1) // tile(source) if keep else 0
    checkpoints = state.new_empty(batch, tiles, 4, channels)
    return key.new_empty(key.shape), state.new_empty(state.shape), checkpoints


@torch.library.custom_op("rwkv_book::wkv_backward", mutates_args=())
def backward(
    decay_rate: Tensor,
    bonus: Tensor,
    key: Tensor,
    value: Tensor,
    state: Tensor,
    after: Tensor,
    checkpoints: Tensor,
    grad_out: Tensor,
    grad_after: Tensor | None,
    chunks: int,
    source: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the five tensors that `forward` takes."""
    decay_rate, bonus, key, value, state, grad_out = contiguous(
        decay_rate, bonus, key, value, state, grad_out
    )
    chunks, tokens = cut(key, chunks, source)
    run = runner(source, decay_rate, key, chunks, tokens)
    adjoint = torch.zeros_like(state)  # of what comes after the last token
    adjoint[:, 2] = -torch.inf
    if grad_after is not None:  # by (num, den) · exp(...) is by (num, den) · exp(-...)
        adjoint[:, :2], adjoint[:, 2:] = grad_after[:, :2], -after[:, 2:]
    sums = None
    given = bonus, key, value, checkpoints, grad_out
    if chunks > 1:
        sums = state.new_empty(len(state), chunks, *state.shape[1:])
        run("sum_adjoints", chunks - 1, *given, sums)
    parts = state.new_empty(2, len(state), chunks, key.shape[2])
    grad_key, grad_value, grad_state = map(torch.empty_like, (key, value, state))
    found = parts[0], parts[1], grad_key, grad_value, grad_state
    name = f"backward{in_one_pass(source, key, chunks)}"
    run(name, chunks, *given, adjoint, sums, *found)
    grad_decay_rate, grad_bonus = parts.sum((1, 2))
    if grad_after is not None:
        add_gradients_of_the_scale(
            after, grad_after, grad_decay_rate, grad_key, grad_state
        )
    return grad_decay_rate.clone(), grad_bonus.clone(), grad_key, grad_value, grad_state


@backward.register_fake
def _(decay_rate, bonus, key, value, state, *_):
    return tuple(t.new_empty(t.shape) for t in (decay_rate, bonus, key, value, state))


def add_gradients_of_the_scale(
    after, grad_after, grad_decay_rate, grad_key, grad_state
):
    """Add, in place, what comes from the scale on which `after` is kept.

    Its log_scale is the key of the token that came `age` before the last one, or the
    log_scale of the first state. Of a loss of the sums alone, which could be kept on
    any scale, nothing is left for that number: `rest` is 0.
    """
    num, den, _, age = after.unbind(1)
    by_num, by_den, by_log_scale, _ = grad_after.unbind(1)
    by_scale = by_num * num + by_den * den  # (B,C), of exp(-scale) in num and den
    grad_decay_rate += (age * by_scale).sum(0)
    rest = by_log_scale - by_scale
    batch, length, channels = grad_key.shape
    token = length - 1 - age.long()
    first = token < 0
    to_token = rest.masked_fill(first, 0).to(grad_key.dtype)
    sequence = torch.arange(batch, device=token.device)[:, None]
    channel = torch.arange(channels, device=token.device)
    place = (sequence * length + token.clamp(min=0)) * channels + channel
    # On one axis: on more, the deterministic form copies from the host, which no CUDA
    # graph can hold.
    grad_key.view(-1).scatter_add_(0, place.view(-1), to_token.view(-1))
    grad_state[:, 2] += rest.masked_fill(~first, 0)


def contiguous(*tensors):
    return [tensor.contiguous() for tensor in tensors]


@forward.register_vmap
def _(info, in_dims, *arguments):
    return in_channels(forward, info.batch_size, in_dims, arguments)


@backward.register_vmap
def _(info, in_dims, *arguments):
    return in_channels(backward, info.batch_size, in_dims, arguments)


def in_channels(operator, size, in_dims, arguments):
    """Run it once for `size` sets of tensors: as channels, which never meet."""
    folded = []
    for x, dim in zip(arguments, in_dims, strict=True):
        if isinstance(x, Tensor):  # (..., C) to (..., size · C)
            x = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
            x = x.movedim(0, -2).flatten(-2)
        folded.append(x)
    results = [x.unflatten(-1, (size, x.shape[-1] // size)) for x in operator(*folded)]
    return tuple(results), tuple(x.ndim - 2 for x in results)
