"""All methods behind one interface, with what they cost in closed form: METHODS.

`effective_matrix` shows the weights that a method applies, and `LargestArray` counts
how much memory it needs, to hold the closed forms against.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rwkv_book.attention.aft import (
    aft_full,
    aft_local,
    aft_simple,
    aft_simple_recurrent,
)
from rwkv_book.attention.linear import linear_attention, linear_attention_recurrent
from rwkv_book.attention.longformer import longformer, whole_blocks
from rwkv_book.attention.nystromformer import nystromformer, segment_means
from rwkv_book.attention.performer import (
    orthogonal_projection,
    performer,
    performer_recurrent,
)
from rwkv_book.attention.softmax import scores, softmax_attention


@dataclass(frozen=True)
class Method:
    """A way to attend, on a `budget` M of something, and what it costs per head.

    `apply(query, key, value, budget, causal)` gives out (B,H,T,N). The costs are
    functions of T, N and M. `flops` (two for a multiplication and an addition) and
    `memory` (numbers in the largest array that is made) are those of the form that is
    not causal, `state` counts the numbers that generation keeps: None if it can't.
    """

    apply: Callable
    budget: str | None  # what it counts; None: there is nothing to choose
    flops: Callable
    memory: Callable
    state: Callable | None
    per_channel: bool = False  # each channel has weights of its own

    def __call__(self, query, key, value, budget=None, causal=False):
        """ValueError for a causal form where later tokens can't be kept out."""
        if causal and not self.causal:
            raise ValueError("this method mixes later tokens in: it can't be causal")
        return self.apply(query, key, value, budget, causal)

    @property
    def causal(self):
        return self.state is not None


def effective_matrix(method, query, key, budget=None, causal=False):
    """The weights that a method applies, out = matrix · value: (B,H,T,T).

    It is the output for the identity as values. Where each channel has weights of its
    own, their mean, with the receptance that multiplies them.
    """
    length = key.shape[2]
    values = torch.eye(length, dtype=key.dtype, device=key.device)
    if not method.per_channel:
        values = values.expand(*key.shape[:2], -1, -1)
        return method(query, key, values, budget, causal)
    columns = [
        method(query, key, one[:, None].expand_as(key), budget, causal).mean(-1)
        for one in values
    ]
    return torch.stack(columns, dim=-1)


class LargestArray(TorchDispatchMode):
    """While it is active: `numbers` in the largest array that an operation makes.

    with LargestArray() as largest: ...
    """

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        results = operation(*arguments, **(options or {}))
        for result in results if isinstance(results, tuple | list) else [results]:
            if isinstance(result, Tensor):
                self.numbers = max(self.numbers, result.numel())
        return results


def linformer_of_means(query, key, value, budget, causal):
    """A Linformer before it has learned its projections: they are means of segments."""
    means = segment_means(key, budget), segment_means(value, budget)
    return softmax_attention(query, *means)


def longformer_of_budget(query, key, value, budget, causal):
    """`budget` tokens to see: all behind, with itself, or half on each side."""
    window = budget - 1 if causal else budget // 2
    return longformer(query, key, value, window, causal=causal)


def performer_of_budget(query, key, value, budget, causal):
    """`budget` features, always the same ones for the same size."""
    generator = torch.Generator().manual_seed(0)
    projection = orthogonal_projection(budget, key.shape[-1], generator).to(key)
    if causal:
        return performer_recurrent(query, key, value, projection)[0]
    return performer(query, key, value, projection)


def mean_scores(query, key):
    """A table for AFT in place of a learned one: the mean scores (H,T,T) of a batch.

    Of the batch that it is then used on, which is kinder than a table for all texts.
    """
    return scores(query, key).mean(0)


METHODS = {
    "softmax": Method(
        lambda q, k, v, budget, causal: softmax_attention(q, k, v, causal),
        budget=None,
        flops=lambda T, N, M: 4 * T * T * N,
        memory=lambda T, N, M: max(T * T, T * N),
        state=lambda T, N, M: 2 * T * N,
    ),
    "linear": Method(
        lambda q, k, v, budget, causal: (
            linear_attention_recurrent(q, k, v)[0]
            if causal
            else linear_attention(q, k, v)
        ),
        budget=None,
        flops=lambda T, N, M: 4 * T * N * N + 2 * T * N,
        memory=lambda T, N, M: max(T * N, N * N),
        state=lambda T, N, M: N * N + N,
    ),
    "linformer": Method(
        linformer_of_means,
        budget="sums of tokens",
        flops=lambda T, N, M: 4 * T * M * N,
        memory=lambda T, N, M: max(T * M, T * N),
        state=None,
    ),
    "nystromformer": Method(
        lambda q, k, v, budget, causal: nystromformer(q, k, v, budget),
        budget="landmarks",
        flops=lambda T, N, M: 8 * T * M * N + 4 * M * M * N + 6 * 8 * M**3,
        memory=lambda T, N, M: max(T * M, T * N, M * M),
        state=None,
    ),
    "longformer": Method(
        longformer_of_budget,
        budget="tokens in the window",
        # blocks of half a window, each against itself and both of its neighbours
        flops=lambda T, N, M: 12 * whole_blocks(T, max(1, M // 2)) * max(1, M // 2) * N,
        memory=lambda T, N, M: 3 * whole_blocks(T, max(1, M // 2)) * max(M // 2, N),
        state=lambda T, N, M: 2 * min(T, M) * N,
    ),
    "performer": Method(
        performer_of_budget,
        budget="random features",
        flops=lambda T, N, M: 8 * T * M * N,
        memory=lambda T, N, M: max(T * M, T * N, M * N),
        state=lambda T, N, M: M * N + M,
    ),
    "aft full": Method(
        lambda q, k, v, budget, causal: aft_full(q, k, v, mean_scores(q, k), causal),
        budget=None,
        flops=lambda T, N, M: 2 * T * T * N,
        memory=lambda T, N, M: T * T * N,
        state=lambda T, N, M: 2 * T * N,
        per_channel=True,
    ),
    "aft local": Method(
        lambda q, k, v, budget, causal: aft_local(
            q, k, v, mean_scores(q, k), budget, causal
        ),
        budget="tokens with a bias, on each side",
        flops=lambda T, N, M: 2 * T * T * N,
        memory=lambda T, N, M: T * T * N,
        state=lambda T, N, M: 2 * min(T, M) * N + 2 * N,
        per_channel=True,
    ),
    "aft simple": Method(
        lambda q, k, v, budget, causal: (
            aft_simple_recurrent(q, k, v)[0] if causal else aft_simple(q, k, v)
        ),
        budget=None,
        flops=lambda T, N, M: 2 * T * N,
        memory=lambda T, N, M: T * N,
        state=lambda T, N, M: 2 * N,
        per_channel=True,
    ),
}
