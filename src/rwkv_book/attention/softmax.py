"""Softmax attention: every pair of tokens is compared, f(query, key, value) -> out.

    out[t] = sum_i softmax_i(query[t]·key[i] / sqrt(N)) value[i]        O(T²·N) time

Query, key, value and out are (B,H,T,N): H heads of N channels. Without positions the
order of tokens makes no difference; `rotary` gives them some. What generation keeps is
the cache, all keys and values so far.
Source: Vaswani et al. 2017, arXiv 1706.03762; positions: at `rotary`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def split_heads(x, heads):
    """(B,T,C) -> (B,H,T,N): C = H·N channels become H heads of N; ValueError."""
    if x.shape[-1] % heads:
        raise ValueError(f"{x.shape[-1]} channels don't make {heads} equal heads")
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x):
    """(B,H,T,N) -> (B,T,C): the heads side by side again."""
    return x.transpose(1, 2).flatten(-2)


def rotary(x, start=0, base=10000.0):
    """Rotate channels n and n + N/2 by position · base^(-2n/N): (B,H,T,N) -> same.

    The product of a query and a key that were rotated depends on how far apart they
    are, not on where. `start` is the position of the first token. ValueError for odd N.
    Source: Su et al. 2021, arXiv 2104.09864.
    """
    length, size = x.shape[-2:]
    if size % 2:
        raise ValueError(f"rotary positions need an even head size, got {size}")
    exact = {"dtype": torch.float64, "device": x.device}  # positions grow large
    rate = base ** (-torch.arange(0, size, 2, **exact) / size)
    angle = torch.arange(start, start + length, **exact)[:, None] * rate  # (T,N/2)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def scores(query, key):
    """query[t]·key[i] / sqrt(N) for every pair: (B,H,T,T)."""
    return query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])


def visible(queries, keys, device=None):
    """Who may see whom, (queries, keys): a token sees itself and what came before.

    With fewer queries than keys, the queries are the last tokens.
    """
    mask = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return mask.tril(keys - queries)


def softmax_attention(query, key, value, causal=False):
    """Every pair of tokens at once: O(T²·N) time, O(T²) memory."""
    logits = scores(query, key)  # (B,H,T,T)
    if causal:
        seen = visible(*logits.shape[-2:], logits.device)
        logits = logits.masked_fill(~seen, -torch.inf)
    return logits.softmax(-1) @ value


def fused_attention(query, key, value, causal=False):
    """The same function in one kernel of PyTorch: O(T²·N) time, O(T·N) memory."""
    queries, keys = query.shape[-2], key.shape[-2]
    mask = None
    if causal and 1 < queries < keys:  # one query is the last token: it sees all
        mask = visible(queries, keys, query.device)
    square = causal and queries == keys
    return scaled_dot_product_attention(query, key, value, mask, is_causal=square)


class KvCache(NamedTuple):
    """The state of softmax attention: all keys and values so far, (B,H,T,N) each."""

    key: Tensor
    value: Tensor

    @property
    def nbytes(self):
        """2·B·H·T·N numbers, in bytes: it grows with every token."""
        return self.key.nbytes + self.value.nbytes


def cached_attention(query, key, value, cache=None, attention=softmax_attention):
    """Causal attention that goes on from a cache: new tokens in, out and cache back.

    A single new token costs O(T·N) time, where T counts the old ones too.
    """
    if cache is not None:
        key = torch.cat([cache.key, key], dim=2)
        value = torch.cat([cache.value, value], dim=2)
    return attention(query, key, value, causal=True), KvCache(key, value)
