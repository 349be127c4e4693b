"""RWKV-7: how many parameters, and how many FLOPs a token."""

from rwkv_book.cost.rwkv4 import embedding_parameters
from rwkv_book.cost.rwkv5 import table_flops_per_token


def rwkv7_parameters(shape):
    """2VC + (4C² + 2CF + 2CR)L + C(19L + 4) - C(2R_value + 1).

    R is the sum of the four ranks. The first layer has no value residual; a file may
    hold one that nothing reads, and then it is C(2R_value + 1) larger.
    """
    vectors = shape.width * (19 * shape.layers + 4) - shape.width
    return embedding_parameters(shape) + rwkv7_matrix_parameters(shape) + vectors


def rwkv7_matrix_parameters(shape):
    """VC + (4C² + 2CF + 2CR)L - 2C·R_value: no receptance in channel mixing."""
    width, hidden, layers = shape.width, shape.hidden, shape.layers
    rank = shape.decay_rank + shape.rate_rank + shape.gate_rank
    low = 2 * width * (rank * layers + shape.value_rank * (layers - 1))
    layer = 4 * width**2 + 2 * width * hidden
    return shape.vocabulary * width + layer * layers + low


def rwkv7_forward_flops_per_token(shape):
    """2 a matrix parameter, and the tables, which it corrects: at any position."""
    tables = table_flops_per_token(shape, corrects=True)
    return 2 * rwkv7_matrix_parameters(shape) + tables
