"""Nyströmformer: M landmarks stand between the tokens, and a matrix (M,M) is inverted.

Source: Xiong et al. 2021, arXiv 2102.03902.
"""

import torch

from rwkv_book.attention.softmax import scores


def segment_means(x, segments):
    """The means of T tokens in `segments` stretches of equal length, give or take 1."""
    if not 1 <= segments <= x.shape[-2]:
        raise ValueError(f"{x.shape[-2]} tokens make no {segments} segments")
    parts = x.tensor_split(segments, dim=-2)
    return torch.stack([part.mean(-2) for part in parts], dim=-2)


def nystromformer(query, key, value, landmarks, iterations=6):
    """Tokens meet through M landmarks, means of segments: softmax(T,M) (M,M)⁻¹ (M,T).

    O(T·M·N + M³) time, O(T·M + M²) memory. With M = T it is softmax attention, as far
    as `iterations` steps of the inverse go. Never causal: a landmark holds later tokens
    too. Weights can be negative. Source: Xiong et al. 2021, arXiv 2102.03902.
    """
    query_marks = segment_means(query, landmarks)  # (B,H,M,N)
    key_marks = segment_means(key, landmarks)
    to_marks = scores(query, key_marks).softmax(-1)  # (B,H,T,M)
    between = scores(query_marks, key_marks).softmax(-1)  # (B,H,M,M)
    from_marks = scores(query_marks, key).softmax(-1)  # (B,H,M,T)
    return to_marks @ (pseudo_inverse(between, iterations) @ (from_marks @ value))


def pseudo_inverse(matrix, iterations):
    """Z with matrix·Z·matrix close to matrix: products only, each step cubes the error.

    It starts from matrixᵀ over the product of its largest row and column sums, for each
    matrix of a batch by itself. O(M³) an iteration. Source: Razavi et al. 2014.
    """
    rows = matrix.abs().sum(-1).amax(-1)[..., None, None]
    columns = matrix.abs().sum(-2).amax(-1)[..., None, None]
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    inverse = matrix.transpose(-1, -2) / (rows * columns)
    for _ in range(iterations):
        near = matrix @ inverse  # close to one, at last
        inverse = inverse @ (13 * one - near @ (15 * one - near @ (7 * one - near))) / 4
    return inverse
