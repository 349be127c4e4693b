"""AFT is its definition, for it has no package; the form to train is AFT-local."""

import math
from functools import partial

import pytest
import torch
from helpers.attention import aft_tensors, masked_or_not
from helpers.comparison import TOLERANCE, assert_same, every_dtype, every_length, near
from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu

from rwkv_book.attention import (
    aft_full,
    aft_full_products,
    aft_local,
    aft_simple,
    aft_simple_recurrent,
)
from rwkv_book.attention.aft import LARGEST_KEY, WINDOW, LocalMixing, local_average
from rwkv_book.rwkv4.wkv import wkv_attention
from rwkv_book.transformer import Config, SelfAttention


def aft_by_definition(query, key, value, bias):
    """(T,C) lists of numbers, one sum after the other; -inf is a token not seen."""
    out = torch.empty_like(value)
    length, channels = value.shape
    for t in range(length):
        for c in range(channels):
            weights = [
                math.exp(key[i, c] + bias[t, i]) if bias[t, i] > -math.inf else 0.0
                for i in range(length)
            ]
            average = sum(w * value[i, c] for i, w in enumerate(weights)) / sum(weights)
            out[t, c] = average / (1 + math.exp(-query[t, c]))
    return out


@every_length
@every_dtype
@masked_or_not
def test_aft_is_its_definition(length, dtype, causal):
    *tensors, bias = (x.detach() for x in aft_tensors(length, dtype=dtype))
    t = torch.arange(length)
    unseen = torch.where(t > t[:, None], -torch.inf if causal else 0.0, 0.0)
    beyond = (t - t[:, None]).abs() >= 3
    simple = aft_simple_recurrent(*tensors)[0] if causal else aft_simple(*tensors)
    for found, biases in (
        (aft_full(*tensors, bias, causal), bias),
        (aft_local(*tensors, bias, 3, causal), bias.masked_fill(beyond, 0)),
        (simple, torch.zeros_like(bias)),
    ):
        assert found.dtype == dtype
        for b in range(2):
            expected = aft_by_definition(*(x[b] for x in tensors), biases + unseen)
            near(found[b], expected, TOLERANCE[dtype])


@masked_or_not
def test_gradients_of_aft_are_those_of_finite_differences(causal):
    tensors = aft_tensors(4)
    for function in (aft_full, partial(aft_local, window=2)):
        assert torch.autograd.gradcheck(partial(function, causal=causal), tensors)


@every_length
@every_dtype
@pytest.mark.parametrize("scale", [1, 30, 300])
def test_simple_aft_is_full_aft_without_a_bias(length, dtype, scale):
    *tensors, bias = aft_tensors(length, scale, dtype)
    none = torch.zeros_like(bias)
    found, expected = aft_simple(*tensors), aft_full(*tensors, none)
    assert_same(found, expected, tensors, TOLERANCE[dtype])
    found, _ = aft_simple_recurrent(*tensors)
    expected = aft_full(*tensors, none, causal=True)
    assert_same(found, expected, tensors, TOLERANCE[dtype])


def test_simple_aft_is_the_rwkv_of_transformers_without_decay_and_bonus():
    *tensors, _ = aft_tensors(17)
    query, key, value = (x.detach() for x in tensors)
    never = torch.full((3,), -torch.inf, dtype=torch.float64)  # exp of it is 0
    expected, _ = rwkv_linear_attention_cpu(never, torch.zeros_like(never), key, value)
    found, _ = aft_simple_recurrent(query, key, value)
    near(found, query.sigmoid() * expected, 1e-6)  # they sum in float32


@every_length
def test_full_aft_with_a_bias_that_fades_is_wkv(length):
    """The door to RWKV: position_bias[t,i] = -(t - 1 - i) · decay_rate, and a bonus."""
    query, key, value, _ = aft_tensors(length, scale=30)
    decay_rate, bonus = torch.tensor([0.3, 0.7], dtype=torch.float64)
    t = torch.arange(length)
    bias = (-(t[:, None] - 1 - t) * decay_rate).where(t[:, None] != t, bonus)
    expected, _ = wkv_attention(decay_rate.expand(3), bonus.expand(3), key, value)
    found = aft_full(query, key, value, bias, causal=True)
    assert_same(found, query.sigmoid() * expected, [query, key, value])


def slow_average(key, value, bias, state=None):
    """Every pair, as `aft_local` does it, for one group after the other."""
    window, t = bias.shape[-1], torch.arange(key.shape[1])
    distance = (t[:, None] - t).clamp(0, window - 1)
    keys, values = key.chunk(len(bias), -1), value.chunk(len(bias), -1)
    open_gate = torch.inf  # sigmoid(inf) = 1
    return torch.cat(
        [
            aft_local(
                torch.full_like(k, open_gate), k, v, b[distance], window, causal=True
            )
            for k, v, b in zip(keys, values, bias, strict=True)
        ],
        dim=-1,
    )


@pytest.mark.parametrize("length", [1, 2, 7, 8, 17, 64])
def test_blocks_give_what_every_pair_gives_with_gradients(length):
    generator = torch.manual_seed(length)
    exact = {"dtype": torch.float64, "generator": generator, "requires_grad": True}
    key, value = (torch.randn(2, length, 6, **exact) for _ in range(2))
    bias = torch.randn(3, 8, **exact)
    weights = torch.randn(2, length, 6, generator=generator, dtype=torch.float64)
    fast, slow = local_average(key, value, bias)[0], slow_average(key, value, bias)
    near(fast, slow)
    inputs = key, value, bias
    fast, slow = (
        torch.autograd.grad((x * weights).sum(), inputs) for x in (fast, slow)
    )
    for found, expected in zip(fast, slow, strict=True):
        near(found, expected)


def test_keys_that_would_overflow_count_as_the_largest():
    key, value = 300 * torch.randn(2, 1, 50, 4, generator=torch.manual_seed(0))
    bias = torch.zeros(1, 8)
    found, _ = local_average(key, value, bias)
    expected = slow_average(key.clamp(-LARGEST_KEY, LARGEST_KEY), value, bias)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_local_mixing_is_the_average_over_every_pair_let_through_by_the_query():
    torch.manual_seed(0)
    mixing = LocalMixing(SelfAttention(Config(5, 1, 16, heads=1))).double()
    for weights in mixing.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    x = torch.randn(2, 2 * WINDOW + 7, 16, dtype=torch.float64)
    query, key, value = mixing.query_key_value(x).chunk(3, dim=-1)
    average = slow_average(key, value, mixing.bias_left @ mixing.bias_right)
    near(mixing(x, None)[0], mixing.output(query.sigmoid() * average))


@every_length
@every_dtype
@masked_or_not
def test_aft_as_products_of_matrices_is_aft(length, dtype, causal):
    query, key, value, bias = aft_tensors(length, dtype=dtype)
    found = aft_full_products(query, key, value, bias, causal)
    expected = aft_full(query, key, value, bias, causal)
    tensors = [query, key, value, bias]
    assert_same(found, expected, tensors, TOLERANCE[dtype])
