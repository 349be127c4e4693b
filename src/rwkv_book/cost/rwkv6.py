"""RWKV-6: how many parameters, and how many FLOPs a token."""

from rwkv_book.cost.rwkv4 import embedding_parameters
from rwkv_book.cost.rwkv5 import rwkv5_matrix_parameters, table_flops_per_token


def rwkv6_parameters(shape):
    """2VC + (6C² + 2CF + 2C(5R + Q))L + C(16L + 4): R of the shifts, Q of the decay."""
    vectors = shape.width * (16 * shape.layers + 4)
    return embedding_parameters(shape) + rwkv6_matrix_parameters(shape) + vectors


def rwkv6_matrix_parameters(shape):
    """RWKV-5's, and 2C(5R + Q)L: how far five parts look back, and the decay."""
    rank = 5 * shape.shift_rank + shape.decay_rank
    low = 2 * shape.width * rank * shape.layers
    return rwkv5_matrix_parameters(shape) + low


def rwkv6_forward_flops_per_token(shape):
    """2 a matrix parameter, and the tables: at any position."""
    return 2 * rwkv6_matrix_parameters(shape) + table_flops_per_token(shape)
