"""What the trainable networks share: their shape, their checks, how they begin.

    sizes_at_least               a Config's numbers, all problems in one error
    check_tokens, check_state    what `forward` can't read, in the same words for all
    LanguageModel                `step`: a `forward` of one token
    through                      through all blocks, each with its part of the state
    shift, token_shift           the previous token, and a mixture of it and this one
    at_least_float32             the digits that sums of exponentials need
    orthogonal, zeros            initial values

A network is `forward(tokens, state=None) -> logits, state`, with tokens (B,T), T at
least 1, and logits (B,T,V); those at t predict token t + 1.
"""

import math

import torch
from torch import nn


def sizes_at_least(config, **least):
    """Raise one ValueError that names every number of a Config that is too small."""
    problems = [
        f"{name} must be at least {number}, got {getattr(config, name)}"
        for name, number in least.items()
        if getattr(config, name) < number
    ]
    if problems:
        raise ValueError("; ".join(problems))


def check_tokens(tokens):
    """Raise a ValueError unless tokens are (B,T), with one to read."""
    if tokens.ndim != 2 or tokens.shape[1] == 0:
        shape = tuple(tokens.shape)
        raise ValueError(f"tokens must be (B,T) with T at least 1, got {shape}")


def check_state(state, wanted, axes):
    """Raise a ValueError unless a state has the shape `wanted`, in words `axes`."""
    if state.shape != wanted:
        wanted, shape = tuple(wanted), tuple(state.shape)
        raise ValueError(f"state must be {axes} = {wanted}, got {shape}")


class LanguageModel(nn.Module):
    """A network whose `forward` reads tokens (B,T) and gives logits and a state."""

    def step(self, token, state=None):
        """The same function for one token: (B,) -> logits (B,V) and a state."""
        logits, state = self.forward(token[:, None], state)
        return logits[:, 0], state


def through(blocks, x, state):
    """Through all blocks, block(x, state) -> x, state: (B,T,C), (B,L,...) -> the same.

    Each gets its own part of the state, or None where `state` is None.
    """
    after = []
    for layer, block in enumerate(blocks):
        x, kept = block(x, None if state is None else state[:, layer])
        after.append(kept)
    return x, torch.stack(after, dim=1)


def shift(x, first):
    """x one step later: `first` (B,C), then all of x (B,T,C) but its last token."""
    return torch.cat([first[:, None].to(x.dtype), x[:, :-1]], dim=1)


def token_shift(x, x_prev, mix):
    """Channel by channel, `mix` of this token and 1 - mix of the one before."""
    return x * mix + x_prev * (1 - mix)


def at_least_float32(x):
    """Sums of exponentials need more digits than bfloat16 or float16 have."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def orthogonal(module, gain=1.0):
    """Random orthogonal weights, scaled by sqrt(out / in) where more comes out."""
    out_features, in_features = module.weight.shape
    nn.init.orthogonal_(
        module.weight, gain=gain * math.sqrt(max(1, out_features / in_features))
    )


def zeros(*modules):
    """Zero weights: each layer begins by adding nothing, and learns what to add."""
    for module in modules:
        nn.init.zeros_(module.weight)
