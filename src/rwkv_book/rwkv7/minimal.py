"""RWKV-7 entire, in NumPy: before a token writes into its head's table, it takes out
what stands there under a key. H heads of N channels, C = H * N. arXiv 2503.14456."""

import numpy as np

from rwkv_book.rwkv4.minimal import layer_norm, sample, sigmoid
from rwkv_book.rwkv5.minimal import check, head_norm, initial_state
from rwkv_book.rwkv6.minimal import shift

__all__ = ["initial_state", "sample", "step"]


def step(token, state, params):
    """Read one token: the logits of the next one (V,) and a new state (L,2+N,C)."""
    check(token, state, params)
    x = layer_norm(params["embedding.weight"][int(token)], "norm_in", params)
    new_state, first_value = np.empty_like(state), None
    for layer, rows in enumerate(state):
        block = f"blocks.{layer}."
        now_time = layer_norm(x, block + "norm_time", params)
        out, table, first_value = time_mix(
            now_time, rows[0], rows[1:-1], first_value, block + "time_mix.", params
        )
        x = x + out
        now_channel = layer_norm(x, block + "norm_channel", params)
        x = x + channel_mix(now_channel, rows[-1], block + "channel_mix.", params)
        new_state[layer] = now_time, *table, now_channel
    return params["head.weight"] @ layer_norm(x, "norm_out", params), new_state


def time_mix(x, x_prev, table, first_value, name, params):
    """Where tokens meet, (C,) -> (C,): each head corrects its table, then asks it.

    Also gives the new table, (N,C) -> (N,C), and the value of the first layer (C,).
    """
    receptance, key, value = (
        params[f"{name}{part}.weight"] @ shifted(part, x, x_prev, name, params)
        for part in ("receptance", "key", "value")
    )
    decay = np.exp(-(np.e**-0.5) * sigmoid(low_rank("decay", x, x_prev, name, params)))
    rate = sigmoid(low_rank("rate", x, x_prev, name, params))
    gate = sigmoid(
        shifted("gate", x, x_prev, name, params) @ params[name + "gate_down"]
    )
    if first_value is None:  # the first layer
        first_value = value
    else:
        share = sigmoid(low_rank("value", x, x_prev, name, params))
        value = value + (first_value - value) * share
    bonus = params[name + "bonus"]
    removed = unit(key * params[name + "removal_scale"], bonus.shape)
    key = key * (1 + (rate - 1) * params[name + "rate_in_key"])
    parts = (receptance, decay, key, value, removed, rate)
    receptance, decay, key, value, removed, rate = (
        part.reshape(bonus.shape) for part in parts
    )
    new_table = correct(
        table.reshape(*bonus.shape, -1), decay, key, value, removed, rate
    )
    answer = (new_table @ receptance[:, :, None])[..., 0]
    heard = (receptance * key * bonus).sum(
        1, keepdims=True
    ) * value  # this token, (H,N)
    out = head_norm(answer, name + "norm_heads", params) + heard.reshape(-1)
    out = params[name + "output.weight"] @ (out * (gate @ params[name + "gate_up"]))
    return out, new_table.reshape(table.shape), first_value


def correct(table, decay, key, value, removed, rate):
    """Tables (H, N values, N keys): they decay, what is under the unit key `removed`
    goes at `rate`, value times key comes. All others (H,N)."""
    found = table @ removed[:, :, None]  # what stands there now: (H, N values, 1)
    kept = table * decay[:, None, :] - found * (removed * rate)[:, None, :]
    return kept + value[:, :, None] * key[:, None, :]


def low_rank(part, x, x_prev, name, params):
    """(C,) -> (C,) through few numbers: a learned bias and what this token adds."""
    low = shifted(part, x, x_prev, name, params) @ params[f"{name}{part}_down"]
    low = np.tanh(low) if part == "decay" else low
    return params[f"{name}{part}_bias"] + low @ params[f"{name}{part}_up"]


def unit(x, heads):
    """Each head at length 1: (C,) -> (C,)."""
    x = x.reshape(heads)
    length = np.sqrt((x * x).sum(1, keepdims=True))
    return (x / np.maximum(length, 1e-12)).reshape(-1)


def shifted(part, x, x_prev, name, params):
    """This token moved by a share towards the previous one, for one part: (C,)."""
    return shift(x, x_prev, params[f"{name}shift_{part}"])


def channel_mix(x, x_prev, name, params):
    """Where channels meet, (C,) -> (C,): F squared ReLUs, let through as they are."""
    hidden = params[name + "key.weight"] @ shifted("key", x, x_prev, name, params)
    return params[name + "value.weight"] @ np.maximum(hidden, 0) ** 2
