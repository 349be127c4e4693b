"""The kernels of `table.cu` as two operators of PyTorch, forward and backward.

All tensors are as in `equation.py`; `found` (B,T,H,M), what each token's `remove` found
in the table, is all that `backward` needs of `forward`.
"""

from dataclasses import replace as changed
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rwkv_book.compiled.gpu import BLOCK
from rwkv_book.compiled.source import Source
from rwkv_book.rwkv4.kernels import BACKENDS, STORED

LARGEST = 128  # keys, and values, of a head
INSTEAD = "use wkv=table_chunked, which needs no compiler."
SOURCE = Source(
    Path(__file__).with_name("table.cu").read_text("utf-8"),
    name="table.cu",
    instead=INSTEAD,
    kept=True,
)
TILE_BYTES = SOURCE.number("TILE_BYTES")  # `backward` keeps a table every 16 floats


@cache
def source_for(keys, values, removes, before):
    """The kernels for heads of so many keys and values, compiled when they first run.

    Whether tokens remove, and whether they are asked about `before` they are written,
    is known to the compiler too.
    """
    constants = {"N": keys, "M": values, "REMOVE": removes, "BEFORE": before}
    known = tuple((name, int(number)) for name, number in constants.items())
    return changed(SOURCE, constants=known)


def runner(key, value, remove, before):
    """A function that runs kernels on tensors of these shapes: run(name, threads, ...).

    `threads` says how many of them a head needs: one for each row, or for each key.
    """
    batch, length, heads, keys = key.shape
    source = source_for(keys, value.shape[-1], remove is not None, before)
    backend, stored = BACKENDS[key.device.type], STORED[key.dtype]

    def run(kernel, threads, *arguments):
        threads = -(-threads // BLOCK) * BLOCK  # on a GPU a block works on one head
        place = source, kernel, stored, key.device
        work = length * keys * value.shape[-1] // threads  # numbers of a row, or a key
        size = batch * heads, threads, work
        if batch * heads:
            backend.run_kernel(*place, *size, length, heads, *arguments)

    return run


@torch.library.custom_op("rwkv_book::table", mutates_args=())
def forward(
    log_decay: Tensor,
    receptance: Tensor,
    key: Tensor,
    value: Tensor,
    remove: Tensor | None,
    replace: Tensor | None,
    state: Tensor,
    before: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """out (B,T,H,M), the table after it (B,H,M,N), and, if it is kept, `found`."""
    tensors = log_decay, receptance, key, value, remove, replace, state
    out, after, found = allocate(*tensors, before, keep)
    run = runner(key, value, remove, before)
    kept = found if found.numel() else None
    run("forward", value.shape[-1], *contiguous(*tensors), out, after, kept)
    return out, after, found


@forward.register_fake
def allocate(log_decay, receptance, key, value, remove, replace, state, before, keep):
    batch, length, heads, values = value.shape
    length = length if keep and remove is not None else 0
    found = state.new_empty(batch, length, heads, values)
    return value.new_empty(value.shape), state.new_empty(state.shape), found


@torch.library.custom_op("rwkv_book::table_backward", mutates_args=())
def backward(
    log_decay: Tensor,
    receptance: Tensor,
    key: Tensor,
    value: Tensor,
    remove: Tensor | None,
    replace: Tensor | None,
    state: Tensor,
    found: Tensor,
    grad_out: Tensor,
    grad_after: Tensor | None,
    before: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the seven tensors that `forward` takes, (B,0) where one is None."""
    given = contiguous(log_decay, receptance, key, value, remove, replace, state)
    log_decay, receptance, key, value, remove, replace, state = given
    grad_out, grad_after = contiguous(grad_out, grad_after)
    grads = allocate_gradients(*given)
    by_decay, by_receptance, by_key, by_value, by_remove, by_replace, by_state = grads
    by_found = torch.empty_like(found)
    run = runner(key, value, remove, before)
    tokens = log_decay, receptance, key, remove, replace, grad_out, grad_after
    run("backward_rows", value.shape[-1], *tokens, by_value, by_found, by_state)
    batch, length, heads, keys = key.shape
    rooms = BACKENDS[key.device.type].rooms(batch * heads)
    tiles = -(-length // (TILE_BYTES // state.element_size()))
    kept = state.new_empty(rooms, tiles, value.shape[-1], keys)
    by_keys = by_decay, by_receptance, by_key, by_remove, by_replace
    known = *given, found, grad_out, grad_after, by_found
    run("backward_keys", keys, *known, kept, *by_keys)
    return grads


@backward.register_fake
def _(log_decay, receptance, key, value, remove, replace, state, *_):
    return allocate_gradients(log_decay, receptance, key, value, remove, replace, state)


def allocate_gradients(*tensors):
    batch = tensors[0].shape[0]
    return tuple(
        tensors[0].new_empty(batch, 0) if x is None else x.new_empty(x.shape)
        for x in tensors
    )


def contiguous(*tensors):
    return [None if x is None else x.contiguous() for x in tensors]


@forward.register_vmap
def _(info, in_dims, *arguments):
    return in_batches(forward, info.batch_size, in_dims, arguments)


@backward.register_vmap
def _(info, in_dims, *arguments):
    return in_batches(backward, info.batch_size, in_dims, arguments)


def in_batches(operator, size, in_dims, arguments):
    """Run it once for `size` sets of tensors: as texts, which never meet."""
    folded = []
    for x, dim in zip(arguments, in_dims, strict=True):
        if isinstance(x, Tensor):  # (B, ...) to (size · B, ...)
            x = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
            x = x.flatten(0, 1)
        folded.append(x)
    results = [x.unflatten(0, (size, len(x) // size)) for x in operator(*folded)]
    return tuple(results), (0,) * len(results)
