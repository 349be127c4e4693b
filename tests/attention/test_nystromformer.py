"""Nyströmformer is that of two packages, and its inverse is PyTorch's."""

from itertools import pairwise

import pytest
import torch
from helpers.attention import heads
from helpers.comparison import assert_same, every_length, near
from hypothesis import given, settings
from hypothesis import strategies as st
from nystrom_attention import NystromAttention
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import NystromformerConfig
from transformers.models.nystromformer.modeling_nystromformer import (
    NystromformerSelfAttention,
)

from rwkv_book.attention import (
    merge_heads,
    nystromformer,
    pseudo_inverse,
    segment_means,
    softmax_attention,
    split_heads,
)


def nystrom_module(landmarks, iterations, count=1):
    torch.manual_seed(0)
    module = NystromAttention(
        dim=8 * count,
        dim_head=8,
        heads=count,
        num_landmarks=landmarks,
        pinv_iterations=iterations,
        residual=False,
    ).double()
    module.to_out = nn.Identity()
    return module


@pytest.mark.parametrize(
    ("length", "landmarks"), [(1, 1), (2, 1), (17, 17), (64, 8), (64, 64)]
)
@pytest.mark.parametrize("iterations", [1, 6, 20])
def test_nystromformer_is_that_of_the_package(length, landmarks, iterations):
    """A head at a time: theirs starts all inverses from the largest norm of a batch."""
    module = nystrom_module(landmarks, iterations)
    x = torch.randn(1, length, 8, dtype=torch.float64, requires_grad=True)
    query, key, value = (split_heads(part, 1) for part in module.to_qkv(x).chunk(3, -1))
    found = merge_heads(nystromformer(query, key, value, landmarks, iterations))
    assert_same(found, module(x), [x, *module.parameters()], 1e-9)


def test_in_a_batch_nystromformer_is_the_package_once_both_have_converged():
    module = nystrom_module(8, iterations=30, count=2)
    x = torch.randn(3, 64, 16, dtype=torch.float64)
    query, key, value = (split_heads(part, 2) for part in module.to_qkv(x).chunk(3, -1))
    near(merge_heads(nystromformer(query, key, value, 8, 30)), module(x), 1e-8)


@pytest.mark.parametrize("landmarks", [1, 8, 32])
def test_nystromformer_is_that_of_transformers(landmarks):
    torch.manual_seed(0)
    config = NystromformerConfig(
        hidden_size=8,
        num_attention_heads=1,
        num_landmarks=landmarks,
        segment_means_seq_len=64,
        conv_kernel_size=1,
        attention_probs_dropout_prob=0.0,
    )
    module = NystromformerSelfAttention(config).double()
    nn.init.zeros_(module.conv.weight)  # a convolution that they add
    x = torch.randn(1, 64, 8, dtype=torch.float64, requires_grad=True)
    query, key, value = (
        split_heads(project(x), 1)
        for project in (module.query, module.key, module.value)
    )
    found = merge_heads(nystromformer(query, key, value, landmarks))
    weights = [p for n, p in module.named_parameters() if not n.startswith("conv")]
    assert_same(found, module(x)[0], [x, *weights], 1e-9)


@every_length
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)], ids=str
)
def test_nystromformer_with_a_landmark_a_token_is_softmax_attention(
    length, dtype, tolerance
):
    tensors = heads(length, dtype=dtype, size=64)
    expected = scaled_dot_product_attention(*tensors)
    found = nystromformer(*tensors, landmarks=length, iterations=20)
    near(found, expected, tolerance)


def test_the_inverse_is_that_of_pytorch_for_matrices_of_any_size_and_sign():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, 6, 6, generator=generator, dtype=torch.float64)
    matrix *= torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64).view(3, 1, 1)
    near(pseudo_inverse(matrix, 60) @ matrix, torch.linalg.pinv(matrix) @ matrix, 1e-8)


def test_each_iteration_cubes_the_error_of_the_inverse():
    matrix = softmax_attention(*heads(8)[:2], torch.eye(8, dtype=torch.float64))
    one = torch.eye(8, dtype=torch.float64)
    errors = []
    for iterations in range(25):
        error = one - matrix @ pseudo_inverse(matrix, iterations)
        errors.append(torch.linalg.matrix_norm(error, 2).amax().item())
    assert errors[-1] < 1e-10
    for error, following in pairwise(errors):
        assert following <= (0.75 * error**3 + 0.25 * error**4) * 1.01 + 1e-10


@given(length=st.integers(1, 40), part=st.floats(0, 1))
@settings(deadline=None, max_examples=25)
def test_segments_hold_every_token_once_and_differ_by_one_at_most(length, part):
    segments = 1 + int(part * (length - 1))
    weights = segment_means(torch.eye(length, dtype=torch.float64), segments)
    sizes = (weights > 0).sum(1)
    assert weights.shape == (segments, length)
    assert (weights > 0).sum(0).tolist() == [1] * length
    assert sizes.max() - sizes.min() <= 1
    near(weights.sum(1), torch.ones(segments, dtype=torch.float64))


@pytest.mark.parametrize("landmarks", [0, 18])
def test_more_landmarks_than_tokens_are_refused(landmarks):
    with pytest.raises(ValueError, match=f"17 tokens make no {landmarks} segments"):
        nystromformer(*heads(17), landmarks=landmarks)
