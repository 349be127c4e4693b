"""RWKV-5 (5.2) entire, in NumPy: the state of a head is a table, not two sums.
H heads of N channels, C = H * N; the rest as in RWKV-4. arXiv 2404.05892."""

import numpy as np

from rwkv_book.rwkv4.minimal import channel_mix, layer_norm, project, sample, sigmoid

__all__ = ["initial_state", "sample", "step"]


def initial_state(params):
    """The state before the first token (L,2+N,C): zeros, or a first_state of the file.

    A layer has a row of the last token for time mixing, N rows of tables (H, N values,
    N keys), and a row of the last token for channel mixing.
    """
    layers = sum(name.endswith(".bonus") for name in params)
    heads, size = params["blocks.0.time_mix.bonus"].shape
    state = np.zeros((layers, 2 + size, heads * size), np.float32)
    for layer in range(layers):
        first = params.get(f"blocks.{layer}.time_mix.first_state", np.zeros(()))
        state[layer, 1:-1] = np.broadcast_to(first, (heads, size, size)).reshape(
            size, -1
        )
    return state


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


def check(token, state, params):
    """IndexError or ValueError where a token or a state is not one of this model."""
    if not 0 <= token < len(params["head.weight"]) or token != int(token):
        raise IndexError(f"token {token} is not in 0..{len(params['head.weight']) - 1}")
    if state.shape != (wanted := initial_state(params).shape):
        raise ValueError(f"state must be (L,2+N,C) = {wanted}, got {state.shape}")


def time_mix(x, x_prev, table, name, params):
    """Where tokens meet, (C,) -> (C,): each head asks its table, (N,C) -> (N,C)."""
    parts = ("receptance", "key", "value", "gate")
    *asked, gate = (project(part, x, x_prev, name, params) for part in parts)
    bonus = params[name + "bonus"]
    decay = np.exp(-np.exp(params[name + "log_decay_rate"]))
    answer, new_table = ask_and_write(decay, bonus, *asked, table)
    out = head_norm(answer, name + "norm_heads", params) * (gate * sigmoid(gate))
    return params[name + "output.weight"] @ out, new_table


def ask_and_write(decay, bonus, receptance, key, value, table):
    """The answers of all heads (H,N), this token heard with a bonus; then the tables,
    in the shape in which they came: what was there decays, key by key, and value times
    key is added. decay, bonus (H,N); receptance, key, value (C,)."""
    heads = bonus.shape
    receptance, key, value = (x.reshape(heads) for x in (receptance, key, value))
    old = table.reshape(*heads, -1)  # (H, values, keys)
    new = value[:, :, None] * key[:, None, :]
    heard = old + bonus[:, None, :] * new
    answer = (heard @ receptance[:, :, None])[..., 0]
    return answer, (old * decay[:, None, :] + new).reshape(table.shape)


def head_norm(x, name, params):
    """Each head by itself: mean 0, variance 1 (H,N), then weight and bias (C,)."""
    x = x - x.mean(1, keepdims=True)
    x = x / np.sqrt(x.var(1, keepdims=True) + 64e-5)  # 1e-5, 8 times as large before
    return x.reshape(-1) * params[name + ".weight"] + params[name + ".bias"]
