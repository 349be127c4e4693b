"""One recurrence for a state that is a table, in four forms: RWKV-5 to 7 are cases.

A head keeps a table S of values by keys. At every token

    S <- S (diag(exp(log_decay)) + remove replaceᵀ) + value keyᵀ

and the output is S receptance, of the new table, or with `before` of the one before.
What S holds fades key by key; what it answers to `remove` is added under `replace`,
which takes it away where the two point in opposite directions; value is written under
key.

    form              time                     memory         steps in a row
    table_attention   O(T² (N + M))            O(T² N)        O(T), one triangular solve
    table_recurrent   O(T N M)                 O(N M)         O(T)
    table_scan        O(T log T · N M)         O(T N M)       O(log T), without `remove`
    table_chunked     O(T (chunk + N)(N + M))  O(T N M / chunk)   O(T / chunk)

for each text and head; memory is beside the arguments and the output. Every form takes
log_decay, at most 0, receptance and key (B,T,H,N), value (B,T,H,M), remove and replace
(B,T,H,N) or None for both, and `state` (B,H,M,N), which an earlier call returned, or
None for a table of zeros. It returns outputs (B,T,H,M) and the table after the last
token, and gradients flow through all. No exponent is ever positive, so that a table may
keep everything (a log_decay of 0) or nothing (of -infinity). Shapes and types are
checked, in `arguments`; that no log_decay is above 0 is not, since looking at numbers
makes a GPU wait and breaks a compiled graph. Above 0 a table grows without end.
Sources: Peng et al. 2025, arXiv 2503.14456, for the recurrence; Yang et al. 2024, arXiv
2406.06484, for the triangular solve.
"""

import torch

from rwkv_book.family.arguments import checked
from rwkv_book.family.chunks import table_chunked


def table_attention(
    log_decay,
    receptance,
    key,
    value,
    remove=None,
    replace=None,
    state=None,
    before=False,
):
    """Every pair of tokens at once, each with what is left of the earlier one.

    What a token removes depends on what others removed before it: T equations, of which
    each has one unknown more than the last, solved from the top.
    """
    state = checked(log_decay, receptance, key, value, remove, replace, state)
    log_decay, receptance, key, value = by_head(log_decay, receptance, key, value)
    kept, kept_before = fading(log_decay)  # (B,H,T,T,N)
    left, left_before = left_of_the_state(log_decay)  # (B,H,T,N)
    written = [(key, value)]
    if remove is not None:
        remove, replace = by_head(remove, replace)
        known = (left_before * remove) @ state.mT
        known = known + pairs(remove, key, kept_before) @ value
        own = pairs(remove, replace, kept_before)  # (B,H,T,T), below the diagonal
        one = torch.eye(own.shape[-1], dtype=own.dtype, device=own.device)
        found = torch.linalg.solve_triangular(one - own, known, upper=False)
        written.append((replace, found))
    out = ((left_before if before else left) * receptance) @ state.mT
    state = state * left[:, :, -1, None]
    for under, what in written:
        out = out + pairs(receptance, under, kept_before if before else kept) @ what
        state = state + what.mT @ (kept[:, :, -1] * under)
    return out.transpose(1, 2), state


def table_recurrent(
    log_decay,
    receptance,
    key,
    value,
    remove=None,
    replace=None,
    state=None,
    before=False,
):
    """One token after the other, as an RNN does it, with a table that never grows."""
    state = checked(log_decay, receptance, key, value, remove, replace, state)
    out = []
    for t in range(key.shape[1]):
        old = state
        state = state * log_decay[:, t, :, None].exp() + outer(value[:, t], key[:, t])
        if remove is not None:
            found = (old @ remove[:, t, ..., None])[..., 0]  # in the table as it was
            state = state + outer(found, replace[:, t])
        asked = old if before else state
        out.append((asked @ receptance[:, t, ..., None])[..., 0])
    return torch.stack(out, dim=1), state


def table_scan(
    log_decay,
    receptance,
    key,
    value,
    remove=None,
    replace=None,
    state=None,
    before=False,
):
    """Parallel prefix sums: join neighbours, then pairs, then pairs of pairs, ...

    Two stretches join as one fading and one table. With `remove` they would join as two
    matrices, for N times the work, which never pays: ValueError.
    """
    state = checked(log_decay, receptance, key, value, remove, replace, state)
    if remove is not None:
        raise ValueError("with `remove` a scan multiplies matrices: use table_chunked")
    fade, table, span = log_decay, outer(value, key), 1  # over the last `span` tokens
    while span < key.shape[1]:
        older, newer = slice(None, -span), slice(span, None)
        joined = table[:, older] * fade[:, newer, :, None].exp() + table[:, newer]
        table = torch.cat([table[:, :span], joined], dim=1)
        fade = torch.cat([fade[:, :span], fade[:, older] + fade[:, newer]], dim=1)
        span *= 2
    table = table + state[:, None] * fade[..., None, :].exp()  # (B,T,H,M,N)
    asked = torch.cat([state[:, None], table[:, :-1]], dim=1) if before else table
    return (asked @ receptance[..., None])[..., 0], table[:, -1]


def by_head(*tensors):
    """(B,T,H,N) -> (B,H,T,N)."""
    return [tensor.transpose(1, 2) for tensor in tensors]


def outer(rows, columns):
    """(..., M), (..., N) -> (..., M, N)."""
    return rows[..., :, None] * columns[..., None, :]


def pairs(asking, asked, kept):
    """asking[t] · asked[i] with the share that is kept of each key, (B,H,T,T)."""
    return torch.einsum("bhtn,bhin,bhtin->bhti", asking, asked, kept)


def fading(log_decay):
    """What is left at t of what was written at i, after and before t's own decay.

    (B,H,T,N) -> two of (B,H,T,T,N); 0 where there is nothing yet. The sums are taken
    from i on and not as differences, in which small decays drown beside large ones.
    """
    length = log_decay.shape[2]
    t = torch.arange(length, device=log_decay.device)
    later = (t[:, None] > t)[..., None]  # (T,T,1): t is after i
    steps = log_decay[:, :, :, None].masked_fill(~later, 0)
    not_yet = (t[:, None] < t)[..., None]
    kept = steps.cumsum(2).exp().masked_fill(not_yet, 0)
    return kept, moved_down(kept)


def left_of_the_state(log_decay):
    """What is left of an incoming table after each token, and before it: (B,H,T,N)."""
    left = log_decay.cumsum(2).exp()
    return left, moved_down(left, first=1)


def moved_down(x, first=0):
    """Row t - 1 in row t, and `first` in row 0, along axis 2."""
    return torch.cat([torch.full_like(x[:, :, :1], first), x[:, :, :-1]], dim=2)


FORMS = {
    "attention": table_attention,
    "recurrent": table_recurrent,
    "scan": table_scan,
    "chunked": table_chunked,
}
