"""Which derivatives the compiled operator has: gradients, in every way to ask for them.

What it does not have, it refuses: PyTorch would drop a tangent without a word, and say
that the derivative is 0.
"""

import torch
from torch.autograd.forward_ad import unpack_dual

from rwkv_book.rwkv4 import kernels

INSTEAD = "use wkv=wkv_chunked, which PyTorch differentiates in every way"
NO_TANGENTS = (
    f"The compiled operator has no forward-mode derivative (jvp, jacfwd): {INSTEAD}"
)


def forward(*arguments):
    """`kernels.forward`, wherever it is called."""
    return chosen(kernels.forward, Forward, arguments)(*arguments)


def backward(*arguments):
    """`kernels.backward`, wherever it is called."""
    return chosen(kernels.backward, Backward, arguments)(*arguments)


def chosen(operator, function, arguments):
    """The operator, which is quick; the function within torch.func, and for tangents.

    PyTorch's operators don't know either; torch.compile takes no function with a jvp.
    """
    if torch.compiler.is_compiling():
        return operator
    tensors = (x for x in arguments if isinstance(x, torch.Tensor))
    if torch._C._are_functorch_transforms_active() or any(map(is_dual, tensors)):
        return function.apply
    return operator


def is_dual(tensor):
    """Whether a tangent travels with it."""
    return unpack_dual(tensor).tangent is not None


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
