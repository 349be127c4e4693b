"""Linear attention is that of flash-linear-attention, in all its forms."""

import importlib.util
import math
from importlib.metadata import distribution

import pytest
import torch
from helpers.attention import heads
from helpers.comparison import TOLERANCE, assert_same, every_dtype, every_length, near
from torch.nn.functional import elu

from rwkv_book.attention import (
    features,
    linear_attention,
    linear_attention_pairs,
    linear_attention_recurrent,
)


def naive_of_fla():
    """The naive forms of flash-linear-attention, from their own file.

    To import the package would need Triton, which the naive forms do not use.
    """
    path = distribution("fla-core").locate_file("fla/ops/linear_attn/naive.py")
    spec = importlib.util.spec_from_file_location("fla_naive", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@every_length
@pytest.mark.parametrize("scale", [1, 5])
def test_linear_attention_is_that_of_fla(length, scale):
    tensors = heads(length, scale, torch.float32)
    query, key, value = (x.transpose(1, 2) for x in tensors)  # (B,T,H,N)
    arguments = {"scale": 1.0, "normalize": True}
    query, key = elu(query) + 1, elu(key) + 1
    naive = naive_of_fla()
    expected, (num, den) = naive.naive_recurrent_linear_attn(
        query, key, value, output_final_state=True, **arguments
    )
    found, state = linear_attention_recurrent(*tensors)
    assert_same(found, expected.transpose(1, 2), tensors, 1e-4)
    near(state.num, num, 1e-4)
    near(state.den, den[:, 0], 1e-4)
    if length == 64:  # all that its chunked form can read
        expected = naive.naive_chunk_linear_attn(query, key, value, **arguments)
        assert_same(found, expected.transpose(1, 2), tensors, 1e-4)


@every_length
@every_dtype
@pytest.mark.parametrize("scale", [1, 30])
def test_the_forms_of_linear_attention_are_equal(length, dtype, scale):
    tensors = heads(length, scale, dtype)
    tolerance = TOLERANCE[dtype]
    pairs = linear_attention_pairs(*tensors)
    assert_same(linear_attention(*tensors), pairs, tensors, tolerance)
    pairs = linear_attention_pairs(*tensors, causal=True)
    recurrent, _ = linear_attention_recurrent(*tensors)
    assert recurrent.dtype == dtype
    assert_same(recurrent, pairs, tensors, tolerance)


def test_the_features_of_linear_attention_are_elu_plus_one():
    x = torch.linspace(-30, 30, 1001, dtype=torch.float64, requires_grad=True)
    assert_same(features(x), elu(x) + 1, [x], 1e-12)
    far = torch.tensor([-80.0])  # where elu + 1 has rounded to 0
    assert (elu(far) + 1).item() == 0
    assert features(far).item() == pytest.approx(math.exp(-80))
