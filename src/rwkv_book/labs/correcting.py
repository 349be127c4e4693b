"""What an RWKV-7 takes out of its tables as it reads, and what a slip in it costs.

`params` are those of `rwkv7.minimal`; T counts END_OF_TEXT and the bytes of a text.
"""

import numpy as np

from rwkv_book.labs.replacing import replaced
from rwkv_book.rwkv7 import minimal
from rwkv_book.text import END_OF_TEXT

PARTS = ("table", "decay", "key", "value", "removed", "rate")


def watch(text, params):
    """What `minimal.correct` is given at every token, {part: (T,L,H,...)}."""
    seen, state, original = [], minimal.initial_state(params), minimal.correct

    def recorded(*arguments):
        seen.append(arguments)
        return original(*arguments)

    with replaced(minimal, correct=recorded):
        for token in [END_OF_TEXT, *text.encode()]:
            _, state = minimal.step(token, state, params)
    arrays = map(np.array, zip(*seen, strict=True))
    return {
        part: array.reshape(-1, len(state), *array.shape[1:])
        for part, array in zip(PARTS, arrays, strict=True)
    }


def remains(seen, layer, head):
    """Of what every token wrote into a head's table: left after t, taken out by t.

    A value never changes once it is written; what wears away is the key under which it
    stands. Two arrays (T,T,N) of such keys: row t, then whose writing it was.
    """
    decay, key, removed, rate = (
        seen[part][:, layer, head] for part in ("decay", "key", "removed", "rate")
    )
    keys, left, taken = np.zeros_like(key), [], []
    for t in range(len(key)):
        taken.append(np.outer(keys @ removed[t], removed[t] * rate[t]))
        keys = keys * decay[t] - taken[t]
        keys[t] = key[t]
        left.append(keys)
    return np.array(left), np.array(taken)


def sizes(seen, layer, head):
    """The lengths of `remains`, times those of the values: two arrays (T,T)."""
    value = np.linalg.norm(seen["value"][:, layer, head], axis=1)
    return [value * np.linalg.norm(keys, axis=2) for keys in remains(seen, layer, head)]


def reach(taken):
    """How many tokens ago that was written which is taken out, on average: a float."""
    ago = np.arange(len(taken))[:, None] - np.arange(len(taken))
    return float((taken * ago).sum() / taken.sum())


def growth(seen, count):
    """The largest eigenvalue, in size, of every `count` steps in a row: (T',L,H)."""
    removed, rate = seen["removed"], seen["rate"]
    one = np.eye(removed.shape[-1], dtype=removed.dtype)
    steps = one * seen["decay"][..., None, :]
    steps = steps - removed[..., :, None] * (removed * rate)[..., None, :]
    product, length = steps[: len(steps) - count + 1], len(steps)
    for more in range(1, count):
        product = product @ steps[more : length - count + 1 + more]
    return abs(np.linalg.eigvals(product)).max(-1)


def loss(text, params, version=minimal):
    """Nats per byte of a text, by the `minimal` of the version that params are of."""
    state, surprise = version.initial_state(params), []
    tokens = text.encode()
    for token, following in zip([END_OF_TEXT, *tokens], tokens, strict=False):
        logits, state = version.step(token, state, params)
        surprise.append(np.logaddexp.reduce(logits.astype(float)) - logits[following])
    return float(np.mean(surprise))


def slip_losses(text, params):
    """What each of SLIPS makes of the loss, {name: nats per byte}."""
    losses = {}
    for name, (functions, tensors) in SLIPS.items():
        other = params | {
            key: change(values)
            for part, change in tensors.items()
            for key, values in params.items()
            if key.endswith(part)
        }
        with replaced(minimal, **functions), np.errstate(all="ignore"):
            losses[name] = loss(text, other)
    return losses


def stirred_loss(text, params, seed=0):
    """The loss with the rates of this text, each at some other token's place."""
    rates = watch(text, params)["rate"]
    order = np.random.default_rng(seed).permutation(len(rates))
    others, original = iter(rates[order].reshape(-1, *rates.shape[2:])), minimal.correct

    def stirred(*arguments):
        return original(*arguments[:-1], next(others))

    with replaced(minimal, correct=stirred):
        return loss(text, params)


CORRECT = minimal.correct


def looks_up_late(table, decay, key, value, removed, rate):
    """`correct` with the look-up in the table that has decayed already."""
    faded = table * decay[:, None, :]
    return CORRECT(faded, np.ones_like(decay), key, value, removed, rate)


def takes_nothing_out(table, decay, key, value, removed, rate):
    """`correct` with a rate of 0: RWKV-6's table."""
    return CORRECT(table, decay, key, value, removed, 0 * rate)


def takes_all_out(table, decay, key, value, removed, rate):
    """`correct` with a rate of 1, in all channels."""
    return CORRECT(table, decay, key, value, removed, np.ones_like(rate))


def small_epsilon(x, name, params):
    """`head_norm` with the 1e-5 of all other norms."""
    x = x - x.mean(1, keepdims=True)
    x = x / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return x.reshape(-1) * params[name + ".weight"] + params[name + ".bias"]


def as_long_as_it_is(x, *_):
    """`unit` that leaves the removal key at the length that it has."""
    return x


# {name: ({function of `minimal`: what stands for it}, {part of a name: change})}
SLIPS = {
    "removal scale doubled": ({}, {"removal_scale": lambda x: 2 * x}),
    "epsilon 1e-5 in the norm of heads": ({"head_norm": small_epsilon}, {}),
    "looked up after the fading": ({"correct": looks_up_late}, {}),
    "key not scaled by the rate": ({}, {"rate_in_key": lambda x: 0 * x}),
    "no bonus": ({}, {"time_mix.bonus": lambda x: 0 * x}),
    "no value residual": (
        {},
        {"value_bias": lambda x: 0 * x - 1e4, "value_down": lambda x: 0 * x},
    ),
    "nothing is taken out": ({"correct": takes_nothing_out}, {}),
    "all that is found is taken out": ({"correct": takes_all_out}, {}),
    "removal key not normalised": ({"unit": as_long_as_it_is}, {}),
}
