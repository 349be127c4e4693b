"""RWKV-5.2: how many parameters, and how many FLOPs a token; FLOPs of any table."""

from rwkv_book.cost.rwkv4 import embedding_parameters


def rwkv5_parameters(shape):
    """2VC + (6C² + 2CF)L + C(14L + 4): every number that training changes."""
    vectors = shape.width * (14 * shape.layers + 4)
    return embedding_parameters(shape) + rwkv5_matrix_parameters(shape) + vectors


def rwkv5_matrix_parameters(shape):
    """VC + (6C² + 2CF)L: a gate more than RWKV-4."""
    width, hidden = shape.width, shape.hidden
    layer = 6 * width**2 + 2 * width * hidden
    return shape.vocabulary * width + layer * shape.layers


def rwkv5_forward_flops_per_token(shape):
    """2 a matrix parameter, and the tables: at any position."""
    return 2 * rwkv5_matrix_parameters(shape) + table_flops_per_token(shape)


def table_flops_per_token(shape, corrects=False):
    """5NCL for tables of N by N: decay 1, write 2 and read 2 for each of their numbers.

    A table that `corrects` is looked up and erased too, 2 and 2 more: 9NCL.
    """
    each = 9 if corrects else 5
    return each * shape.head_size * shape.width * shape.layers
