"""The kernels of `table.cu` as two operators of PyTorch, forward and backward.

All tensors are as in `equation.py`; `found` (B,T,H,M) is what each token found of the
table in `remove`, all that `backward` needs of `forward`.
"""

from dataclasses import replace as changed
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

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
TILE = SOURCE.number("TILE")  # tokens from one table that `backward` keeps to the next


@cache
def source_for(keys, values, removes, before):
    """The kernels for heads of so many keys and values, compiled when they first run."""
    constants = {"N": keys, "M": values, "REMOVE": removes, "BEFORE": before}
    known = tuple((name, int(number)) for name, number in constants.items())
    return changed(SOURCE, constants=known)


def runner(key, value, remove, before):
    """A function that runs kernels on tensors of these shapes: run(name, ...).

    `threads` says how many of them a head needs: one for each row, or for each key.
    """
    batch, length, heads, size = key.shape
    source = source_for(size, value.shape[-1], remove is not None, before)
    backend, stored = BACKENDS[key.device.type], STORED[key.dtype]

    def run(kernel, threads, *arguments):
        place = source, kernel, stored, key.device
        if batch * heads:
            work = length * size  # numbers of each row or key
            backend.run_kernel(
                *place, batch * heads, threads, work, length, heads, *arguments
            )

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
    run("forward", value.shape[-1], *contiguous_or_none(*tensors), out, after, kept)
    return out, after, found


@forward.register_fake
def allocate(
    log_decay, receptance, key, value, remove, replace, state, before, keep
):
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
) -> list[Tensor]:
    """Gradients of the tensors that `forward` takes: seven, or five without removal."""
    tensors = contiguous_or_none(
        log_decay, receptance, key, value, remove, replace, state, grad_out, grad_after
    )
    log_decay, receptance, key, value, remove, replace, state, *by = tensors
    grad_out, grad_after = by
    given = (log_decay, receptance, key, value, remove, replace, state)
    grads = [None if x is None else x.new_empty(x.shape) for x in given]
    batch, length, heads, keys = key.shape
    values = value.shape[-1]
    run = runner(key, value, remove, before)
    by_found = torch.empty_like(found)
    rows = log_decay, receptance, key, remove, replace, grad_out, grad_after
    run("backward_rows", values, *rows, grads[3], by_found, grads[6])
    desks = batch * heads if key.is_cuda else torch.get_num_threads()
    kept = state.new_empty(desks, -(-length // TILE), values, keys)
    own = grads[0], grads[1], grads[2], grads[4], grads[5]
    run("backward_keys", keys, *given, found, *by, by_found, kept, *own)
    return [grad for grad in grads if grad is not None]


@backward.register_fake
def _(log_decay, receptance, key, value, remove, replace, state, *_):
    given = log_decay, receptance, key, value, remove, replace, state
    return [x.new_empty(x.shape) for x in given if x is not None]


def contiguous_or_none(*tensors):
    return [None if x is None else x.contiguous() for x in tensors]
