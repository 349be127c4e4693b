"""What the past is worth: the same bytes, predicted after more and after less of it.

    passages       stretches of text, evenly spread, each with what stands before it
    nats_after     those bytes, read on from a state
    nats_in_window the same after windows of different lengths
    nearest        attention that sees no more than a window, for a transformer
    paired         a mean over stretches, with its interval

A difference between two readings is taken on each stretch, and only then is a mean
taken, so that hard and easy passages cancel. A network reads bytes, forward(tokens,
state=None) -> (logits, state), as all of `contenders` do.
"""

import numpy as np
import torch
from scipy.special import stdtrit
from torch.nn.functional import cross_entropy

from rwkv_book.attention import scores, visible
from rwkv_book.labs.evaluation import CONTEXT


def passages(works, before, judged, count):
    """Up to `count` stretches of before + judged bytes, evenly spread: (N,T) tokens.

    No two of them share a byte. ValueError where no work is long enough for one.
    """
    length = before + judged
    found = [
        text[start : start + length]
        for text in works.values()
        for start in range(0, len(text) - length + 1, length)
    ]
    if not found:
        raise ValueError(f"no work has {length} bytes: ask for fewer")
    chosen = np.linspace(0, len(found) - 1, min(count, len(found))).round()
    return torch.tensor([list(found[int(i)]) for i in chosen])


@torch.no_grad()
def nats_after(network, state, tokens):
    """-ln p of each token but the first, read on from a state: (N,T) -> (N,T-1)"""
    logits, _ = network(tokens[:, :-1], state)
    return cross_entropy(logits.float().mT, tokens[:, 1:], reduction="none")


def nats_in_window(network, tokens, windows, judged, batch=4):
    """{window: -ln p of the last `judged` bytes of each row}, (N,judged) each.

    A window of n bytes is the last n of a row, the judged ones included; the one before
    it is read too, so that the first is predicted from something. From an empty state.
    Windows longer than a network can read are left out. ValueError where a row is not
    longer than the longest window.
    """
    if tokens.shape[1] <= max(windows) or min(windows) < judged:
        raise ValueError(f"rows of {tokens.shape[1]} tokens have no windows {windows}")
    most = getattr(network.config, "context", None) or max(windows)
    return {
        window: torch.cat(
            [
                nats_after(network, None, rows[:, -window - 1 :])[:, -judged:]
                for rows in tokens.split(batch)
            ]
        )
        for window in windows
        if window <= most
    }


def nearest(query, key, value, causal, count=CONTEXT):
    """Attention in which each token sees only the newest `count`, itself included."""
    queries, keys = query.shape[2], key.shape[2]
    seen = visible(queries, keys)
    hidden = ~seen | seen.tril(keys - queries - count)
    return scores(query, key).masked_fill(hidden, -torch.inf).softmax(-1) @ value


def paired(difference):
    """The mean of (N,T) nats and its 95 % interval, plus and minus, over rows.

    Student's t: with few rows their spread is poorly known, and the interval wider.
    """
    each = difference.double().mean(1)
    errors = stdtrit(len(each) - 1, 0.975)  # standard errors: 4.30 for 3 rows
    return each.mean().item(), errors * each.std().item() / len(each) ** 0.5
