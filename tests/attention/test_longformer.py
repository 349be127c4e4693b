"""Longformer is attention with a banded mask, and that of two packages."""

import pytest
import torch
from helpers.attention import band, heads, masked_or_not
from helpers.comparison import TOLERANCE, assert_same, every_dtype, every_length
from hypothesis import given, settings
from hypothesis import strategies as st
from local_attention import LocalAttention
from torch.nn.functional import scaled_dot_product_attention
from transformers import LongformerConfig
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

from rwkv_book.attention import longformer, merge_heads, split_heads


@given(
    length=st.integers(1, 40),
    window=st.integers(0, 45),
    marked=st.sets(st.integers(0, 39), max_size=4),
    causal=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=60)
def test_longformer_is_attention_with_a_banded_mask(
    length, window, marked, causal, seed
):
    tensors = heads(length, seed=seed)
    marked = [position for position in marked if position < length]
    mask = band(length, window, marked, causal)
    expected = scaled_dot_product_attention(*tensors, attn_mask=mask)
    assert_same(longformer(*tensors, window, marked, causal), expected, tensors)


@every_length
@every_dtype
@masked_or_not
def test_longformer_with_a_window_over_all_is_softmax_attention(length, dtype, causal):
    tensors = heads(length, dtype=dtype)
    expected = scaled_dot_product_attention(*tensors, is_causal=causal)
    found = longformer(*tensors, window=length - 1, causal=causal)
    assert_same(found, expected, tensors, TOLERANCE[dtype])


@pytest.mark.parametrize("marked", [[], [0], [3, 40]], ids=str)
def test_longformer_is_that_of_transformers(marked):
    torch.manual_seed(0)
    config = LongformerConfig(
        hidden_size=16,
        num_attention_heads=2,
        attention_window=[16],
        attention_probs_dropout_prob=0.0,
    )
    module = LongformerSelfAttention(config, 0)
    for name in ("query", "key", "value"):  # theirs have projections of their own
        setattr(module, f"{name}_global", getattr(module, name))
    x = torch.randn(2, 64, 16, requires_grad=True)
    is_marked = torch.isin(torch.arange(64), torch.tensor(marked)).expand(2, 64)
    expected, *_ = module(
        x,
        attention_mask=10000.0 * is_marked,
        is_index_masked=torch.zeros(2, 64, dtype=torch.bool),
        is_index_global_attn=is_marked,
        is_global_attn=bool(marked),
    )
    query, key, value = (
        split_heads(project(x), 2)
        for project in (module.query, module.key, module.value)
    )
    found = merge_heads(longformer(query, key, value, 8, marked))
    assert_same(found, expected, [x, *module.parameters()], 1e-4)


@pytest.mark.parametrize("length", [16, 64])
@pytest.mark.parametrize("window", [1, 8])
@masked_or_not
def test_longformer_is_that_of_local_attention(length, window, causal):
    module = LocalAttention(
        window, causal=causal, exact_windowsize=True, use_rotary_pos_emb=False
    )
    tensors = heads(length)
    found = longformer(*tensors, window, causal=causal)
    assert_same(found, module(*tensors), tensors)


def test_a_position_that_is_not_there_is_refused():
    with pytest.raises(IndexError):
        longformer(*heads(17), 2, [17])
