"""Softmax attention, and the ways to make it cheaper: f(query, key, value) -> out.

Each is (B,H,T,N) in and out: H heads of N channels. Softmax attention compares every
pair of tokens, and that is what it costs:

    out[t] = sum_i softmax_i(query[t]·key[i] / sqrt(N)) value[i]        O(T²·N) time

    method          its idea                                  time
    linear          another similarity, and move the brackets T·N²
    Linformer       M weighted sums of tokens instead of T    T·M·N
    Nyströmformer   M landmarks stand between the tokens      T·M·N + M³
    Longformer      M neighbours, and a few tokens for all    T·M·N
    Performer       M random features whose product is exp    T·M·N
    AFT             no comparison: weights by place and key   T²·N, simple T·N

A function named `..._recurrent` is a causal form with a state of fixed size: it returns
the outputs and the state after the last token, and takes one to go on from. The table
METHODS at the end gives all of them one interface, with what they cost in closed form.
Sources: Vaswani et al. 2017, arXiv 1706.03762, and at each function.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode


def split_heads(x, heads):
    """(B,T,C) -> (B,H,T,N): C = H·N channels become H heads of N; ValueError."""
    if x.shape[-1] % heads:
        raise ValueError(f"{x.shape[-1]} channels are no {heads} equal heads")
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


# Linear attention: Katharopoulos et al. 2020, arXiv 2006.16236.


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


def linformer(query, key, value, project_key, project_value):
    """Softmax over M weighted sums of tokens, project (T,M): O(T·M·N) time, T·M memory.

    Never causal: a sum holds later tokens too. For texts of length T only, as the
    projections are learned. Source: Wang et al. 2020, arXiv 2006.04768.
    """
    return softmax_attention(query, project_key.T @ key, project_value.T @ value)


def segment_means(x, segments):
    """The means of T tokens in `segments` stretches of equal length, give or take 1."""
    if not 1 <= segments <= x.shape[-2]:
        raise ValueError(f"{x.shape[-2]} tokens make no {segments} segments")
    parts = x.tensor_split(segments, dim=-2)
    return torch.stack([part.mean(-2) for part in parts], dim=-2)


def nystromformer(query, key, value, landmarks, iterations=6):
    """Tokens meet through M landmarks, means of segments: softmax(T,M) (M,M)⁻¹ (M,T).

    O(T·M·N + M³) time, O(T·M + M²) memory. With M = T it is softmax attention, as far
    as `iterations` steps of the inverse go. Never causal: a landmark holds later tokens
    too. Weights can be negative. Source: Xiong et al. 2021, arXiv 2102.03902.
    """
    query_marks = segment_means(query, landmarks)  # (B,H,M,N)
    key_marks = segment_means(key, landmarks)
    to_marks = scores(query, key_marks).softmax(-1)  # (B,H,T,M)
    between = scores(query_marks, key_marks).softmax(-1)  # (B,H,M,M)
    from_marks = scores(query_marks, key).softmax(-1)  # (B,H,M,T)
    return to_marks @ (pseudo_inverse(between, iterations) @ (from_marks @ value))


def pseudo_inverse(matrix, iterations):
    """Z with matrix·Z·matrix close to matrix: products only, each step cubes the error.

    It starts from matrixᵀ over the product of its largest row and column sums, for each
    matrix of a batch by itself. O(M³) an iteration. Source: Razavi et al. 2014.
    """
    rows = matrix.abs().sum(-1).amax(-1)[..., None, None]
    columns = matrix.abs().sum(-2).amax(-1)[..., None, None]
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    inverse = matrix.transpose(-1, -2) / (rows * columns)
    for _ in range(iterations):
        near = matrix @ inverse  # close to one, at last
        inverse = inverse @ (13 * one - near @ (15 * one - near @ (7 * one - near))) / 4
    return inverse


def longformer(query, key, value, window, global_tokens=(), causal=False):
    """Softmax over the `window` tokens on each side, and over the global tokens.

    Tokens at the positions `global_tokens` are seen by all and see all (with `causal`,
    all before them), by the same projections as the others. O(T·window·N) time,
    O(T·(window + N)) memory, plus O(T·G) for G global tokens. Causal if asked, with a
    state of the last window + 1 keys and values, and of the global ones.
    Source: Beltagy et al. 2020, arXiv 2004.05150.
    """
    length, size = query.shape[2], max(1, window)
    marked = torch.as_tensor(global_tokens, dtype=torch.long, device=query.device)
    queries = pad(query, (0, 0, 0, -length % size)).unflatten(2, (-1, size))
    near, far = who_sees_whom(length, size, window, marked, causal)
    logits = scores(queries, blocks(key, size, causal)).masked_fill(~near, -torch.inf)
    to_marked = scores(queries, key[:, :, None, marked]).masked_fill(~far, -torch.inf)
    weights = torch.cat([logits, to_marked], dim=-1).softmax(-1)
    nearby, to_marked = weights.split([logits.shape[-1], len(marked)], dim=-1)
    out = nearby @ blocks(value, size, causal) + to_marked @ value[:, :, None, marked]
    out = out.flatten(2, 3)[:, :, :length]
    logits = scores(query[:, :, marked], key)  # (B,H,G,T)
    if causal:
        later = torch.arange(length, device=query.device) > marked[:, None]
        logits = logits.masked_fill(later, -torch.inf)
    return out.index_copy(2, marked, logits.softmax(-1) @ value)


def blocks(x, size, causal):
    """(B,H,T,N) -> (B,H,T/size,3·size,N): each block, the one before, the one after.

    Without the one after, 2·size, if `causal`. Zeros where there is no token.
    """
    after = -x.shape[2] % size + (0 if causal else size)
    padded = pad(x, (0, 0, size, after))
    return padded.unfold(2, (2 if causal else 3) * size, size).transpose(-1, -2)


def who_sees_whom(length, size, window, marked, causal):
    """Masks of what `blocks` lays out, (T/size,size,3·size), and of marked tokens."""
    t = torch.arange(whole_blocks(length, size), device=marked.device)
    t = t.view(-1, size, 1)  # a query
    i = t[:, :1] - size + torch.arange((2 if causal else 3) * size, device=t.device)
    real = (i >= 0) & ((i < length) | (t >= length))  # padding sees padding: no NaN
    near = real & ((t - i).abs() <= window) & ~torch.isin(i, marked)
    far = torch.ones_like(t == marked)  # (T/size,size,G)
    return (near & (i <= t), far & (marked <= t)) if causal else (near, far)


def whole_blocks(length, size):
    """`length` rounded up to a multiple of `size`."""
    return length + -length % size


# Performer: Choromanski et al. 2021, arXiv 2009.14794.


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


class Average(NamedTuple):
    """A weighted average of values so far, and the logarithm of its weights' sum."""

    average: Tensor
    log_weight: Tensor

    def include(self, log_weight, value):
        """One more value: it moves the average by its share of all weight."""
        total = torch.logaddexp(self.log_weight, log_weight)
        share = (log_weight - total).exp()
        return Average(self.average + share * (value - self.average), total)


