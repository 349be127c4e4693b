"""Linformer is that of the package `linformer`."""

import torch
from helpers.attention import heads
from helpers.comparison import TOLERANCE, assert_same, every_dtype, every_length
from linformer import LinformerSelfAttention
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from rwkv_book.attention import linformer, merge_heads, split_heads


@every_length
@every_dtype
def test_linformer_is_that_of_the_package(length, dtype):
    torch.manual_seed(0)
    module = LinformerSelfAttention(dim=16, seq_len=length, k=5, heads=2).to(dtype)
    module.to_out = nn.Identity()
    x = torch.randn(2, length, 16, dtype=dtype, requires_grad=True)
    query, key, value = (
        split_heads(project(x), 2)
        for project in (module.to_q, module.to_k, module.to_v)
    )
    found = merge_heads(linformer(query, key, value, module.proj_k, module.proj_v))
    assert_same(found, module(x), [x, *module.parameters()], TOLERANCE[dtype])


@every_length
def test_linformer_with_identities_is_softmax_attention(length):
    tensors, one = heads(length), torch.eye(length, dtype=torch.float64)
    expected = scaled_dot_product_attention(*tensors)
    assert_same(linformer(*tensors, one, one), expected, tensors)
