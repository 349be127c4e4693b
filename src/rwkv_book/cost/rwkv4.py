"""RWKV-4: how many parameters, and how many FLOPs a token."""


def rwkv_parameters(shape):
    """2VC + (5C² + 2CF)L + C(11L + 4): every number that training changes."""
    vectors = shape.width * (11 * shape.layers + 4)  # norms, mixes, decay, bonus
    return embedding_parameters(shape) + rwkv_matrix_parameters(shape) + vectors


def rwkv_matrix_parameters(shape):
    """VC + (5C² + 2CF)L: those that each token is multiplied by, head included."""
    width, hidden = shape.width, shape.hidden
    layer = 5 * width**2 + 2 * width * hidden
    return shape.vocabulary * width + layer * shape.layers


def embedding_parameters(shape):
    """VC: a table in which a token looks up one row, without any arithmetic."""
    return shape.vocabulary * shape.width


def rwkv_forward_flops_per_token(shape):
    """The matrix products of a forward pass, at any position: 2 a matrix parameter."""
    return 2 * rwkv_matrix_parameters(shape)


def rwkv_pointwise_flops_per_token(shape):
    """(76C + 2F)L + 18C: all the rest, as `minimal.py` computes it.

    Norms 9C each, token shifts 4C, sigmoids 4C, WKV 25C; exp and tanh count as one.
    """
    width, hidden = shape.width, shape.hidden
    return (76 * width + 2 * hidden) * shape.layers + 18 * width
