"""The two halves of a gradient of the family's compiled operator.

Which other derivatives are refused, and how, is in `compiled/derivatives.py`.
"""

import torch

from rwkv_book.compiled.derivatives import differentiable
from rwkv_book.family import kernels

INSTEAD = "use wkv=table_chunked, which PyTorch differentiates in every way"


def remember(ctx, inputs, output):
    *tensors, ctx.before, _ = inputs
    _, _, found = output
    ctx.save_for_backward(*tensors, found)
    ctx.mark_non_differentiable(found)
    ctx.set_materialize_grads(False)


def differentiate(ctx, grad_out, grad_after, _):
    *tensors, found = ctx.saved_tensors
    value, remove = tensors[3], tensors[4]
    if remove is not None and found.shape[1] == 0:
        # inside vmap nobody saw that it would be needed
        *_, found = forward(*tensors, ctx.before, True)
    if grad_out is None:
        grad_out = torch.zeros_like(value)
    grads = backward(*tensors, found, grad_out, grad_after, ctx.before)
    pairs = zip(tensors, grads, strict=True)
    return *(None if x is None else grad for x, grad in pairs), None, None


forward, backward = differentiable(kernels, remember, differentiate, INSTEAD)
