"""Which derivatives the compiled operator has: gradients, in every way to ask for them.

What it does not have, it refuses, as the one of RWKV-4 does.
"""

import torch

from rwkv_book.family import kernels
from rwkv_book.rwkv4.derivatives import chosen

INSTEAD = "use wkv=table_chunked, which PyTorch differentiates in every way"
NO_TANGENTS = (
    f"The compiled operator has no forward-mode derivative (jvp, jacfwd): {INSTEAD}"
)


def forward(*arguments):
    """`kernels.forward`, wherever it is called."""
    return chosen(kernels.forward, Forward, arguments)(*arguments)


def backward(*arguments):
    """`kernels.backward`, wherever it is called."""
    return chosen(kernels.backward, Backward, arguments)(*arguments)


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


def refuse(ctx, *_):
    raise NotImplementedError(
        f"The compiled operator has no second derivatives (hessian): {INSTEAD}"
    )


kernels.forward.register_autograd(differentiate, setup_context=remember)
kernels.backward.register_autograd(refuse)


class Forward(torch.autograd.Function):
    """`kernels.forward` for torch.func, and for tangents."""

    generate_vmap_rule = True
    setup_context = staticmethod(remember)
    backward = staticmethod(differentiate)

    @staticmethod
    def forward(*arguments):
        return kernels.forward(*arguments)

    @staticmethod
    def jvp(ctx, *_):
        raise NotImplementedError(NO_TANGENTS)


class Backward(torch.autograd.Function):
    """`kernels.backward` for torch.func, and for tangents."""

    generate_vmap_rule = True
    backward = staticmethod(refuse)

    @staticmethod
    def forward(*arguments):
        return kernels.backward(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Nothing is needed to refuse."""

    @staticmethod
    def jvp(ctx, *_):
        raise NotImplementedError(NO_TANGENTS)
