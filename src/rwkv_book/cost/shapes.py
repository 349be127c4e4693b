"""The shape of a model, and the shapes of the published RWKV-4s and RWKV-7s.

Whatever has the names of a Shape will do in its place: a `model.Config` for instance.
"""

from typing import NamedTuple


class Shape(NamedTuple):
    """A model's shape: vocabulary V, layers L, width C, hidden channels F."""

    vocabulary: int
    layers: int
    width: int
    hidden: int


class Shape5(NamedTuple):
    """RWKV-5.2: tables of N by N, N being the head size."""

    vocabulary: int
    layers: int
    width: int
    hidden: int
    head_size: int = 64


class Shape6(NamedTuple):
    """RWKV-6: also what its low-rank matrices have in the middle."""

    vocabulary: int
    layers: int
    width: int
    hidden: int
    head_size: int = 64
    shift_rank: int = 32
    decay_rank: int = 64


class Shape7(NamedTuple):
    """RWKV-7: ranks of decay, in-context rate, value residual and gate."""

    vocabulary: int
    layers: int
    width: int
    hidden: int
    head_size: int
    decay_rank: int
    rate_rank: int
    value_rank: int
    gate_rank: int


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


def world_shape(layers, width, *ranks):
    """The shape of a published RWKV-7: vocabulary of World, F = 4C, heads of 64."""
    return Shape7(65536, layers, width, 4 * width, 64, *ranks)


RWKV7 = {
    "0.1B": world_shape(12, 768, 64, 64, 32, 128),
    "0.4B": world_shape(24, 1024, 64, 64, 32, 128),
    "1.5B": world_shape(24, 2048, 96, 96, 64, 256),
    "2.9B": world_shape(32, 2560, 96, 96, 64, 320),
}
