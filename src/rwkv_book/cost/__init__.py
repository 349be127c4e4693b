"""What a model costs: parameters, FLOPs, bytes, hours and money, in closed form.

A FLOP is one addition or one multiplication of two numbers, so a product of an (m,k)
and a (k,n) matrix takes 2·m·k·n. Everything here is plain arithmetic on a shape: no
model is built. `shape` is a Shape, or a `model.Config`, which has the same names.

For RWKV-4 with V tokens, L layers, C channels and F hidden ones:

    parameters                2VC + (5C² + 2CF)L + C(11L + 4)
    forward FLOPs per token   2 (VC + (5C² + 2CF)L)
    training FLOPs per token  three times the forward ones
    state                     5CL numbers, whatever the length of the text

With F = 4C, 5C² + 2CF is 13C². The later versions, whose state is (2 + N)CL numbers for
heads of N, have functions of the same names with a number: `rwkv7_parameters`. Sources:
Peng et al. 2023, arXiv 2305.13048, Table 2 and appendix D, for RWKV-4; 2024, arXiv
2404.05892, and 2025, arXiv 2503.14456, for what came after it; the data sheets of the
accelerators. The files:

    shapes       what all the others take, and the published sizes
    rwkv4        parameters and FLOPs of RWKV-4
    rwkv5        the same of RWKV-5.2, and FLOPs of tables
    rwkv6        the same of RWKV-6
    rwkv7        the same of RWKV-7
    transformer  the same of a GPT
    training     FLOPs of a training run, and hours
    state_bytes  bytes of a state, and of a cache that grows
    hardware     accelerators, and what their hours cost
    generation   seconds and dollars for the next token
"""

from rwkv_book.cost.generation import (
    Step,
    dollars_per_million_tokens,
    gpt_step,
    rwkv7_step,
    rwkv_step,
)
from rwkv_book.cost.hardware import ACCELERATORS, Accelerator, dollars
from rwkv_book.cost.rwkv4 import (
    embedding_parameters,
    rwkv_forward_flops_per_token,
    rwkv_matrix_parameters,
    rwkv_parameters,
    rwkv_pointwise_flops_per_token,
)
from rwkv_book.cost.rwkv5 import (
    rwkv5_forward_flops_per_token,
    rwkv5_matrix_parameters,
    rwkv5_parameters,
    table_flops_per_token,
)
from rwkv_book.cost.rwkv6 import (
    rwkv6_forward_flops_per_token,
    rwkv6_matrix_parameters,
    rwkv6_parameters,
)
from rwkv_book.cost.rwkv7 import (
    rwkv7_forward_flops_per_token,
    rwkv7_matrix_parameters,
    rwkv7_parameters,
)
from rwkv_book.cost.shapes import (
    RWKV4,
    RWKV7,
    Shape,
    Shape5,
    Shape6,
    Shape7,
    pile_shape,
    world_shape,
)
from rwkv_book.cost.state_bytes import (
    break_even_tokens,
    kv_cache_bytes,
    lstm_state_bytes,
    rwkv_state_bytes,
    table_break_even_tokens,
    table_state_bytes,
)
from rwkv_book.cost.training import (
    gpu_hours,
    training_flops,
    training_flops_per_token,
    utilisation,
)
from rwkv_book.cost.transformer import (
    gpt_forward_flops_per_token,
    gpt_matrix_parameters,
    gpt_parameters,
)

__all__ = [
    "ACCELERATORS",
    "RWKV4",
    "RWKV7",
    "Accelerator",
    "Shape",
    "Shape5",
    "Shape6",
    "Shape7",
    "Step",
    "break_even_tokens",
    "dollars",
    "dollars_per_million_tokens",
    "embedding_parameters",
    "gpt_forward_flops_per_token",
    "gpt_matrix_parameters",
    "gpt_parameters",
    "gpt_step",
    "gpu_hours",
    "kv_cache_bytes",
    "lstm_state_bytes",
    "pile_shape",
    "rwkv5_forward_flops_per_token",
    "rwkv5_matrix_parameters",
    "rwkv5_parameters",
    "rwkv6_forward_flops_per_token",
    "rwkv6_matrix_parameters",
    "rwkv6_parameters",
    "rwkv7_forward_flops_per_token",
    "rwkv7_matrix_parameters",
    "rwkv7_parameters",
    "rwkv7_step",
    "rwkv_forward_flops_per_token",
    "rwkv_matrix_parameters",
    "rwkv_parameters",
    "rwkv_pointwise_flops_per_token",
    "rwkv_state_bytes",
    "rwkv_step",
    "table_break_even_tokens",
    "table_flops_per_token",
    "table_state_bytes",
    "training_flops",
    "training_flops_per_token",
    "utilisation",
    "world_shape",
]
