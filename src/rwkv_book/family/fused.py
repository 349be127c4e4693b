"""The recurrence of `equation.py`, compiled from `table.cu`, with its gradient."""

import torch

from rwkv_book.family import derivatives
from rwkv_book.family.arguments import checked
from rwkv_book.family.kernels import BACKENDS, LARGEST, STORED
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
    """The recurrence of `equation.py`, compiled: parallel over batch, heads and rows.

    receptance, key, value, remove and replace are all float32, float64, bfloat16 or
    float16, and so is the output. The sums, and so log_decay and the state, are
    float32, beside float64 they are float64. A head has at most 128 keys and 128
    values. O(T N M) time, and O(T M) memory beside the arguments when gradients are
    wanted; while they are computed, each thread of a CPU keeps T / 16 tables (in
    float64 T / 8), and a GPU as many for each head. The same call gives the same bits.
    ValueError where an argument is wrong, RuntimeError without compiler,
    NotImplementedError for derivatives other than gradients.
    """
    state = checked(log_decay, receptance, key, value, remove, replace, state)
    tensors = log_decay, receptance, key, value, remove, replace, state
    check_sizes_types_and_devices(*tensors)
    sums = sums_type(key.dtype)
    log_decay, state = log_decay.to(sums), state.to(sums)
    tensors = log_decay, receptance, key, value, remove, replace, state
    keep = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in tensors
    )
    out, after, _ = derivatives.forward(*tensors, before, keep)
    return out, after


def check_sizes_types_and_devices(
    log_decay, receptance, key, value, remove, replace, state
):
    """Raise one ValueError that names everything that the kernels can't take."""
    if key.dtype not in STORED:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in STORED)
        raise ValueError(f"key must be one of {names}, got {key.dtype}")
    sums, problems = sums_type(key.dtype), []
    for name, size in (("key", key.shape[-1]), ("value", value.shape[-1])):
        if not 1 <= size <= LARGEST:
            problems.append(
                f"{name} must have 1 to {LARGEST} numbers a head, got {size}: "
                "use wkv=table_chunked, which takes any number"
            )
    if key.device.type not in BACKENDS:
        problems.append(f"key must be on a CPU or a CUDA device, got {key.device}")
    stored = {"receptance": receptance, "value": value}
    if remove is not None:
        stored |= {"remove": remove, "replace": replace}
    others = {"log_decay": log_decay, "state": state}
    for name, tensor in stored.items():
        if tensor.dtype != key.dtype:
            problems.append(f"{name} must be {key.dtype} as key is, got {tensor.dtype}")
    for name, tensor in others.items():
        if torch.promote_types(tensor.dtype, sums) != sums:
            problems.append(f"{name} must be {sums} here, got {tensor.dtype}")
    for name, tensor in (stored | others).items():
        if tensor.device != key.device:
            problems.append(f"{name} must be on {key.device}, got {tensor.device}")
    if problems:
        raise ValueError("; ".join(problems))
