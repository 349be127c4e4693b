"""Which derivatives a compiled operator has: gradients, in every way to ask for them.

What it does not have, it refuses: PyTorch would drop a tangent without a word, and say
that the derivative is 0.
"""

import torch
from torch.autograd.forward_ad import unpack_dual


def differentiable(kernels, remember, differentiate, instead):
    """(forward, backward) of these kernels, wherever they are called.

    `kernels.forward` and `kernels.backward` are PyTorch's operators. `remember` and
    `differentiate` are what its register_autograd takes; `instead` says what has the
    derivatives that these have not.
    """

    def refuse(ctx, *_):
        raise NotImplementedError(
            f"The compiled operator has no second derivatives (hessian): {instead}"
        )

    def need_nothing(ctx, inputs, output):
        """Nothing is needed to refuse."""

    kernels.forward.register_autograd(differentiate, setup_context=remember)
    kernels.backward.register_autograd(refuse)
    Forward = as_function(kernels.forward, remember, differentiate, instead)
    Backward = as_function(kernels.backward, need_nothing, refuse, instead)

    def forward(*arguments):
        return chosen(kernels.forward, Forward, arguments)(*arguments)

    def backward(*arguments):
        return chosen(kernels.backward, Backward, arguments)(*arguments)

    return forward, backward


def as_function(operator, remember, differentiate, instead):
    """An operator for torch.func, and for tangents, which it refuses."""

    class Function(torch.autograd.Function):
        generate_vmap_rule = True
        setup_context = staticmethod(remember)
        backward = staticmethod(differentiate)

        @staticmethod
        def forward(*arguments):
            return operator(*arguments)

        @staticmethod
        def jvp(ctx, *_):
            raise NotImplementedError(
                "The compiled operator has no forward-mode derivative (jvp, jacfwd): "
                f"{instead}"
            )

    return Function


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
