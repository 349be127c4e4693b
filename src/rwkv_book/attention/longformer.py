"""Longformer: a token sees its neighbours, and a few tokens that are seen by all.

The window is computed in blocks as long as the window is wide, each against itself and
the blocks beside it, so that nothing of (T,T) is made.
Source: Beltagy et al. 2020, arXiv 2004.05150.
"""

import torch
from torch.nn.functional import pad

from rwkv_book.attention.softmax import scores


def longformer(query, key, value, window, global_tokens=(), causal=False):
    """Softmax over the `window` tokens on each side, and over the global tokens.

    Tokens at the positions `global_tokens` are seen by all and see all (with `causal`,
    all before them), by the same projections as the others. O(T·window·N) time,
    O(T·(window + N)) memory, plus O(T·G) for G global tokens. Causal if asked, with a
    state of the last window + 1 keys and values, and of the global ones.
    Source: Beltagy et al. 2020, arXiv 2004.05150.
    """
    length, size = query.shape[2], max(1, window)
    marked = torch.as_tensor(global_tokens, dtype=torch.long, device=query.device)
    queries = pad(query, (0, 0, 0, -length % size)).unflatten(2, (-1, size))
    near, far = who_sees_whom(length, size, window, marked, causal)
    logits = scores(queries, blocks(key, size, causal)).masked_fill(~near, -torch.inf)
    to_marked = scores(queries, key[:, :, None, marked]).masked_fill(~far, -torch.inf)
    weights = torch.cat([logits, to_marked], dim=-1).softmax(-1)
    nearby, to_marked = weights.split([logits.shape[-1], len(marked)], dim=-1)
    out = nearby @ blocks(value, size, causal) + to_marked @ value[:, :, None, marked]
    out = out.flatten(2, 3)[:, :, :length]
    logits = scores(query[:, :, marked], key)  # (B,H,G,T)
    if causal:
        later = torch.arange(length, device=query.device) > marked[:, None]
        logits = logits.masked_fill(later, -torch.inf)
    return out.index_copy(2, marked, logits.softmax(-1) @ value)


def blocks(x, size, causal):
    """(B,H,T,N) -> (B,H,T/size,3·size,N): each block, the one before, the one after.

    Without the one after, 2·size, if `causal`. Zeros where there is no token.
    """
    after = -x.shape[2] % size + (0 if causal else size)
    padded = pad(x, (0, 0, size, after))
    return padded.unfold(2, (2 if causal else 3) * size, size).transpose(-1, -2)


def who_sees_whom(length, size, window, marked, causal):
    """Masks of what `blocks` lays out, (T/size,size,3·size), and of marked tokens."""
    t = torch.arange(whole_blocks(length, size), device=marked.device)
    t = t.view(-1, size, 1)  # a query
    i = t[:, :1] - size + torch.arange((2 if causal else 3) * size, device=t.device)
    real = (i >= 0) & ((i < length) | (t >= length))  # padding sees padding: no NaN
    near = real & ((t - i).abs() <= window) & ~torch.isin(i, marked)
    far = torch.ones_like(t == marked)  # (T/size,size,G)
    return (near & (i <= t), far & (marked <= t)) if causal else (near, far)


def whole_blocks(length, size):
    """`length` rounded up to a multiple of `size`."""
    return length + -length % size
