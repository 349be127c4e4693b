"""RWKV-4 entire, in NumPy: a token and a state in, a score for every next token out.
`params`: arrays by name; V tokens, L layers, C channels, F hidden. arXiv 2305.13048."""

import numpy as np


def initial_state(params):
    """The state before the first token (L,5,C): sums of 0 on a scale of exp(-inf)."""
    layers = sum(name.endswith(".bonus") for name in params)
    state = np.zeros((layers, 5, params["norm_out.weight"].size), np.float32)
    state[:, 3] = -np.inf
    return state


def step(token, state, params):
    """Read one token: the logits of the next one (V,) and a new state (L,5,C)."""
    if not 0 <= token < len(params["head.weight"]) or token != int(token):
        raise IndexError(f"token {token} is not in 0..{len(params['head.weight']) - 1}")
    if state.shape != (wanted := initial_state(params).shape):
        raise ValueError(f"state must be (L,5,C) = {wanted}, got {state.shape}")
    x = layer_norm(params["embedding.weight"][int(token)], "norm_in", params)
    new_state = np.empty_like(state)
    for layer, (x_time, *sums, x_channel) in enumerate(state):
        block = f"blocks.{layer}."
        now_time = layer_norm(x, block + "norm_time", params)
        out, sums = time_mix(now_time, x_time, sums, block + "time_mix.", params)
        x = x + out
        now_channel = layer_norm(x, block + "norm_channel", params)
        x = x + channel_mix(now_channel, x_channel, block + "channel_mix.", params)
        new_state[layer] = now_time, *sums, now_channel
    return params["head.weight"] @ layer_norm(x, "norm_out", params), new_state


def time_mix(x, x_prev, sums, name, params):
    """Where tokens meet, (C,) -> (C,): an average, let through by the receptance."""
    receptance = sigmoid(project("receptance", x, x_prev, name, params))
    key, value = (project(part, x, x_prev, name, params) for part in ("key", "value"))
    decay_rate = np.exp(params[name + "log_decay_rate"])
    average, sums = wkv(decay_rate, params[name + "bonus"], key, value, sums)
    return params[name + "output.weight"] @ (receptance * average), sums


def wkv(decay_rate, bonus, key, value, sums):
    """The average (C,) with this token in it, and the sums that the next one finds."""
    num, den, log_scale = sums
    num_now, den_now, _ = merge(sums, (value, 1, bonus + key))
    return num_now / den_now, merge((num, den, log_scale - decay_rate), (value, 1, key))


def merge(sums, more):
    """Add two sums (num, den) * exp(log_scale), each (C,): no exponent is positive."""
    (num, den, log_scale), (more_num, more_den, more_scale) = sums, more
    top = np.maximum(log_scale, more_scale)
    old, new = np.exp(log_scale - top), np.exp(more_scale - top)
    return old * num + new * more_num, old * den + new * more_den, top


def channel_mix(x, x_prev, name, params):
    """Where channels meet, (C,) -> (C,): F squared ReLUs, let through by receptance."""
    receptance = sigmoid(project("receptance", x, x_prev, name, params))
    hidden = np.maximum(project("key", x, x_prev, name, params), 0) ** 2
    return receptance * (params[name + "value.weight"] @ hidden)


def project(part, x, x_prev, name, params):
    """One matrix of a layer on its own mixture of two tokens: (C,) -> (C,) or (F,)."""
    mixed = token_shift(x, x_prev, params[f"{name}mix_{part}"])
    return params[f"{name}{part}.weight"] @ mixed


def token_shift(x, x_prev, mix):
    """Channel by channel (C,), `mix` of this token and 1 - mix of the one before."""
    return x * mix + x_prev * (1 - mix)


def sigmoid(x):
    """1 / (1 + exp(-x)), written so that nothing can overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def layer_norm(x, name, params):
    """Mean 0, variance 1, then a weight and a bias: (C,) -> (C,). 1e-5 as trained."""
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return x * params[name + ".weight"] + params[name + ".bias"]


def sample(logits, temperature=1.0, top_p=1.0, generator=None):
    """Draw from the fewest tokens that reach top_p. Temperature 0: the likeliest."""
    if not (temperature >= 0 and 0 < top_p <= 1):
        raise ValueError(f"need temperature >= 0 < top_p <= 1: {temperature}, {top_p}")
    if not np.isfinite(np.max(logits)):
        raise ValueError("the weights or the state give NaN or infinity, not logits")
    if temperature == 0:
        return int(np.argmax(logits))
    weights = np.exp((logits - np.max(logits)).astype(np.float64) / temperature)
    likely = np.argsort(-weights, kind="stable")
    total = np.cumsum(weights[likely])
    kept = likely[: 1 + np.searchsorted(total, top_p * total[-1])]
    generator = generator or np.random.default_rng()
    return int(generator.choice(kept, p=weights[kept] / weights[kept].sum()))
