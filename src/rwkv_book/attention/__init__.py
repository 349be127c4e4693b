"""Softmax attention, and the ways to make it cheaper: f(query, key, value) -> out.

Each is (B,H,T,N) in and out: H heads of N channels. Softmax attention compares every
pair of tokens, and that is what it costs:

    out[t] = sum_i softmax_i(query[t]·key[i] / sqrt(N)) value[i]        O(T²·N) time

    file            its idea                                  time
    softmax         heads, positions, mask and cache          T²·N
    linear          another similarity, and move the brackets T·N²
    linformer       M weighted sums of tokens instead of T    T·M·N
    nystromformer   M landmarks stand between the tokens      T·M·N + M³
    longformer      M neighbours, and a few tokens for all    T·M·N
    performer       M random features whose product is exp    T·M·N
    aft             no comparison: weights by place and key   T²·N, simple T·N
    average         a weighted average so far, of the last two
    table           all of them behind one interface, with their costs

A function named `..._recurrent` is a causal form with a state of fixed size: it returns
the outputs and the state after the last token, and takes one to go on from. METHODS
gives all of them one interface, with what they cost in closed form. Where a file has
the name of its function, as `performer`, the name here is the function.
Sources: at each file.
"""

from rwkv_book.attention.aft import (
    aft_full,
    aft_full_products,
    aft_local,
    aft_simple,
    aft_simple_recurrent,
)
from rwkv_book.attention.linear import (
    features,
    linear_attention,
    linear_attention_pairs,
    linear_attention_recurrent,
)
from rwkv_book.attention.linformer import linformer
from rwkv_book.attention.longformer import blocks, longformer
from rwkv_book.attention.nystromformer import (
    nystromformer,
    pseudo_inverse,
    segment_means,
)
from rwkv_book.attention.performer import (
    log_features,
    orthogonal_projection,
    performer,
    performer_pairs,
    performer_recurrent,
)
from rwkv_book.attention.softmax import (
    KvCache,
    cached_attention,
    fused_attention,
    merge_heads,
    rotary,
    scores,
    softmax_attention,
    split_heads,
    visible,
)
from rwkv_book.attention.table import (
    METHODS,
    LargestArray,
    effective_matrix,
    mean_scores,
)

__all__ = [
    "METHODS",
    "KvCache",
    "LargestArray",
    "aft_full",
    "aft_full_products",
    "aft_local",
    "aft_simple",
    "aft_simple_recurrent",
    "blocks",
    "cached_attention",
    "effective_matrix",
    "features",
    "fused_attention",
    "linear_attention",
    "linear_attention_pairs",
    "linear_attention_recurrent",
    "linformer",
    "log_features",
    "longformer",
    "mean_scores",
    "merge_heads",
    "nystromformer",
    "orthogonal_projection",
    "performer",
    "performer_pairs",
    "performer_recurrent",
    "pseudo_inverse",
    "rotary",
    "scores",
    "segment_means",
    "softmax_attention",
    "split_heads",
    "visible",
]
