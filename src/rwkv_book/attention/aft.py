"""AFT, the attention free transformer: no query meets a key.

What a value weighs is said by its own key and by where it stands, for each channel by
itself; the query only lets the average through. Each channel has weights of its own, so
the first functions take (B,T,C) as well as (B,H,T,N). `LocalMixing` is the form that
can be trained in the place of attention.
Source: Zhai et al. 2021, arXiv 2105.14103.
"""

import math

import torch
from torch import nn
from torch.nn.functional import pad

from rwkv_book.attention.average import empty_average
from rwkv_book.attention.softmax import visible
from rwkv_book.layers import at_least_float32

GROUPS = 8  # of the channels of `LocalMixing`, each with biases of its own
WINDOW = 32  # distances with a bias of their own, as in the paper
FACTORS = 16  # a bias is the product of two vectors of so many numbers, and starts
BIAS_SCALE = 3.0  # at random as large: some distances count before any was learned
LARGEST_KEY = 30.0  # exp(30) can be added up 10^25 times in float32


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


def aft_full_products(query, key, value, position_bias, causal=False):
    """The same as products of matrices: O(T²·C) time, O(T² + T·C) memory.

    For biases (T,T), or (H,T,T), and keys that differ by less than 80: a weight that
    is e⁸⁰ times smaller than the largest counts as none.
    """
    if causal:
        seen = visible(*position_bias.shape[-2:], key.device)
        position_bias = position_bias.masked_fill(~seen, -torch.inf)
    by_place = (position_bias - position_bias.amax(-1, keepdim=True)).exp()
    by_key = (key - key.amax(-2, keepdim=True)).exp()
    return query.sigmoid() * (by_place @ (by_key * value)) / (by_place @ by_key)


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


def local_average(key, value, bias, state=None):
    """`aft_local` for texts of any length: the average of all values up to t, where i
    weighs exp(key[i] + bias[t - i]), without a bias from W tokens on.

    key, value and out are (B,T,C), bias (H,W): H groups of channels have biases of
    their own. The state (B,W+1,2C), None before the first token, holds sums of weighted
    values and of weights: a row for each of the last W tokens, and before them a row
    for all others. O(T·W·C) time. Keys count as LARGEST_KEY at most, so that their
    exponentials need no common scale.
    """
    (groups, window), length = bias.shape, key.shape[1]
    weight = key.clamp(-LARGEST_KEY, LARGEST_KEY).exp()
    terms = torch.cat([weight * value, weight], dim=-1)  # (B,T,2C)
    if state is None:
        state = terms.new_zeros(len(key), window + 1, terms.shape[-1])
    older, terms = state[:, :1], torch.cat([state[:, 1:], terms], dim=1)  # (B,W+T,2C)
    blocks = pad(terms, (0, 0, 0, -length % window)).unflatten(1, (-1, window))
    far = torch.cat([older, blocks[:, :-2].sum(2)], dim=1).cumsum(1)  # (B,T/W,2C)
    pairs = torch.cat([blocks[:, :-1], blocks[:, 1:]], dim=2)  # (B,T/W,2W,2C)
    pairs = pairs.unflatten(-1, (2, groups, -1)).movedim(-2, -4)  # (B,T/W,H,2W,2,C/H)
    near = weights_by_distance(bias) @ pairs.flatten(-2)  # (B,T/W,H,W,2C/H)
    near = near.unflatten(-1, (2, -1)).movedim(-4, -2).flatten(-3)  # (B,T/W,W,2C)
    sums = (far[:, :, None] + near).flatten(1, 2)[:, :length]
    num, den = sums.chunk(2, dim=-1)
    older = older + terms[:, :-window].sum(1, keepdim=True)
    return num / den, torch.cat([older, terms[:, -window:]], dim=1)


def weights_by_distance(bias):
    """exp(bias[t - i]) for each t of a block of W tokens and i of it and the one
    before: (H,W) -> (H,W,2W), 1 for distances from W on and 0 for later tokens."""
    window = bias.shape[-1]
    t = torch.arange(window, 2 * window, device=bias.device)[:, None]
    distance = t - torch.arange(2 * window, device=bias.device)
    near = bias[:, distance.clamp(0, window - 1)].masked_fill(distance >= window, 0)
    return near.exp().masked_fill(distance < 0, 0)


class LocalMixing(nn.Module):
    """AFT-local in the place of attention, with the attention's own matrices.

    The one form of AFT that can be trained here on equal terms: AFT-full ends at the
    length it was trained at, as learned positions do, and AFT-simple can't tell the
    order of what it read. A bias for each distance, instead of each pair of positions,
    lets a text go on; groups of channels have biases of their own, as the heads of the
    paper's AFT-conv have.
    """

    def __init__(self, attention):
        super().__init__()
        self.query_key_value, self.output = attention.query_key_value, attention.output
        scale = BIAS_SCALE / math.sqrt(FACTORS)
        self.bias_left = nn.Parameter(scale * torch.randn(GROUPS, FACTORS))
        self.bias_right = nn.Parameter(torch.randn(FACTORS, WINDOW))

    def forward(self, x, state, attention=None):
        """(B,T,C), (B,W+1,2C) or None -> (B,T,C), (B,W+1,2C)"""
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)
        with torch.autocast(x.device.type, enabled=False):  # sums need float32's digits
            average, state = local_average(
                at_least_float32(key),
                at_least_float32(value),
                at_least_float32(self.bias_left @ self.bias_right),
                state,
            )
        return self.output(query.sigmoid() * average.to(x.dtype)), state
