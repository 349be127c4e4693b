"""The kernels of `wkv.cu` as one operator of PyTorch, with its gradient.

Inside, a state is one tensor (B,4,C) with the rows num, den, log_scale and age: as in
`wkv.cu` it stands for (num, den) · exp(log_scale - age · decay_rate).
"""

import math

import torch
from torch import Tensor

from rwkv_book.compiled import cpu, gpu
from rwkv_book.rwkv4.wkv import WkvState, check_arguments, empty_state

STORED = {  # types of key and value, and their names in wkv.cu
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
BACKENDS = {"cpu": cpu, "cuda": gpu}
TILE = 16  # tokens, as in wkv.cu: the state before every tile is kept for `backward`


def wkv_fused(decay_rate, bonus, key, value, state=None, chunks=None):
    """The operator of `wkv.py`, compiled: parallel over batch, channels and chunks.

    key and value are both float32, float64, bfloat16 or float16, and so is the output.
    The sums, and so the state, are float32, beside float64 they are float64. O(T) time,
    and O(T / 16) memory beside the arguments when gradients are wanted. The same
    call gives the same bits. `chunks` is into how many parts time is cut: they run at
    the same time, and cost a second reading of the keys. None takes as many as keep the
    machine busy. ValueError where an argument is wrong, RuntimeError without compiler.
    """
    check_arguments(decay_rate, bonus, key, value, state)
    check_types_and_devices(decay_rate, bonus, key, value, state)
    if chunks is not None and chunks < 1:
        raise ValueError(f"chunks must be at least 1, got {chunks}")
    sums = sums_type(key.dtype)
    state = empty_state(key[:, 0].to(sums)) if state is None else state
    state = torch.stack([*state, torch.zeros_like(state[0])], dim=1).to(sums)
    tensors = (decay_rate.to(sums), bonus.to(sums), key, value, state)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    out, after, _ = forward(*tensors, chunks or 0, keep)
    num, den, log_scale, age = after.unbind(1)
    return out, WkvState(num, den, log_scale - age * tensors[0])


def sums_type(stored):
    """The type of the sums over keys of the type `stored`: float32 at least."""
    return torch.promote_types(stored, torch.float32)


def check_types_and_devices(decay_rate, bonus, key, value, state):
    """Raise one ValueError that names everything that the kernels can't take."""
    if key.dtype not in STORED:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in STORED)
        raise ValueError(f"key must be one of {names}, got {key.dtype}")
    sums, problems = sums_type(key.dtype), []
    if key.device.type not in BACKENDS:
        problems.append(f"key must be on a CPU or a CUDA device, got {key.device}")
    if value.dtype != key.dtype:
        problems.append(f"value must be {key.dtype} as key is, got {value.dtype}")
    others = {"decay_rate": decay_rate, "bonus": bonus}
    if state is not None:
        fields = zip(WkvState._fields, state, strict=True)
        others |= {f"state.{name}": field for name, field in fields}
    for name, tensor in others.items():
        if torch.promote_types(tensor.dtype, sums) != sums:
            problems.append(f"{name} must be {sums} here, got {tensor.dtype}")
    for name, tensor in (others | {"value": value}).items():
        if tensor.device != key.device:
            problems.append(f"{name} must be on {key.device}, got {tensor.device}")
    if problems:
        raise ValueError("; ".join(problems))


def cut(key, chunks):
    """(chunks, tokens of a chunk): whole tiles, and no chunk empty.

    Without a number of chunks, as many as keep the machine busy; fewer than 4 would not
    make up for reading the keys twice.
    """
    batch, length, channels = key.shape
    if chunks == 0:
        at_once = BACKENDS[key.device.type].sums_at_once(key.device)
        chunks = at_once // max(1, batch * channels)
        chunks = chunks if chunks >= 4 else 1
    tokens = math.ceil(length / chunks / TILE) * TILE
    return math.ceil(length / tokens), tokens


