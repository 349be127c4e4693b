"""Performer: M random features, whose product is exp(query·key) on average.

With them softmax attention becomes a linear one: O(T·M·N) time, and a state of M·N + M
numbers a head.
Source: Choromanski et al. 2021, arXiv 2009.14794.
"""

import math

import torch

from rwkv_book.attention.average import empty_average
from rwkv_book.attention.softmax import visible

LEAST = 1e-37  # a product of features that float32 still holds


def orthogonal_projection(count, size, generator=None):
    """(M,N) random rows, each a normal vector, orthogonal within every N of them.

    Without the signs of R, as in some programs, a row would not be normal: the QR
    decomposition alone makes the first number of each first row negative.
    """
    rows = []
    for start in range(0, count, size):
        q, r = torch.linalg.qr(torch.randn(size, size, generator=generator))
        norms = torch.randn(size, size, generator=generator).norm(dim=1, keepdim=True)
        rows.append((norms * (q * r.diagonal().sign()).T)[: count - start])
    return torch.cat(rows)


def log_features(x, projection):
    """log φ(x)[m] = projection[m]·x - |x|²/2 - log(M)/2: (B,H,T,N) -> (B,H,T,M).

    For rows that are normal vectors, the mean of φ(x)·φ(y) is exp(x·y), and no feature
    is negative. Kept as logarithms because they would overflow as numbers.
    """
    logs = x @ projection.T - x.square().sum(-1, keepdim=True) / 2
    return logs - math.log(len(projection)) / 2


def performer(query, key, value, projection):
    """φ(query) (φ(key)ᵀ value) over its sum, with features that stand for exp.

    Each feature averages the tokens, then each query averages the features: two
    softmaxes that hold the same sums. O(T·M·N) time, O(T·M) memory; not causal. The
    relative error of one weight is about exp(|q + k|²/2) / sqrt(M), for q and k divided
    by N^(1/4): it falls slowly with features and grows fast with scores.
    """
    scale = query.shape[-1] ** -0.25  # on both sides: 1 / sqrt(N) in their product
    query, key = (log_features(x * scale, projection) for x in (query, key))
    average = key.softmax(-2).transpose(-1, -2) @ value  # (B,H,M,N)
    log_weight = key.logsumexp(-2, keepdim=True)  # (B,H,1,M)
    return (query + log_weight).softmax(-1) @ average


def performer_pairs(query, key, value, projection, causal=False):
    """The same with its weights written out: O(T²·M) time, quick where T is small.

    A softmax over log(φ(query)·φ(key)), with the largest feature of each vector taken
    out before the product and put back after it. For gradients, too.
    """
    scale = query.shape[-1] ** -0.25
    query, key = (log_features(x * scale, projection) for x in (query, key))
    largest = key.amax(-1, keepdim=True)  # a query's own cancels in the softmax
    query, key = (query - query.amax(-1, keepdim=True)).exp(), (key - largest).exp()
    logits = (query @ key.mT).clamp(min=LEAST).log() + largest.mT  # (B,H,T,T)
    if causal:
        seen = visible(*logits.shape[-2:], logits.device)
        logits = logits.masked_fill(~seen, -torch.inf)
    return logits.softmax(-1) @ value


def performer_recurrent(query, key, value, projection, state=None):
    """The same, causal: O(T·M·N) time, a state of M·N + M numbers a head."""
    scale = query.shape[-1] ** -0.25
    query, key = (log_features(x * scale, projection) for x in (query, key))
    key, value = key[..., None], value[..., None, :]  # (B,H,T,M,1), (B,H,T,1,N)
    if state is None:
        state = empty_average(key[:, :, 0], value[:, :, 0])
    out = []
    for q, k, v in zip(query.unbind(2), key.unbind(2), value.unbind(2), strict=True):
        state = state.include(k, v)
        weights = (q + state.log_weight.squeeze(-1)).softmax(-1)  # (B,H,M)
        out.append((weights[..., None, :] @ state.average).squeeze(-2))
    return torch.stack(out, dim=2), state
