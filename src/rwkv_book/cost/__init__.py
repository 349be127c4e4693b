"""What a model costs: parameters, FLOPs, bytes, hours and money, in closed form.

A FLOP is one addition or one multiplication of two numbers, so a product of an (m,k)
and a (k,n) matrix takes 2·m·k·n. Everything here is plain arithmetic on a shape: no
model is built. `shape` is a Shape, or a `model.Config`, which has the same names.

For RWKV-4 with V tokens, L layers, C channels and F hidden ones:

    parameters                2VC + (5C² + 2CF)L + C(11L + 4)
    forward FLOPs per token   2 (VC + (5C² + 2CF)L)
    training FLOPs per token  three times the forward ones
    state                     5CL numbers, whatever the length of the text

With F = 4C, 5C² + 2CF is 13C². Sources: Peng et al. 2023, arXiv 2305.13048, Table 2 and
appendix D; the data sheets of the accelerators. The files:

    shapes       what all the others take, and the published sizes
    rwkv4        parameters and FLOPs of RWKV-4
    transformer  the same of a GPT
    training     FLOPs of a training run, and hours
    memory       bytes of a state, and of a cache that grows
    hardware     accelerators, and what their hours cost
    generation   seconds and dollars for the next token
"""

from rwkv_book.cost.generation import (
    Step,
    dollars_per_million_tokens,
    gpt_step,
    rwkv_step,
)
from rwkv_book.cost.hardware import ACCELERATORS, Accelerator, dollars
from rwkv_book.cost.memory import (
    break_even_tokens,
    kv_cache_bytes,
    lstm_state_bytes,
    rwkv_state_bytes,
)
from rwkv_book.cost.rwkv4 import (
    embedding_parameters,
    rwkv_forward_flops_per_token,
    rwkv_matrix_parameters,
    rwkv_parameters,
    rwkv_pointwise_flops_per_token,
)
from rwkv_book.cost.shapes import RWKV4, Shape, pile_shape
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
    "Accelerator",
    "Shape",
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
    "rwkv_forward_flops_per_token",
    "rwkv_matrix_parameters",
    "rwkv_parameters",
    "rwkv_pointwise_flops_per_token",
    "rwkv_state_bytes",
    "rwkv_step",
    "training_flops",
    "training_flops_per_token",
    "utilisation",
]
