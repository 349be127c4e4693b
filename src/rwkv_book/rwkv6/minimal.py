"""RWKV-6 entire, in NumPy: each token says how fast each key fades, and how far to look
back. H heads of N channels, C = H * N; the rest as in RWKV-5. arXiv 2404.05892."""

import numpy as np

from rwkv_book.rwkv4.minimal import layer_norm, sample, sigmoid
from rwkv_book.rwkv5.minimal import ask_and_write, check, head_norm, initial_state

__all__ = ["initial_state", "sample", "step"]

PARTS = ("decay", "key", "value", "receptance", "gate")


def step(token, state, params):
    """Read one token: the logits of the next one (V,) and a new state (L,2+N,C)."""
    check(token, state, params)
    x = layer_norm(params["embedding.weight"][int(token)], "norm_in", params)
    new_state = np.empty_like(state)
    for layer, rows in enumerate(state):
        block = f"blocks.{layer}."
        now_time = layer_norm(x, block + "norm_time", params)
        out, table = time_mix(
            now_time, rows[0], rows[1:-1], block + "time_mix.", params
        )
        x = x + out
        now_channel = layer_norm(x, block + "norm_channel", params)
        x = x + channel_mix(now_channel, rows[-1], block + "channel_mix.", params)
        new_state[layer] = now_time, *table, now_channel
    return params["head.weight"] @ layer_norm(x, "norm_out", params), new_state


def time_mix(x, x_prev, table, name, params):
    """Where tokens meet, (C,) -> (C,): each head asks its table, (N,C) -> (N,C)."""
    mixed = shifts(x, x_prev, name, params)
    receptance, key, value, gate = (
        params[f"{name}{part}.weight"] @ mixed[part]
        for part in ("receptance", "key", "value", "gate")
    )
    bonus = params[name + "bonus"]
    decay = np.exp(-np.exp(log_decay_rate(mixed["decay"], name, params)))
    answer, new_table = ask_and_write(
        decay.reshape(bonus.shape), bonus, receptance, key, value, table
    )
    out = head_norm(answer, name + "norm_heads", params) * (gate * sigmoid(gate))
    return params[name + "output.weight"] @ out, new_table


def shifts(x, x_prev, name, params):
    """This token moved towards the previous one, {part: (C,)}: how far, it says itself.

    The first mixture, of learned shares, gives five times R numbers; through a matrix
    each R of them move the learned shares of one part.
    """
    first = shift(x, x_prev, params[name + "shift_first"])
    low = np.tanh(first @ params[name + "shift_down"]).reshape(len(PARTS), -1)  # (5,R)
    moves = (low[:, None, :] @ params[name + "shift_up"])[:, 0]  # (5,C)
    return {
        part: shift(x, x_prev, params[f"{name}shift_{part}"] + move)
        for part, move in zip(PARTS, moves, strict=True)
    }


def log_decay_rate(x, name, params):
    """(C,) -> (C,): what is learned, and what this token adds through Q numbers."""
    low = np.tanh(x @ params[name + "decay_down"])  # (Q,)
    return params[name + "log_decay_rate"] + low @ params[name + "decay_up"]


def channel_mix(x, x_prev, name, params):
    """Where channels meet, (C,) -> (C,): as in RWKV-4, its shares named from behind."""
    shifted = shift(x, x_prev, params[name + "shift_receptance"])
    receptance = sigmoid(params[name + "receptance.weight"] @ shifted)
    shifted = shift(x, x_prev, params[name + "shift_key"])
    hidden = np.maximum(params[name + "key.weight"] @ shifted, 0) ** 2
    return receptance * (params[name + "value.weight"] @ hidden)


def shift(x, x_prev, share):
    """Channel by channel (C,), a share of the previous token: 1 - RWKV-4's mix."""
    return x + (x_prev - x) * share
