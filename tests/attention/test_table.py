"""What all methods have in common: one interface, states, costs in closed form."""

from functools import partial

import pytest
import torch
from helpers.attention import aft_tensors, band, heads
from helpers.comparison import assert_same, near
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from rwkv_book.attention import (
    METHODS,
    KvCache,
    LargestArray,
    aft_full,
    aft_local,
    aft_simple_recurrent,
    cached_attention,
    effective_matrix,
    linear_attention_recurrent,
    linformer,
    orthogonal_projection,
    performer_recurrent,
    segment_means,
)
from rwkv_book.attention.average import empty_average

RECURRENT = {
    "linear": linear_attention_recurrent,
    "performer": partial(
        performer_recurrent,
        projection=orthogonal_projection(
            20, 8, torch.Generator().manual_seed(0)
        ).double(),
    ),
    "aft simple": aft_simple_recurrent,
}
every_method = pytest.mark.parametrize("name", METHODS)
CAUSAL = [name for name, method in METHODS.items() if method.causal]


@pytest.mark.parametrize("name", RECURRENT)
@given(length=st.integers(2, 24), cut=st.floats(0, 1), scale=st.sampled_from([1, 30]))
@settings(deadline=None, max_examples=25)
def test_split_anywhere_equals_whole(name, length, cut, scale):
    form, tensors = RECURRENT[name], heads(length, scale, seed=length)
    cut = 1 + int(cut * (length - 2))
    first, between = form(*(x[:, :, :cut] for x in tensors))
    second, after = form(*(x[:, :, cut:] for x in tensors), state=between)
    whole, wanted = form(*tensors)
    assert_same(torch.cat([first, second], dim=2), whole, tensors)
    for found, expected in zip(after, wanted, strict=True):
        near(found, expected)


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("length", [1, 17])
def test_a_state_has_as_many_numbers_as_predicted(name, length):
    _, state = RECURRENT[name](*heads(length))
    numbers = sum(field.numel() for field in state)
    assert numbers == 2 * 2 * METHODS[name].state(length, 8, 20)  # B and H


def test_a_window_generates_from_its_last_keys_and_values():
    tensors, cache, out = heads(17), None, []
    for t in range(17):
        one, cache = cached_attention(*(x[:, :, t : t + 1] for x in tensors), cache)
        out.append(one)
        numbers = cache.key[0, 0].numel() + cache.value[0, 0].numel()
        assert numbers == METHODS["longformer"].state(t + 1, 8, 6)
        cache = KvCache(*(kept[:, :, -5:] for kept in cache))
    expected = METHODS["longformer"](*tensors, 6, causal=True)
    near(torch.cat(out, dim=2), expected)


def test_local_aft_generates_from_a_window_and_the_average_of_what_left_it():
    *tensors, bias = aft_tensors(17)
    query, key, value = tensors
    past, out = empty_average(key[:, 0], value[:, 0]), []
    for t in range(17):
        if t >= 4:
            past = past.include(key[:, t - 4], value[:, t - 4])
        start = max(0, t - 3)
        state = past
        for i in range(start, t + 1):
            state = state.include(key[:, i] + bias[t, i], value[:, i])
        out.append(query[:, t].sigmoid() * state.average)
        kept = 2 * 3 * (t + 1 - start) + sum(x[0].numel() for x in past)
        assert kept == METHODS["aft local"].state(t + 1, 3, 4)
    expected = aft_local(*tensors, bias, window=4, causal=True)
    assert_same(torch.stack(out, dim=1), expected, [*tensors, bias])


def test_which_methods_can_be_causal():
    assert set(METHODS) - set(CAUSAL) == {"linformer", "nystromformer"}
    assert set(RECURRENT) < set(CAUSAL)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_method_lets_nothing_back_in_time(name):
    query, key, value = (x.detach() for x in heads(17))
    bias = torch.randn(17, 17, dtype=torch.float64)
    attend = {  # the interface takes their bias from scores, which come from all tokens
        "aft full": partial(aft_full, position_bias=bias, causal=True),
        "aft local": partial(aft_local, position_bias=bias, window=6, causal=True),
    }.get(name, partial(METHODS[name], budget=6, causal=True))
    later = (torch.arange(17) >= 9)[:, None]
    changed = [torch.where(later, x + 5, x) for x in (query, key, value)]
    before, after = attend(query, key, value), attend(*changed)
    assert torch.equal(before[:, :, :9], after[:, :, :9])
    assert (before[:, :, 9:] != after[:, :, 9:]).all()


