"""RWKV-6's operator: as RWKV-5's, with a decay that each token chooses for each key.

Source: Peng et al. 2024, arXiv 2404.05892.
"""

from rwkv_book.family.equation import table_chunked
from rwkv_book.rwkv5.wkv import asked_before


def wkv(
    log_decay_rate, bonus, receptance, key, value, state=None, form=table_chunked, **how
):
    """The answers of all heads (B,T,H,N), and the tables after the last token.

    bonus (H,N); log_decay_rate, receptance, key and value (B,T,H,N); the rest as in
    `rwkv5.wkv.wkv`.
    """
    log_decay = -log_decay_rate.exp()
    return asked_before(log_decay, bonus, receptance, key, value, state, form, **how)
