"""Linformer: M weighted sums of tokens are looked at in place of all T tokens.

Source: Wang et al. 2020, arXiv 2006.04768.
"""

from rwkv_book.attention.softmax import softmax_attention


def linformer(query, key, value, project_key, project_value):
    """Softmax over M weighted sums of tokens, project (T,M): O(T·M·N) time, T·M memory.

    Never causal: a sum holds later tokens too. For texts of length T only, as the
    projections are learned. Source: Wang et al. 2020, arXiv 2006.04768.
    """
    return softmax_attention(query, project_key.T @ key, project_value.T @ value)
