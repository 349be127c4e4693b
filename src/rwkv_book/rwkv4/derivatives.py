"""The two halves of a gradient of the compiled operator.

Which other derivatives are refused, and how, is in `compiled/derivatives.py`.
"""

import torch

from rwkv_book.compiled.derivatives import differentiable
from rwkv_book.rwkv4 import kernels

INSTEAD = "use wkv=wkv_chunked, which PyTorch differentiates in every way"


def remember(ctx, inputs, output):
    *tensors, ctx.chunks, _, ctx.source = inputs
    _, after, checkpoints = output
    ctx.save_for_backward(*tensors, after, checkpoints)
    ctx.mark_non_differentiable(checkpoints)
    ctx.set_materialize_grads(False)


def differentiate(ctx, grad_out, grad_after, _):
    *tensors, after, checkpoints = ctx.saved_tensors
    if checkpoints.shape[1] == 0:  # inside vmap nobody saw that they would be needed
        *_, checkpoints = forward(*tensors, ctx.chunks, True, ctx.source)
    if grad_out is None:
        grad_out = torch.zeros_like(tensors[2])
    given = *tensors, after, checkpoints, grad_out, grad_after
    return *backward(*given, ctx.chunks, ctx.source), None, None, None


forward, backward = differentiable(kernels, remember, differentiate, INSTEAD)
