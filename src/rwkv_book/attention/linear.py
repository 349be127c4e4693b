"""Linear attention: another similarity, φ(query)·φ(key), and the brackets moved.

A product of features can be summed over tokens before any query comes, so that T tokens
take O(T·N²) time, and a text can go on from a state of N² + N numbers a head.
Source: Katharopoulos et al. 2020, arXiv 2006.16236.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rwkv_book.attention.softmax import visible


def features(x):
    """φ(x) = elu(x) + 1, which is 1 + x above 0 and exp(x) below: never negative."""
    return x.relu() + x.clamp(max=0).exp()


def linear_attention_pairs(query, key, value, causal=False):
    """Weights φ(query[t])·φ(key[i]) over their sum, all pairs: O(T²·N), as softmax."""
    weights = features(query) @ features(key).transpose(-1, -2)  # (B,H,T,T)
    if causal:
        weights = weights * visible(*weights.shape[-2:], weights.device)
    return weights @ value / weights.sum(-1, keepdim=True)


def linear_attention(query, key, value):
    """The same weights, not causal, brackets moved: O(T·N²) time, O(T·N) memory.

    (φ(query) φ(key)ᵀ) value needs all pairs; φ(query) (φ(key)ᵀ value) needs one
    (N,N) matrix, which does not grow with T.
    """
    query, key = features(query), features(key)
    num = key.transpose(-1, -2) @ value  # (B,H,N,N)
    den = key.sum(-2).unsqueeze(-1)  # (B,H,N,1)
    return query @ num / (query @ den)


class LinearState(NamedTuple):
    """Sums over the tokens so far of φ(key) valueᵀ (B,H,N,N) and of φ(key) (B,H,N)."""

    num: Tensor
    den: Tensor


def linear_attention_recurrent(query, key, value, state=None):
    """The same, causal, as an RNN: O(T·N²) time, a state of N² + N numbers a head."""
    query, key = features(query), features(key)
    if state is None:
        den = torch.zeros_like(key[:, :, 0])
        state = LinearState(den[..., None] * value[:, :, 0, None], den)
    out = []
    for q, k, v in zip(query.unbind(2), key.unbind(2), value.unbind(2), strict=True):
        state = LinearState(state.num + k[..., None] * v[..., None, :], state.den + k)
        weighted = (q[..., None, :] @ state.num).squeeze(-2)  # (B,H,N)
        out.append(weighted / (q * state.den).sum(-1, keepdim=True))
    return torch.stack(out, dim=2), state
