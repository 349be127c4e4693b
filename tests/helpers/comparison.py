"""How two forms of one function are compared: lengths, digits, gradients included."""

import pytest
import torch

LENGTHS = [1, 2, 17, 64]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
every_length = pytest.mark.parametrize("length", LENGTHS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def near(found, expected, tolerance=1e-10):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def assert_same(found, expected, tensors, tolerance=1e-10):
    """Equal numbers, and equal gradients of a sum that weighs each differently."""
    near(found, expected, tolerance)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = (
        torch.autograd.grad(
            (weights * out).sum(), tensors, retain_graph=True, allow_unused=True
        )
        for out in (found, expected)
    )
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            near(one, other, tolerance)