def empty_average(log_weight, value):
    """The average before the first value: 0, with a weight of exp(-inf) = 0."""
    zero = torch.zeros_like(log_weight)
    return Average(zero * torch.zeros_like(value), zero - torch.inf)


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


# AFT, the attention free transformer: Zhai et al. 2021, arXiv 2105.14103. Each channel
# has weights of its own, so these take (B,T,C) as well as (B,H,T,N).


def aft_full(query, key, value, position_bias, causal=False):
    """sigmoid(query[t]) · sum_i softmax_i(key[i] + position_bias[t,i]) value[i].

    No query meets a key; position_bias (T,T) is learned. O(T²·C) time, and memory here;
    as the product of matrices exp(position_bias) exp(key) it takes O(T² + T·C), and
    overflows at 89 in float32. Causal if asked, but with no state that is smaller than
    all keys and values. For texts up to length T only.
    """
    logits = key.unsqueeze(-3) + position_bias[..., None]  # (B,T,T,C)
    if causal:
        seen = visible(*position_bias.shape[-2:], key.device)
        logits = logits.masked_fill(~seen[..., None], -torch.inf)
    return query.sigmoid() * (logits.softmax(-2) * value.unsqueeze(-3)).sum(-2)


def aft_local(query, key, value, position_bias, window, causal=False):
    """`aft_full` with a bias of 0 for tokens `window` or more apart, which stay in.

    It saves weights, not time here, where it costs what `aft_full` does: 2·window - 1
    biases a token are learned.
    """
    t = torch.arange(position_bias.shape[-1], device=key.device)
    near = (t[:, None] - t).abs() < window
    return aft_full(query, key, value, position_bias * near, causal)


def aft_simple(query, key, value):
    """`aft_full` without any bias, not causal: O(T·C) time and memory."""
    average = (key.softmax(-2) * value).sum(-2, keepdim=True)
    return query.sigmoid() * average


def aft_simple_recurrent(query, key, value, state=None):
    """The same, causal: O(T·C) time, a state of 2·C numbers. RWKV's WKV, undecayed."""
    if state is None:
        state = empty_average(key[..., 0, :], value[..., 0, :])
    out = []
    for k, v in zip(key.unbind(-2), value.unbind(-2), strict=True):
        state = state.include(k, v)
        out.append(state.average)
    return query.sigmoid() * torch.stack(out, dim=-2), state


# All of them behind one interface.


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
