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
appendix D; the data sheets of the accelerators.
"""

import math
from typing import NamedTuple


class Shape(NamedTuple):
    """A model's shape: vocabulary V, layers L, width C, hidden channels F."""

    vocabulary: int
    layers: int
    width: int
    hidden: int


def pile_shape(layers, width):
    """The shape of a published RWKV-4: the 20B tokenizer's vocabulary, F = 4C."""
    return Shape(50277, layers, width, 4 * width)


RWKV4 = {
    "169M": pile_shape(12, 768),
    "430M": pile_shape(24, 1024),
    "1.5B": pile_shape(24, 2048),
    "3B": pile_shape(32, 2560),
    "7B": pile_shape(32, 4096),
    "14B": pile_shape(40, 5120),
}


class Accelerator(NamedTuple):
    """Peak 16-bit FLOP/s of dense matrix products, bytes/s from memory, its bytes."""

    flops_per_second: float
    bytes_per_second: float
    memory_bytes: float


# NVIDIA's data sheets: the SXM versions, the A100 with 80 GB. The sheets of the newer
# two print twice these FLOP/s, for matrices of which half is zeros.
ACCELERATORS = {
    "A100": Accelerator(312e12, 2.039e12, 80e9),
    "H100": Accelerator(989e12, 3.35e12, 80e9),
    "H200": Accelerator(989e12, 4.8e12, 141e9),
}


# Parameters and FLOPs


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


def gpt_parameters(shape, positions=0):
    """VC + (4C² + 2CF)L + (9C + F)L + 2C, and C for each of the learned positions.

    `transformer.GPT`, which is GPT-2: C² each for query, key, value and output, biases,
    and a head that is the embedding once more.
    """
    vectors = (9 * shape.width + shape.hidden) * shape.layers + 2 * shape.width
    return gpt_matrix_parameters(shape) + vectors + positions * shape.width


def gpt_matrix_parameters(shape):
    """VC + (4C² + 2CF)L, where VC is the head."""
    width, hidden = shape.width, shape.hidden
    layer = 4 * width**2 + 2 * width * hidden
    return shape.vocabulary * width + layer * shape.layers


def gpt_forward_flops_per_token(shape, context):
    """2 a matrix parameter, and 4CL for every token that this one is compared with.

    `context` is the length T for a program that computes all pairs and hides half of
    them, and (T + 1) / 2 on average for one that leaves the hidden half out.
    """
    attention = 4 * shape.width * shape.layers * context
    return 2 * gpt_matrix_parameters(shape) + attention


def training_flops_per_token(forward_flops_per_token):
    """Forward once, and backward twice: for the inputs and for the weights."""
    return 3 * forward_flops_per_token


def training_flops(parameters, tokens):
    """The rule of thumb, 6ND: all parameters count as if they were in matrices."""
    return 6 * parameters * tokens


# Hours and money


def gpu_hours(flops, flops_per_second, utilisation=1.0):
    """Hours of one accelerator; `utilisation` is the part of its peak that is used."""
    return flops / (flops_per_second * utilisation) / 3600


def utilisation(flops, flops_per_second, hours):
    """The part of the peak that a run used, from the accelerator hours that it took."""
    return gpu_hours(flops, flops_per_second) / hours


def dollars(hours, dollars_per_hour):
    """What accelerator hours cost."""
    return hours * dollars_per_hour


# Memory


def rwkv_state_bytes(shape, bytes_per_number=4):
    """5CL numbers for a sequence of any length, in float32 unless told otherwise."""
    return 5 * shape.width * shape.layers * bytes_per_number


def kv_cache_bytes(shape, tokens, bytes_per_number=2):
    """2CL numbers for every token that was read, a key and a value in each layer."""
    return 2 * shape.width * shape.layers * tokens * bytes_per_number


def lstm_state_bytes(shape, bytes_per_number=4):
    """2CL numbers, hidden and cell of each layer, for a sequence of any length."""
    return 2 * shape.width * shape.layers * bytes_per_number


def break_even_tokens(shape, state_bytes_per_number=4, cache_bytes_per_number=2):
    """After how many tokens a transformer's cache is as large as RWKV-4's state.

    5CL·s / 2CL·c = 5s / 2c, whatever L and C: 5 tokens for s = 4 and c = 2.
    """
    state = rwkv_state_bytes(shape, state_bytes_per_number)
    return state / kv_cache_bytes(shape, 1, cache_bytes_per_number)


# Generating text: every step gives one token to each sequence of a batch


class Step(NamedTuple):
    """What one step of generation takes: per token of the batch, and for all of it.

    `sequence_bytes` are moved for each sequence: its state, read and written, or its
    KV cache.
    """

    flops: float
    weight_bytes: float
    sequence_bytes: float

    def compute_seconds(self, batch, accelerator):
        """As long as the arithmetic takes."""
        return batch * self.flops / accelerator.flops_per_second

    def memory_seconds(self, batch, accelerator):
        """As long as the bytes take on their way from memory."""
        moved = self.weight_bytes + batch * self.sequence_bytes
        return moved / accelerator.bytes_per_second

    def seconds(self, batch, accelerator):
        """The longer of the two: no program is faster, since both overlap at best."""
        return max(
            self.compute_seconds(batch, accelerator),
            self.memory_seconds(batch, accelerator),
        )

    def compute_bound_batch(self, accelerator):
        """The batch at which both take equally long; infinite if they never do."""
        compute = self.flops / accelerator.flops_per_second
        per_sequence = self.sequence_bytes / accelerator.bytes_per_second
        if compute <= per_sequence:
            return math.inf
        return (
            self.weight_bytes / accelerator.bytes_per_second / (compute - per_sequence)
        )


def rwkv_step(shape, bytes_per_number=2):
    """RWKV-4: all weights but the embedding; the state, in float32, out and back."""
    weights = rwkv_parameters(shape) - embedding_parameters(shape)
    flops = rwkv_forward_flops_per_token(shape)
    return Step(flops, weights * bytes_per_number, 2 * rwkv_state_bytes(shape))


def gpt_step(shape, context, bytes_per_number=2):
    """A transformer after `context` tokens: all weights, and the whole cache."""
    weights = gpt_parameters(shape) * bytes_per_number
    flops = gpt_forward_flops_per_token(shape, context)
    return Step(flops, weights, kv_cache_bytes(shape, context, bytes_per_number))


def dollars_per_million_tokens(dollars_per_hour, tokens_per_second):
    """What a million generated tokens cost on hardware that is never idle."""
    return dollars(1e6 / tokens_per_second / 3600, dollars_per_hour)
