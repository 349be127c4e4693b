"""A weighted average takes one value after the other, on any scale."""

import torch
from helpers.comparison import near
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_book.attention.average import Average, empty_average


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1, 300]))
@settings(deadline=None, max_examples=25)
def test_a_value_more_in_an_average_is_the_average_of_all(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    logs, values = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    state = empty_average(logs[0], values[0])
    for log, value in zip(scale * logs, values, strict=True):
        state = state.include(log, value)
    expected = Average(
        ((scale * logs).softmax(0) * values).sum(0), (scale * logs).logsumexp(0)
    )
    for found, wanted in zip(state, expected, strict=True):
        near(found, wanted)
