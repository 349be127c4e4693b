"""Who is which case of the one equation: eighteen operators, a few lines each.

Every function says what its paper's token hands to the recurrence of `equation`, which

    S <- S (diag(exp(log_decay)) + remove replaceᵀ) + value keyᵀ

computes in any of its forms. In the formulas below a is the share of the table that is
kept and b the rate; kᵀ, pᵀ and cᵀ are rows, and * goes channel by channel.

Shapes: receptance (the query of other papers) and key (B,T,H,N), value (B,T,H,M); what
is one number a head is (B,T,H). Every member takes `state`, a table that an earlier
call returned, (B,H,M,N) or with a row more where the member divides, or None; and
`form`, a form of `equation`. It returns answers (B,T,H,M) and the table after the last
token. No member scales: most papers multiply the query by 1/sqrt(N) first. What stands
around it, such as convolutions, gates and norms, is not here either.
"""

import torch

from rwkv_book.family.equation import table_chunked


def ask(log_decay, receptance, key, value, remove=None, replace=None, form=None, **how):
    """The one equation, in the form that is wanted; a decay may be of any shape that
    fits to that of the key."""
    arguments = log_decay.expand_as(key), receptance, key, value, remove, replace
    return (form or table_chunked)(*arguments, **how)


def a_head(x):
    """One number a head, for all channels: (B,T,H) -> (B,T,H,1)."""
    return x[..., None]


def with_ones(value):
    """A row of ones below the values: under it the table adds up what it has written,
    which is what some members divide by."""
    return torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)


def divided(answers):
    """The values over the sum of their weights."""
    return answers[..., :-1] / answers[..., -1:]


# Nothing goes out of the table but by fading.


def linear_attention(receptance, key, value, **how):
    """S + v kᵀ, divided by the sum of weights; receptance and key are features, not
    negative. Katharopoulos et al. 2020, arXiv 2006.16236."""
    log_decay = torch.zeros_like(key)
    out, state = ask(log_decay, receptance, key, with_ones(value), **how)
    return divided(out), state


def rwkv_4(key, value, log_decay, bonus, **how):
    """Heads of one channel, H = C: key and value (B,T,C), log_decay and bonus (C,).

    S a + v eᵏ, heard before it with a bonus, and divided. What carries the largest
    exponent along is in `rwkv4.wkv`. Peng et al. 2023, arXiv 2305.13048."""
    weight, value = a_head(key.exp()), with_ones(a_head(value))
    one = torch.ones_like(weight)
    out, state = ask(a_head(log_decay), one, weight, value, before=True, **how)
    return divided(out + value * weight * a_head(bonus.exp()))[..., 0], state


def retnet(receptance, key, value, **how):
    """a S + v kᵀ, where head h keeps a = 1 - 2^(-5-h), for ever the same; receptance
    and key come rotated by their place. Sun et al. 2023, arXiv 2307.08621."""
    heads = torch.arange(key.shape[2], dtype=key.dtype, device=key.device)
    log_decay = torch.log1p(-(2 ** (-5 - heads)))
    return ask(a_head(log_decay), receptance, key, value, **how)


def lightning(receptance, key, value, depth=0.0, **how):
    """a S + v kᵀ, where head h of H keeps exp(-2^(-8(h+1)/H)), and deeper layers more:
    `depth` is 0 in the first layer, 1 in the last. MiniMax 2025, arXiv 2501.08313."""
    heads = torch.arange(1, key.shape[2] + 1, dtype=key.dtype, device=key.device)
    slope = 2 ** (-8 * heads / key.shape[2]) * (1 - depth + 1e-5)
    return ask(a_head(-slope), receptance, key, value, **how)


def mamba(receptance, key, value, step, log_rate, **how):
    """Heads of one value, H = C, that share their keys: receptance and key (B,T,N),
    value and step (B,T,C), log_rate (C,N).

    S * a + b v kᵀ with a = exp(-b eʳ): how long a step is says how much fades, and how
    much comes. Gu and Dao 2023, arXiv 2312.00752."""
    step, shape = a_head(step), (*value.shape, key.shape[-1])
    receptance, key = (x[:, :, None].expand(shape) for x in (receptance, key))
    value = step * a_head(value)
    out, state = ask(-step * log_rate.exp(), receptance, key, value, **how)
    return out[..., 0], state


def mamba_2(receptance, key, value, step, log_rate, **how):
    """a S + b v kᵀ with a = exp(-b eʳ): a step (B,T,H), a log_rate (H,). Heads that
    share a key get it repeated. Dao and Gu 2024, arXiv 2405.21060."""
    log_decay = -step * log_rate.exp()
    return ask(a_head(log_decay), receptance, key, a_head(step) * value, **how)


