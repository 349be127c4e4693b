"""The recurrence of `equation.py`, compiled from `table.cu`, with its gradient."""

import torch

from rwkv_book.family import derivatives, kernels
from rwkv_book.family.arguments import checked
from rwkv_book.rwkv4.fused import sums_type


def table_fused(
    log_decay,
    receptance,
    key,
    value,
    remove=None,
    replace=None,
    state=None,
    before=False,
):
    state = checked(log_decay, receptance, key, value, remove, replace, state)
    sums = sums_type(key.dtype)
    log_decay, state = log_decay.to(sums), state.to(sums)
    tensors = log_decay, receptance, key, value, remove, replace, state
    keep = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in tensors
    )
    out, after, _ = kernels.forward(*tensors, before, keep)
    return out, after
