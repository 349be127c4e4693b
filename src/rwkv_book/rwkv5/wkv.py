"""RWKV-5's operator: the recurrence of `family.equation` with a decay that is learned.

A token is asked about before it is written, and heard itself with a bonus. Source: Peng
et al. 2024, arXiv 2404.05892.
"""

from rwkv_book.family.equation import table_chunked


def wkv(
    log_decay_rate, bonus, receptance, key, value, state=None, form=table_chunked, **how
):
    """The answers of all heads (B,T,H,N), and the tables after the last token.

    log_decay_rate and bonus (H,N); receptance, key and value (B,T,H,N); `state`
    (B,H,N,N), value by key, or None for nothing read. `form` is one of
    `family.equation`, and `how` what it takes beside, such as chunk=64.
    """
    log_decay = -log_decay_rate.exp().expand_as(key)
    return asked_before(log_decay, bonus, receptance, key, value, state, form, **how)


def asked_before(log_decay, bonus, receptance, key, value, state, form, **how):
    """The table before the token, and the token itself with its bonus."""
    out, state = form(
        log_decay, receptance, key, value, state=state, before=True, **how
    )
    return out + (receptance * bonus * key).sum(-1, keepdim=True) * value, state
