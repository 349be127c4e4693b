"""Softmax attention is PyTorch's, positions are Llama's; a cache changes nothing."""

import pytest
import torch
from helpers.attention import heads, masked_or_not
from helpers.comparison import TOLERANCE, assert_same, every_length, near
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from rwkv_book.attention import (
    METHODS,
    LargestArray,
    cached_attention,
    fused_attention,
    merge_heads,
    rotary,
    softmax_attention,
    split_heads,
    visible,
)


@every_length
@masked_or_not
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [  # scores grow with the square of the scale, and their rounding with the scores
        (torch.float64, 1),
        (torch.float64, 30),
        (torch.float64, 100),
        (torch.float32, 1),
        (torch.float32, 5),
    ],
)
def test_softmax_attention_is_that_of_pytorch(length, causal, dtype, scale):
    tensors = heads(length, scale, dtype)
    expected = scaled_dot_product_attention(*tensors, is_causal=causal)
    found = softmax_attention(*tensors, causal)
    assert found.dtype == dtype
    assert_same(found, expected, tensors, TOLERANCE[dtype])
    assert_same(fused_attention(*tensors, causal), expected, tensors, TOLERANCE[dtype])


@given(keys=st.integers(1, 20), last=st.floats(0, 1), causal=st.booleans())
@settings(deadline=None, max_examples=25)
def test_fewer_queries_than_keys_are_the_last_tokens(keys, last, causal):
    query, key, value = heads(keys)
    queries = 1 + int(last * (keys - 1))
    whole = softmax_attention(query, key, value, causal)[:, :, -queries:]
    for attention in (softmax_attention, fused_attention):
        near(attention(query[:, :, -queries:], key, value, causal), whole)


def test_multi_head_attention_is_that_of_pytorch():
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    x = torch.randn(2, 17, 12, dtype=torch.float64, requires_grad=True)
    projected = x @ module.in_proj_weight.T + module.in_proj_bias
    query, key, value = (split_heads(part, 3) for part in projected.chunk(3, dim=-1))
    found = module.out_proj(merge_heads(softmax_attention(query, key, value, True)))
    hidden = ~visible(17, 17)
    expected, _ = module(x, x, x, attn_mask=hidden, need_weights=False)
    assert_same(found, expected, [x, *module.parameters()])


def test_three_words_by_hand():
    """Scores 0, ln 2 and ln 3 make weights 1/6, 2/6 and 3/6 of 6, 12 and 0."""
    query = torch.ones(1, 1, 1, 1)
    key = torch.tensor([1.0, 2.0, 3.0]).log().view(1, 1, 3, 1)
    value = torch.tensor([6.0, 12.0, 0.0]).view(1, 1, 3, 1)
    assert softmax_attention(query, key, value).item() == pytest.approx(1 + 4)


def test_heads_split_and_merge():
    x = torch.arange(2 * 3 * 8).view(2, 3, 8)
    apart = split_heads(x, 4)
    assert apart.shape == (2, 4, 3, 2)
    assert apart[1, 2, 0].tolist() == x[1, 0, 4:6].tolist()
    assert torch.equal(merge_heads(apart), x)
    with pytest.raises(ValueError, match="8 channels don't make 3 equal heads"):
        split_heads(x, 3)


@pytest.mark.parametrize("start", [0, 1000])
def test_rotary_is_that_of_llama(start):
    query, key, _ = heads(64, dtype=torch.float32)
    rate = 10000.0 ** (-torch.arange(0, 8, 2) / 8)
    angle = torch.arange(start, start + 64)[:, None] * torch.cat([rate, rate])
    expected = apply_rotary_pos_emb(query, key, angle.cos()[None], angle.sin()[None])
    for x, wanted in zip((query, key), expected, strict=True):
        assert_same(rotary(x, start), wanted, [x], 1e-4)


def test_rotary_turns_complex_numbers():
    x, _, _ = heads(17)
    first, second = x.chunk(2, dim=-1)
    position = torch.arange(5, 22, dtype=torch.float64)[:, None]
    rate = 10000 ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    turned = torch.complex(first, second) * torch.exp(1j * position * rate)
    near(rotary(x, 5), torch.cat([turned.real, turned.imag], dim=-1))
    near(rotary(x)[:, :, 5:], rotary(x[:, :, 5:], start=5))


def test_rotary_products_depend_on_the_distance_alone():
    query, key, _ = heads(1)
    products = [
        (rotary(query, start + 7) * rotary(key, start)).sum() for start in (0, 1, 5000)
    ]
    assert not torch.isclose(products[0], (query * key).sum())
    near(products[1], products[0])
    near(products[2], products[0])


def test_rotary_refuses_an_odd_head_size():
    with pytest.raises(ValueError, match="even head size, got 7"):
        rotary(torch.ones(1, 1, 3, 7))


@given(length=st.integers(2, 24), cut=st.floats(0, 1), fused=st.booleans())
@settings(deadline=None, max_examples=25)
def test_a_cache_split_anywhere_equals_whole(length, cut, fused):
    attention = fused_attention if fused else softmax_attention
    tensors = heads(length)
    cut = 1 + int(cut * (length - 2))
    first, cache = cached_attention(*(x[:, :, :cut] for x in tensors))
    second, cache = cached_attention(
        *(x[:, :, cut:] for x in tensors), cache, attention
    )
    found = torch.cat([first, second], dim=2)
    assert_same(found, softmax_attention(*tensors, causal=True), tensors)
    assert torch.equal(cache.key, tensors[1]) and torch.equal(cache.value, tensors[2])


def test_a_cache_token_by_token_equals_whole_and_grows_as_predicted():
    tensors, cache, out = heads(17, dtype=torch.float32), None, []
    for t in range(17):
        token = (x[:, :, t : t + 1] for x in tensors)
        one, cache = cached_attention(*token, cache)
        out.append(one)
        numbers = METHODS["softmax"].state(t + 1, 8, None)
        assert cache.nbytes == 2 * 2 * numbers * 4  # B, H and 4 bytes
    near(torch.cat(out, dim=2), softmax_attention(*tensors, causal=True), 1e-4)


def test_fused_attention_makes_no_array_of_all_pairs():
    tensors = heads(512, batch=1, count=1)
    with torch.no_grad(), LargestArray() as largest:
        fused_attention(*tensors)
    assert largest.numbers == 512 * tensors[0].shape[-1]
