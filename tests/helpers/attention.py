"""Random heads, random arguments for AFT, and who sees whom."""

import pytest
import torch

masked_or_not = pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])


def heads(length, scale=1, dtype=torch.float64, batch=2, count=2, size=8, seed=0):
    """Random query, key and value, (B,H,T,N) each, that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(3, batch, count, length, size, generator=generator)
    scales = torch.tensor([scale, scale, 1]).view(3, 1, 1, 1, 1)
    return [x.to(dtype).requires_grad_() for x in normal * scales]


def band(length, window, global_tokens=(), causal=False):
    """Who sees whom, as a matrix."""
    t = torch.arange(length)
    mask = (t[:, None] - t).abs() <= window
    mask[:, list(global_tokens)] = True
    mask[list(global_tokens)] = True
    return mask & (t <= t[:, None]) if causal else mask


def aft_tensors(length, scale=1, dtype=torch.float64, seed=0):
    """Query, key and value (2,T,3), and a bias (T,T)."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, 2, length, 3, generator=generator)
    bias = torch.randn(length, length, generator=generator)
    tensors = query, scale * key, value, bias
    return [x.to(dtype).requires_grad_() for x in tensors]
