"""A weighted average that takes one value after the other: the state of two methods.

The weight is kept as a logarithm, because the exponentials that Performer and AFT sum
would overflow as numbers.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Average(NamedTuple):
    """A weighted average of values so far, and the logarithm of its weights' sum."""

    average: Tensor
    log_weight: Tensor

    def include(self, log_weight, value):
        """One more value: it moves the average by its share of all weight."""
        total = torch.logaddexp(self.log_weight, log_weight)
        share = (log_weight - total).exp()
        return Average(self.average + share * (value - self.average), total)


def empty_average(log_weight, value):
    """The average before the first value: 0, with a weight of exp(-inf) = 0."""
    zero = torch.zeros_like(log_weight)
    return Average(zero * torch.zeros_like(value), zero - torch.inf)
