"""The WKV operator of RWKV-4 in four forms that compute the same function.

Every channel keeps a weighted average of the values that it has read. Token i weighs
exp(logit[t, i]) at time t:

    logit[t, i] = key[i] - (t - 1 - i) * decay_rate   for an earlier token, i < t
                = key[t] + bonus                      for the newest one, i = t

and the output is sum_i exp(logit[t, i]) * value[i] / sum_i exp(logit[t, i]).

    form             time            memory    steps that wait for each other
    wkv_attention    O(T²)           O(T²)     O(1)
    wkv_recurrent    O(T)            O(1)      O(T)
    wkv_scan         O(T log T)      O(T)      O(log T)
    wkv_chunked      O(T · chunk)    O(T)      O(T / chunk)

Memory is what the sums need beside keys, values and outputs, O(T) in any form. Every
form takes decay_rate (C,), at least 0, bonus (C,), key and value (B,T,C), and
`state`, which an earlier call returned, or None when nothing has been read. It returns
the averages (B,T,C) and the state after the last token, and gradients flow through all.
Source of the formula: Peng et al. 2023, arXiv 2305.13048, equation 16.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class WkvState(NamedTuple):
    """A weighted sum of values and the sum of its weights, (num, den) · exp(log_scale).

    Each field is (B,C). The common scale is kept as an exponent because it would
    overflow as a number.
    """

    num: Tensor
    den: Tensor
    log_scale: Tensor

    def merge(self, other):
        """The sums over both sets of tokens, on the larger scale: no exponent > 0."""
        top = torch.maximum(self.log_scale, other.log_scale)
        mine, theirs = torch.exp(self.log_scale - top), torch.exp(other.log_scale - top)
        num = mine * self.num + theirs * other.num
        den = mine * self.den + theirs * other.den
        return WkvState(num, den, top)

    def decay(self, amount):
        """The same tokens with every weight multiplied by exp(-amount)."""
        return self._replace(log_scale=self.log_scale - amount)

    def average(self):
        """num / den: the scale cancels."""
        return self.num / self.den

    def at(self, time):
        """The sums at some time steps of (B,T,C); None makes (B,1,C) of (B,C)."""
        return WkvState(*(field[:, time] for field in self))


def empty_state(like):
    """The sums over no tokens, on a scale of exp(-inf) = 0; `like` is (B,C)."""
    zero = torch.zeros_like(like)
    return WkvState(zero, zero, torch.full_like(like, -torch.inf))


def one_token(logit, value):
    """The sums over a single token, whose weight is exp(logit)."""
    return WkvState(value, torch.ones_like(value), logit)


def many_tokens(logits, value, dim):
    """The sums over all tokens along `dim`, merged at once instead of two by two."""
    top = logits.amax(dim, keepdim=True)
    weights = torch.exp(logits - top)
    return WkvState((weights * value).sum(dim), weights.sum(dim), top.squeeze(dim))


def pairwise_logits(decay_rate, bonus, key):
    """The logarithm of the weight of token i at time t, for every pair, (B,T,T,C)."""
    t = torch.arange(key.shape[1], device=key.device)
    between = (t[:, None] - 1 - t)[..., None]  # (T,T,1) tokens after i and before t
    fading = torch.where(between < 0, bonus, -between * decay_rate)  # (T,T,C)
    return fading.masked_fill(between < -1, -torch.inf) + key[:, None]


def at_most_finite(decay_rate):
    """A rate of infinity as one that is as good: 0 steps of it take nothing.

    0 · infinity would be NaN. The weight after a step is 0 of either.
    """
    return decay_rate.clamp(max=torch.finfo(decay_rate.dtype).max / 2**32)


def wkv_attention(decay_rate, bonus, key, value, state=None):
    """Every pair of tokens at once, as attention does it: no step waits for another."""
    check_arguments(decay_rate, bonus, key, value, state)
    decay_rate = at_most_finite(decay_rate)
    state = empty_state(key[:, 0]) if state is None else state
    length = key.shape[1]
    steps = torch.arange(length, device=key.device)[:, None]  # (T,1)
    before = state.at(None).decay(steps * decay_rate)  # (B,T,C)
    logits = pairwise_logits(decay_rate, bonus, key)
    here = many_tokens(logits, value[:, None], dim=2)  # (B,T,C)
    after = many_tokens(key - steps.flip(0) * decay_rate, value, dim=1)  # (B,C)
    out = before.merge(here).average()
    return out, state.decay(length * decay_rate).merge(after)


def wkv_recurrent(decay_rate, bonus, key, value, state=None):
    """One token after the other, as an RNN does it, with a state that never grows."""
    check_arguments(decay_rate, bonus, key, value, state)
    state = empty_state(key[:, 0]) if state is None else state
    out = []
    for k, v in zip(key.unbind(1), value.unbind(1), strict=True):  # (B,C)
        out.append(state.merge(one_token(bonus + k, v)).average())
        state = state.decay(decay_rate).merge(one_token(k, v))
    return torch.stack(out, dim=1), state


def wkv_scan(decay_rate, bonus, key, value, state=None):
    """Parallel prefix sums: merge neighbours, then pairs, then pairs of pairs, ..."""
    check_arguments(decay_rate, bonus, key, value, state)
    state = empty_state(key[:, 0]) if state is None else state
    length, span = key.shape[1], 1
    seen = one_token(key, value)  # at t: the sums over the last `span` tokens
    while span < length:
        older = seen.at(slice(None, -span)).decay(span * decay_rate)
        newer = seen.at(slice(span, None))
        seen = join(seen.at(slice(None, span)), older.merge(newer))
        span *= 2
    steps = torch.arange(1, length + 1, device=key.device)[:, None]
    seen = state.at(None).decay(steps * decay_rate).merge(seen)
    before = join(state.at(None), seen.at(slice(None, -1)))
    out = before.merge(one_token(bonus + key, value)).average()
    return out, seen.at(-1)


def join(earlier, later):
    """Two stretches of sums, (B,T1,C) and (B,T2,C), one after the other."""
    return WkvState(
        *(torch.cat(pair, dim=1) for pair in zip(earlier, later, strict=True))
    )


def wkv_chunked(
    decay_rate, bonus, key, value, state=None, chunk=16, inside=wkv_attention
):
    """Recurrence from chunk to chunk, another form `inside` each chunk of tokens."""
    check_arguments(decay_rate, bonus, key, value, state)
    out = []
    for k, v in zip(key.split(chunk, 1), value.split(chunk, 1), strict=True):
        out_here, state = inside(decay_rate, bonus, k, v, state)
        out.append(out_here)
    return torch.cat(out, dim=1), state


def check_arguments(decay_rate, bonus, key, value, state):
    """Raise one ValueError that names every argument that the operator can't take."""
    if key.ndim != 3 or key.shape[1] == 0:
        shape = tuple(key.shape)
        raise ValueError(f"key must be (B,T,C) with at least one token, got {shape}")
    batch, _, channels = key.shape
    expected = {
        "decay_rate": (decay_rate, (channels,)),
        "bonus": (bonus, (channels,)),
        "key": (key, tuple(key.shape)),
        "value": (value, tuple(key.shape)),
    }
    for name, field in zip(WkvState._fields, state or (), strict=state is not None):
        expected[f"state.{name}"] = (field, (batch, channels))
    problems = []
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            problems.append(f"{name} must be {shape}, got {tuple(tensor.shape)}")
        if not tensor.is_floating_point():
            problems.append(f"{name} must be floating point, got {tensor.dtype}")
    if problems:
        raise ValueError("; ".join(problems))


FORMS = {
    "attention": wkv_attention,
    "recurrent": wkv_recurrent,
    "scan": wkv_scan,
    "chunked": wkv_chunked,
}
