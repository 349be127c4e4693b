"""Generating text: every step gives one token to each sequence of a batch.

A step takes as long as its arithmetic, or as its bytes on their way from memory if that
is longer. With few sequences it is: all weights are read for each of them.
"""

import math
from typing import NamedTuple

from rwkv_book.cost.hardware import dollars
from rwkv_book.cost.rwkv4 import (
    embedding_parameters,
    rwkv_forward_flops_per_token,
    rwkv_parameters,
)
from rwkv_book.cost.rwkv7 import rwkv7_forward_flops_per_token, rwkv7_parameters
from rwkv_book.cost.state_bytes import (
    kv_cache_bytes,
    rwkv_state_bytes,
    table_state_bytes,
)
from rwkv_book.cost.transformer import gpt_forward_flops_per_token, gpt_parameters


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


def rwkv7_step(shape, bytes_per_number=2):
    """RWKV-7: the same, with its tables for a state."""
    weights = rwkv7_parameters(shape) - embedding_parameters(shape)
    flops = rwkv7_forward_flops_per_token(shape)
    return Step(flops, weights * bytes_per_number, 2 * table_state_bytes(shape))


def gpt_step(shape, context, bytes_per_number=2):
    """A transformer after `context` tokens: all weights, and the whole cache."""
    weights = gpt_parameters(shape) * bytes_per_number
    flops = gpt_forward_flops_per_token(shape, context)
    return Step(flops, weights, kv_cache_bytes(shape, context, bytes_per_number))


def dollars_per_million_tokens(dollars_per_hour, tokens_per_second):
    """What a million generated tokens cost on hardware that is never idle."""
    return dollars(1e6 / tokens_per_second / 3600, dollars_per_hour)