@every_method
def test_without_a_mask_the_last_token_reaches_the_first(name):
    query, key, value = (x.detach() for x in heads(17))
    before = METHODS[name](query, key, value, 17 if name == "nystromformer" else 16)
    changed = value.clone()
    changed[:, :, 8] += 100
    after = METHODS[name](query, key, changed, 17 if name == "nystromformer" else 16)
    assert (before[:, :, 0] != after[:, :, 0]).all()


@pytest.mark.parametrize("name", ["linformer", "nystromformer"])
def test_a_method_that_mixes_later_tokens_in_refuses_to_be_causal(name):
    with pytest.raises(ValueError, match="it can't be causal"):
        METHODS[name](*heads(17), 6, causal=True)


@pytest.mark.parametrize("name", CAUSAL)
def test_the_first_token_sees_itself_alone(name):
    query, key, value = heads(17)
    out = METHODS[name](query, key, value, 6, causal=True)[:, :, 0]
    gate = query[:, :, 0].sigmoid() if METHODS[name].per_channel else 1
    near(out, gate * value[:, :, 0])


@pytest.mark.parametrize("length", [1, 17])
@pytest.mark.parametrize(
    ("name", "causal"),
    [(name, False) for name in METHODS] + [(name, True) for name in CAUSAL],
)
def test_the_effective_matrix_is_what_multiplies_the_values(name, causal, length):
    method = METHODS[name]
    query, key, value = (x.detach() for x in heads(length))
    budget = min(length, 6)
    matrix = effective_matrix(method, query, key, budget, causal)
    assert matrix.shape == (2, 2, length, length)
    if method.per_channel:  # a value that is the same in all channels
        value = value[..., :1].expand_as(value)
        out = method(query, key, value, budget, causal).mean(-1, keepdim=True)
        near(matrix @ value[..., :1], out)
    else:
        near(matrix @ value, method(query, key, value, budget, causal), 1e-8)
    if name not in ("nystromformer", "aft full", "aft local", "aft simple"):
        near(matrix.sum(-1), torch.ones_like(matrix[..., 0]))
        assert (matrix >= 0).all()
    if causal:
        assert (matrix.triu(1) == 0).all()


@pytest.mark.parametrize(
    ("name", "budget", "causal"),
    [
        ("linformer", 17, False),
        ("longformer", 32, False),
        ("longformer", 17, True),
    ],
)
def test_with_all_of_the_budget_nothing_is_lost(name, budget, causal):
    tensors = heads(17)
    expected = scaled_dot_product_attention(*tensors, is_causal=causal)
    near(METHODS[name](*tensors, budget, causal), expected)


def test_a_linformer_of_means_is_a_linformer():
    tensors = heads(17)
    project = segment_means(torch.eye(17, dtype=torch.float64), 5).T
    expected = linformer(*tensors, project, project)
    near(METHODS["linformer"](*tensors, 5), expected)


def test_a_window_of_six_tokens_is_six_behind_or_three_on_each_side():
    query, key, _ = heads(17)
    matrix = effective_matrix(METHODS["longformer"], query, key, 6)
    assert torch.equal(matrix[0, 0] > 0, band(17, 3))
    matrix = effective_matrix(METHODS["longformer"], query, key, 6, causal=True)
    assert torch.equal(matrix[0, 0] > 0, band(17, 5, causal=True))


SHAPES = [(64, 8, 4), (64, 8, 32), (96, 32, 16), (100, 4, 7), (512, 16, 64)]  # T, N, M
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@every_method
@every_shape
def test_the_largest_array_is_as_large_as_predicted(name, shape):
    length, size, budget = shape
    tensors = heads(length, batch=1, count=1, size=size)
    with torch.no_grad(), LargestArray() as largest:
        METHODS[name](*tensors, budget)
    assert largest.numbers == METHODS[name].memory(*shape)


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if not m.per_channel])
@every_shape
def test_pytorch_counts_as_many_operations_as_predicted(name, shape):
    length, size, budget = shape
    tensors = heads(length, batch=1, count=1, size=size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        METHODS[name](*tensors, budget)
    assert counter.get_total_flops() == METHODS[name].flops(*shape)


@pytest.mark.parametrize("name", ["linear", "longformer", "performer", "aft simple"])
def test_a_causal_form_in_linear_time_makes_no_array_of_all_pairs(name):
    largest = []
    for length in (256, 512):
        tensors = heads(length, batch=1, count=1)
        with torch.no_grad(), LargestArray() as counted:
            METHODS[name](*tensors, 16, causal=True)
        largest.append(counted.numbers)
    assert largest[1] <= 2 * largest[0]
    assert largest[1] < 512 * 512 / 4
