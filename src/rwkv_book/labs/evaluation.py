"""Held-out text, read by rules that are the same for every network.

    windowed_loss      nats per byte, none predicted from more than a window
    loss_by_position   the same after 1 to 16 bytes were read, after 17 to 32, ...

A network reads bytes, forward(tokens, state=None) -> (logits, state), as all of
`contenders` do.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy, pad

from rwkv_book.training import join

CONTEXT = 256  # the length of a window, unless told otherwise


@torch.no_grad()
def windowed_loss(network, works, context=CONTEXT, batch=32):
    """Nats per byte over all works, and over each of them: (float, {name: float}).

    No byte is predicted from more than the `context` bytes before it, or, but at the
    beginning of a work, from less than half as many: a window begins every context / 2
    bytes, with an empty state, and of each but the first only the second half counts.
    ValueError for a context that has no half, and for a work without a byte.
    """
    if context < 2 or context % 2:
        raise ValueError(f"context must be even and at least 2, got {context}")
    empty = [name for name, text in works.items() if not text]
    if empty or not works:
        raise ValueError(f"there is no byte to predict in {empty or 'no work'}")
    nats = {
        name: nats_in_windows(network, text, context, batch)
        for name, text in works.items()
    }
    per_work = {name: found.mean().item() for name, found in nats.items()}
    return torch.cat(list(nats.values())).mean().item(), per_work


def nats_in_windows(network, text, context, batch):
    """-log p of every byte of a text, by the rule of `windowed_loss`: (T,)"""
    half, tokens = context // 2, torch.from_numpy(join({"": text})[:-1]).long()
    windows = max(1, -(-len(text) // half) - 1)
    missing = (windows + 1) * half + 1 - len(tokens)
    windows = pad(tokens, (0, missing)).unfold(0, 2 * half + 1, half)  # (n,2·half+1)
    nats = torch.cat([nats_per_byte(network, some) for some in windows.split(batch)])
    return torch.cat([nats[0, :half], nats[:, half:].flatten()])[: len(text)]


def nats_per_byte(network, tokens):
    """-log p of each token after the first of each row: (B,T+1) -> (B,T)"""
    tokens = tokens.to(next(network.parameters()).device)
    logits, _ = network(tokens[:, :-1])
    return cross_entropy(logits.float().mT, tokens[:, 1:], reduction="none")


class Bucket(NamedTuple):
    """Loss after `first` to `last` bytes were read, and its standard error: nats per
    byte, or None where a network can't read so many."""

    first: int
    last: int
    nats: float | None
    error: float | None


@torch.no_grad()
def loss_by_position(network, works, longest=8192, stretches=16, batch=4):
    """A Bucket for 1 to 16 bytes read, 17 to 32, 33 to 64, and on to `longest`.

    The same `stretches` of the works, evenly spread, for every network, read at once
    and from an empty state; the error is over stretches. Where positions are learned,
    buckets beyond the context hold None. ValueError where no work is long enough.
    """
    starts = [
        (name, start)
        for name, text in works.items()
        for start in range(0, len(text) - longest, longest)
    ]
    if not starts:
        raise ValueError(f"no work has more than {longest} bytes: lower longest")
    chosen = np.linspace(0, len(starts) - 1, min(stretches, len(starts))).round()
    texts = [
        works[name][start : start + longest + 1]
        for name, start in (starts[int(i)] for i in chosen)
    ]
    tokens = torch.tensor([list(text) for text in texts])  # (stretches,longest+1)
    reach = min(longest, getattr(network.config, "context", None) or longest)
    tokens = tokens[:, : reach + 1]
    nats = torch.cat([nats_per_byte(network, some) for some in tokens.split(batch)])
    buckets, first, last = [], 1, 16
    while first <= longest:
        last = min(last, longest)
        found = nats[:, first - 1 : last].mean(1)  # of each stretch
        error = found.std().item() / len(found) ** 0.5
        known = (found.mean().item(), error) if last <= reach else (None, None)
        buckets.append(Bucket(first, last, *known))
        first, last = last + 1, 2 * last
    return buckets
