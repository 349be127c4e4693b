"""The operator of `wkv.py`, compiled from `wkv.cu`, with its gradient."""

from functools import partial

import torch

from rwkv_book.compiled.source import HARDWARE
from rwkv_book.rwkv4 import derivatives, kernels
from rwkv_book.rwkv4.kernels import BACKENDS, SOURCE, STORED
from rwkv_book.rwkv4.wkv import WkvState, at_most_finite, check_arguments, empty_state


def wkv_fused(
    decay_rate, bonus, key, value, state=None, chunks=None, source=SOURCE.name
):
    """The operator of `wkv.py`, compiled: parallel over batch, channels and chunks.

    key and value are both float32, float64, bfloat16 or float16, and so is the output.
    The sums, and so the state, are float32, beside float64 they are float64. O(T) time,
    and O(T / 16) memory beside the arguments when gradients are wanted. The same
    call gives the same bits. `chunks` is into how many parts time is cut: they run at
    the same time, and cost a second reading of the keys. The keys of a single one are
    read once, on a GPU by eight warps together. None takes as many as keep the machine
    busy. Sums in float32 count 2^24 tokens at most. Before a CUDA graph is captured, it
    has to run once, forward and backward. `source` is what `from_source` fills in.
    ValueError where an argument is wrong, RuntimeError without compiler,
    NotImplementedError for derivatives other than gradients.
    """
    check_arguments(decay_rate, bonus, key, value, state)
    check_types_and_devices(decay_rate, bonus, key, value, state)
    sums = sums_type(key.dtype)
    longest = 2 / torch.finfo(sums).eps
    if key.shape[1] > longest:
        raise ValueError(
            f"key must have at most {longest:.0f} tokens, which its sums can count, "
            f"got {key.shape[1]}: cut it, and hand the state on"
        )
    if chunks is not None and chunks < 1:
        raise ValueError(f"chunks must be at least 1, got {chunks}")
    state = empty_state(key[:, 0].to(sums)) if state is None else state
    state = torch.stack([*state, torch.zeros_like(state[0])], dim=1).to(sums)
    decay_rate = at_most_finite(decay_rate.to(sums))
    tensors = (decay_rate, bonus.to(sums), key, value, state)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    out, after, _ = derivatives.forward(*tensors, chunks or 0, keep, source)
    num, den, log_scale, age = after.unbind(1)
    log_scale = torch.addcmul(log_scale, age, decay_rate, value=-1)
    return out, WkvState(num, den, log_scale)


def from_source(text, hardware=HARDWARE, on_gpu=""):
    """`wkv_fused` with kernels compiled from another text than that of wkv.cu.

    Without a text `on_gpu`, such as `SOURCE.on_gpu`, a GPU has no pass of its own: with
    one chunk it runs the classic loop, as a CPU does.
    It raises RuntimeError when the text does not compile. What was compiled is kept
    nowhere.
    """
    return partial(wkv_fused, source=kernels.name_of(text, hardware, on_gpu))


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
