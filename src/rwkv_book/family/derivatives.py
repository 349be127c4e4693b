"""Which derivatives the compiled operator has: gradients, in every way to ask for them.

What it does not have, it refuses: PyTorch would drop a tangent without a word, and say
that the derivative is 0.
"""

import torch

from rwkv_book.family import kernels


def remember(ctx, inputs, output):
    *tensors, ctx.before, _ = inputs
    _, _, found = output
    ctx.save_for_backward(*tensors, found)
    ctx.mark_non_differentiable(found)
    ctx.set_materialize_grads(False)


def differentiate(ctx, grad_out, grad_after, _):
    *tensors, found = ctx.saved_tensors
    value, remove = tensors[3], tensors[4]
    if grad_out is None:
        grad_out = torch.zeros_like(value)
    grads = kernels.backward(*tensors, found, grad_out, grad_after, ctx.before)
    if remove is None:
        grads = [*grads[:4], None, None, grads[4]]
    return *grads, None, None


kernels.forward.register_autograd(differentiate, setup_context=remember)
