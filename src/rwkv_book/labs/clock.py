"""Which channels follow a text's lines, and what happens when they are silenced.

A channel that follows the lines is a clock: a line break winds it up, and its sum of
weights says how long ago that was. `minimal`'s parameters and states, in NumPy.
"""

import numpy as np

from rwkv_book.rwkv4 import minimal

# A scene in Shakespeare's manner. He did not write it, so the model can't know it.
PASSAGE = """\
MESSENGER.
My lord, the ships are come into the bay,
And all the town runs down to see them land.
They bring a letter, and a bird, and news.

DUKE.
What news? The bird I hear. Now let me read.

MESSENGER.
The sea was kind to them, my lord, and slow.
They say there is a country in the west
Where every river runs back to its spring,
And no man there remembers what he was.
"""


def columns(text):
    """For each letter, how many there are since the last line break (T,)."""
    breaks = np.array([letter == "\n" for letter in text])
    place = np.arange(1, len(text) + 1)
    return place - np.maximum.accumulate(np.where(breaks, place, 0))


def log_weights(text, params):
    """After each byte, the logarithm of every channel's sum of weights (T,L,C)."""
    _, state = minimal.step(0, minimal.initial_state(params), params)
    found = []
    for token in text.encode():
        _, state = minimal.step(token, state, params)
        _, _, den, log_scale, _ = state.transpose(1, 0, 2)
        found.append(np.log(den) + log_scale)
    return np.array(found)


def follows(text, params):
    """How each channel's sum of weights goes with the place in the line (L,C).

    A correlation: -1 for one that falls evenly from line break to line break, 0 for one
    that does not move.
    """
    place = columns(text) - columns(text).mean()
    weights = log_weights(text, params).astype(float)
    weights -= weights.mean(0)
    spread = np.sqrt((place**2).sum() * (weights**2).sum(0))
    return np.einsum("t,tlc->lc", place, weights) / np.maximum(spread, 1e-9)


def silenced(params, channels):
    """The same parameters, but time mixing says nothing of what these channels hold.

    `channels` are pairs of a layer and a channel: their columns of `output` become 0.
    """
    params = dict(params)
    for layer in {layer for layer, _ in channels}:
        name = f"blocks.{layer}.time_mix.output.weight"
        params[name] = params[name].copy()
        params[name][:, [c for at, c in channels if at == layer]] = 0
    return params


def others(channels, width, rng):
    """As many other channels of the same layers, drawn at random: the control."""
    drawn = []
    for layer in sorted({layer for layer, _ in channels}):
        taken = [c for at, c in channels if at == layer]
        free = np.setdiff1d(np.arange(width), taken)
        drawn += [(layer, int(c)) for c in rng.choice(free, len(taken), replace=False)]
    return drawn