def mlstm(receptance, key, value, input_gate, forget_gate, **how):
    """a S + eⁱ v kᵀ with a = sigmoid(f), over |sum of weights|, or over 1 where that is
    less; both gates (B,T,H). Published code carries the largest exponent along, as
    RWKV-4 does; this doesn't. Beck et al. 2024, arXiv 2405.04517."""
    log_decay = a_head(torch.nn.functional.logsigmoid(forget_gate))
    value = with_ones(value) * a_head(input_gate.exp())
    out, state = ask(log_decay, receptance, key, value, **how)
    return out[..., :-1] / out[..., -1:].abs().clamp(min=1), state


def gla(receptance, key, value, log_decay, **how):
    """S * a + v kᵀ: each token says how much each key fades, log_decay (B,T,H,N).
    Gated linear attention, Yang et al. 2023, arXiv 2312.06635."""
    return ask(log_decay, receptance, key, value, **how)


def hgrn_2(receptance, value, log_decay, **how):
    """S * a + v (1 - a)ᵀ: what fades is the room for what comes, so there is no key.
    Qin et al. 2024, arXiv 2404.07904."""
    return ask(log_decay, receptance, -log_decay.expm1(), value, **how)


def rwkv_5(receptance, key, value, log_decay, bonus, **how):
    """S * a + v kᵀ with a decay that is learned and stays, (H,N), heard before it, with
    a bonus (H,N). Peng et al. 2024, arXiv 2404.05892."""
    return rwkv_6(receptance, key, value, log_decay.expand_as(key), bonus, **how)


def rwkv_6(receptance, key, value, log_decay, bonus, **how):
    """RWKV-5 with decays that each token chooses, (B,T,H,N)."""
    out, state = ask(log_decay, receptance, key, value, before=True, **how)
    return out + (receptance * bonus * key).sum(-1, keepdim=True) * value, state


# What stands under a key is taken out. Keys have length 1, which is up to the caller.


def delta_net(receptance, key, value, rate, **how):
    """S (I - b k kᵀ) + b v kᵀ, with one rate a head (B,T,H). Schlag et al. 2021, arXiv
    2102.11174; all tokens at once: Yang et al. 2024, arXiv 2406.06484."""
    nothing = torch.zeros_like(rate)
    return gated_delta_net(receptance, key, value, nothing, rate, **how)


def gated_delta_net(receptance, key, value, log_decay, rate, **how):
    """a S (I - b k kᵀ) + b v kᵀ: one decay a head, (B,T,H), and what is taken out has
    faded already. Yang, Kautz and Hatamizadeh 2024, arXiv 2412.06464."""
    log_decay = a_head(log_decay)
    return kimi_delta_attention(receptance, key, value, log_decay, rate, **how)


def kimi_delta_attention(receptance, key, value, log_decay, rate, **how):
    """S diag(a) (I - b k kᵀ) + b v kᵀ: Gated DeltaNet with a decay for each key channel
    (B,T,H,N). Kimi Team 2025, arXiv 2510.26692."""
    erase = a_head(rate) * torch.ones_like(key)
    write = a_head(rate) * torch.ones_like(value)
    return gated_delta_net_2(receptance, key, value, log_decay, erase, write, **how)


def gated_delta_net_2(receptance, key, value, log_decay, erase, write, **how):
    """S diag(a) (I - (e * k) kᵀ) + (w * v) kᵀ: what is looked up has a gate for each
    key channel, what comes has one for each value. Hatamizadeh, Choi and Kautz 2026,
    arXiv 2605.22791."""
    looked_up = log_decay.exp() * erase * key
    return ask(log_decay, receptance, key, write * value, -looked_up, key, **how)


def comba(receptance, key, value, removed, log_decay, rate, **how):
    """a S (I - b p kᵀ) + b v kᵀ: what is looked up stands under a key of its own, and
    decay and rate are one number a head. Hu et al. 2025, arXiv 2506.02475."""
    fading, rate = a_head(log_decay), a_head(rate)
    remove, replace = -fading.exp() * removed, rate * key
    return ask(fading, receptance, key, rate * value, remove, replace, **how)


def delta_product(receptance, key, value, log_decay, rate, **how):
    """Gated DeltaNet with n writes a token: key, value and rate have n T places, those
    of a token in a row. It fades before the first, and is asked after the last.
    Siems et al. 2025, arXiv 2502.10297."""
    length, writes = receptance.shape[1], key.shape[1] // receptance.shape[1]
    places = torch.arange(length, device=key.device) * writes
    fading = torch.zeros_like(rate).index_copy(1, places, log_decay)
    asked = receptance.repeat_interleave(writes, dim=1)
    out, state = gated_delta_net(asked, key, value, fading, rate, **how)
    return out[:, writes - 1 :: writes], state


def rwkv_7(receptance, key, value, log_decay, removed, rate, **how):
    """S diag(a) - S c (b * c)ᵀ + v kᵀ: what is taken out stood under a removal key c of
    length 1 before the fading, at a rate b for each key channel (B,T,H,N). Peng et al.
    2025, arXiv 2503.14456."""
    return ask(log_decay, receptance, key, value, -removed, rate * removed, **how)