def launcher(decay_rate, key, chunks, tokens):
    """A function that runs kernels on keys of this shape: run(name, chunks, ...).

    Its `chunks` says how many of them need threads in this kernel.
    """
    batch, length, channels = key.shape
    launch = BACKENDS[key.device.type].launch

    def run(kernel, with_threads, *arguments):
        shape = (length, channels, chunks, tokens, decay_rate)
        rows = batch * with_threads
        if rows * channels:
            stored = STORED[key.dtype]
            launch(
                kernel, stored, key.device, rows, channels, tokens, *shape, *arguments
            )

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
) -> tuple[Tensor, Tensor, Tensor]:
    """out (B,T,C), the state after it (B,4,C), and, if they are kept, checkpoints."""
    out, after, checkpoints = allocate(
        decay_rate, bonus, key, value, state, chunks, keep
    )
    decay_rate, bonus, key, value, state = contiguous(
        decay_rate, bonus, key, value, state
    )
    chunks, tokens = cut(key, chunks)
    run = launcher(decay_rate, key, chunks, tokens)
    entering = state
    if chunks > 1:
        entering = state.new_empty(len(state), chunks, *state.shape[1:])
        run("sum_chunks", chunks - 1, key, value, entering)
        run("scan_chunks", 1, state, entering, 0)
    kept = checkpoints if keep else None
    run("forward", chunks, bonus, key, value, entering, out, after, kept)
    return out, after, checkpoints


@forward.register_fake
def allocate(decay_rate, bonus, key, value, state, chunks, keep):
    batch, length, channels = key.shape
    assert state.shape == (batch, 4, channels)
    tiles = (length + TILE - 1) // TILE if keep else 0
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
    chunks: int,
    grad_out: Tensor,
    grad_after: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the five tensors that `forward` takes."""
    decay_rate, bonus, key, value, state, grad_out = contiguous(
        decay_rate, bonus, key, value, state, grad_out
    )
    chunks, tokens = cut(key, chunks)
    run = launcher(decay_rate, key, chunks, tokens)
    adjoint = torch.zeros_like(state)
    adjoint[:, 2] = -torch.inf
    if grad_after is not None:  # by (num, den) · exp(...) is by (num, den) · exp(-...)
        adjoint[:, :2], adjoint[:, 2:] = grad_after[:, :2], -after[:, 2:]
    adjoints = adjoint
    if chunks > 1:
        adjoints = state.new_empty(len(state), chunks, *state.shape[1:])
        run(
            "sum_adjoints",
            chunks - 1,
            bonus,
            key,
            value,
            checkpoints,
            grad_out,
            adjoints,
        )
        run("scan_chunks", 1, adjoint, adjoints, 1)
    parts = state.new_empty(2, len(state), chunks, key.shape[2])
    grad_key, grad_value, grad_state = map(torch.empty_like, (key, value, state))
    run(
        *("backward", chunks, bonus, key, value, checkpoints, grad_out, adjoints),
        *(parts[0], parts[1], grad_key, grad_value, grad_state),
    )
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
    token = grad_key.shape[1] - 1 - age.long()
    first = token < 0
    to_token = rest.masked_fill(first, 0).to(grad_key.dtype)
    grad_key.scatter_add_(1, token.clamp(min=0)[:, None], to_token[:, None])
    grad_state[:, 2] += rest.masked_fill(~first, 0)


def contiguous(*tensors):
    return [tensor.contiguous() for tensor in tensors]


def remember(ctx, inputs, output):
    *tensors, ctx.chunks, _ = inputs
    _, after, checkpoints = output
    ctx.save_for_backward(*tensors, after, checkpoints)
    ctx.mark_non_differentiable(checkpoints)
    ctx.set_materialize_grads(False)


def differentiate(ctx, grad_out, grad_after, _):
    *tensors, after, checkpoints = ctx.saved_tensors
    if grad_out is None:
        grad_out = torch.zeros_like(tensors[2])
    arguments = (*tensors, after, checkpoints, ctx.chunks, grad_out, grad_after)
    return *backward(*arguments), None, None


forward.register_autograd(differentiate, setup_context=remember)
