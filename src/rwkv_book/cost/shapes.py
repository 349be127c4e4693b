"""The shape of a model, and the shapes of the published RWKV-4s.

Whatever has the names of a Shape will do in its place: a `model.Config` for instance.
"""

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
