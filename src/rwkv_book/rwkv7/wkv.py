"""RWKV-7's operator: a token takes out what stands under a key before it writes.

One step of it has real eigenvalues between -0.4548 and 1, and still two steps in a row
can make a table grow, by 1.25 at most as far as we have found: the removal keys of one
token and the next need not agree. Source: Peng et al. 2025, arXiv 2503.14456.
"""

import math
from functools import partial

from rwkv_book.family.equation import table_chunked

FASTEST = math.exp(-0.5)  # one step keeps at least exp(-this) = 0.545 of a key
chunked = partial(table_chunked, least=-FASTEST)


def wkv(
    decay_logit,
    receptance,
    key,
    value,
    removed,
    rate,
    state=None,
    form=chunked,
    **how,
):
    """The answers of all heads (B,T,H,N), and the tables after the last token.

    All (B,T,H,N): what stands under `removed`, which has length 1 in each head, goes at
    `rate`, between 0 and 1, key by key; decay_logit may be any number, and the larger
    it is the faster a key fades. The rest as in `rwkv5.wkv.wkv`; the answer is that of
    the new table, and the bonus for the token itself comes in after the norm.
    """
    log_decay = -FASTEST * decay_logit.sigmoid()
    return form(
        log_decay, receptance, key, value, -removed, removed * rate, state=state, **how
    )
