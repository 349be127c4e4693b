"""Performer is that of `performer-pytorch`, and its features estimate exp."""

import math
import warnings
from functools import partial
from itertools import pairwise

import pytest
import torch
from helpers.attention import heads, masked_or_not
from helpers.comparison import TOLERANCE, assert_same, every_dtype, every_length, near
from torch.nn.functional import scaled_dot_product_attention

from rwkv_book.attention import (
    log_features,
    orthogonal_projection,
    performer,
    performer_pairs,
    performer_recurrent,
)

with warnings.catch_warnings():  # it imports modules that Python has retired
    warnings.simplefilter("ignore")
    from performer_pytorch import performer_pytorch


def log_features_of(x, y, draw, draws):
    """exp of log Σ φ(x)φ(y) for many projections: estimates of exp(x·y)."""
    return torch.stack(
        [
            (log_features(x, rows) + log_features(y, rows)).exp().sum()
            for rows in (draw().double() for _ in range(draws))
        ]
    )


@pytest.mark.parametrize("kind", ["orthogonal", "independent"])
def test_the_features_are_unbiased_estimates_of_exp(kind):
    """Fails by chance once in 1.7 million seeds a pair: 5 standard errors of a mean.

    A mean of 4000 draws is close to normal, and the seed is fixed.
    """
    generator = torch.Generator().manual_seed(0)
    draw = {
        "orthogonal": partial(orthogonal_projection, 8, 4, generator),
        "independent": lambda: torch.randn(8, 4, generator=generator),
    }[kind]
    x = torch.tensor([-0.9, 0.3, 0.2, -0.1], dtype=torch.float64)
    for y in (x, -x / 2, torch.tensor([0.5, 0.5, -0.5, 0.5], dtype=torch.float64)):
        estimates = log_features_of(x, y, draw, draws=4000)
        error = estimates.std() / math.sqrt(4000)
        assert (estimates.mean() - (x @ y).exp()).abs() < 5 * error


def test_without_the_signs_of_the_decomposition_the_features_are_biased():
    """As performer-pytorch draws them, the first of every N rows looks one way."""
    torch.manual_seed(0)
    drawn = [
        performer_pytorch.gaussian_orthogonal_random_matrix(4, 4) for _ in range(2000)
    ]
    assert all(rows[0, 0] < 0 for rows in drawn)
    for first, sign in ((-0.5, 1), (0.5, -1)):  # along the axis, and against it
        x = torch.tensor([first, 0.0, 0.0, 0.0], dtype=torch.float64)
        estimates = log_features_of(x, x, iter(drawn).__next__, draws=2000)
        error = estimates.std() / math.sqrt(2000)
        assert sign * (estimates.mean() - (x @ x).exp()) > 5 * error


def test_the_error_of_a_weight_is_the_closed_form():
    """Relative variance (exp|x + y|² - 1) / M, for rows that are independent."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.tensor([[0.4, 0.2, 0.0], [0.1, -0.3, 0.5]], dtype=torch.float64)
    for count in (4, 64):
        draw = partial(torch.randn, count, 3, generator=generator)
        estimates = log_features_of(x, y, draw, draws=4000) / (x @ y).exp()
        expected = ((x + y).square().sum().exp() - 1) / count
        assert estimates.var().item() == pytest.approx(expected.item(), rel=0.2)


def test_orthogonal_rows_have_smaller_errors_than_independent_ones():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.tensor([[0.4, 0.2, 0.0, 0.6], [0.1, -0.3, 0.5, 0.4]]).double()
    orthogonal = partial(orthogonal_projection, 4, 4, generator)
    independent = partial(torch.randn, 4, 4, generator=generator)
    variances = [
        log_features_of(x, y, draw, draws=4000).var()
        for draw in (orthogonal, independent)
    ]
    assert variances[0] < 0.9 * variances[1]


def test_rows_are_orthogonal_within_a_block_and_as_long_as_normal_vectors():
    generator = torch.Generator().manual_seed(0)
    rows = orthogonal_projection(2500, 16, generator)
    assert rows.shape == (2500, 16)
    products = rows[:16] @ rows[:16].T
    near(products, products.diagonal().diag(), 1e-4)
    # 2500 squared lengths with mean 16 and variance 32: within 5 standard errors
    assert abs(rows.square().sum(1).mean() - 16) < 5 * math.sqrt(32 / 2500)
    assert 0 < (rows[::16, 0] > 0).sum() < len(rows[::16])


def test_the_error_of_performer_falls_with_the_root_of_its_features():
    """Over 20 projections each; a factor of 4 in M should halve the error."""
    query, key, value = (x.detach() for x in heads(64, 0.5))
    expected = scaled_dot_product_attention(query, key, value)
    generator = torch.Generator().manual_seed(0)
    errors = []
    for count in (16, 64, 256, 1024):
        found = [
            performer(
                query, key, value, orthogonal_projection(count, 8, generator).double()
            )
            for _ in range(20)
        ]
        errors.append((torch.stack(found) - expected).square().mean().sqrt().item())
    for error, following in pairwise(errors):
        assert 0.4 < following / error < 0.6


@every_length
@every_dtype
@masked_or_not
def test_performer_is_that_of_the_package(length, dtype, causal):
    """With their kernel's eps, which keeps a sum from 0 and biases it, at 0."""
    tensors = heads(length, dtype=dtype)
    projection = orthogonal_projection(20, 8, torch.Generator().manual_seed(0))
    projection = projection.to(dtype)
    kernel = partial(
        performer_pytorch.softmax_kernel, projection_matrix=projection, eps=0.0
    )
    query, key = kernel(tensors[0], is_query=True), kernel(tensors[1], is_query=False)
    if causal:
        found, _ = performer_recurrent(*tensors, projection)
        expected = performer_pytorch.causal_linear_attention_noncuda(
            query, key, tensors[2], eps=0.0
        )
    else:
        found = performer(*tensors, projection)
        expected = performer_pytorch.linear_attention(query, key, tensors[2])
    assert found.dtype == dtype
    # its kernel detaches the maximum that it divides by, which is right: it cancels
    assert_same(found, expected, tensors, TOLERANCE[dtype] * 10)


@every_length
@every_dtype
@masked_or_not
def test_performers_pairs_are_its_sums(length, dtype, causal):
    tensors = heads(length, 2, dtype=dtype)
    projection = orthogonal_projection(20, 8, torch.Generator().manual_seed(0))
    projection = projection.to(dtype)
    found = performer_pairs(*tensors, projection, causal)
    expected = (
        performer_recurrent(*tensors, projection)[0]
        if causal
        else performer(*tensors, projection)
    )
    assert found.dtype == dtype
    assert_same(found, expected, tensors, TOLERANCE[dtype] * 10)


def test_performer_is_the_packages_module_as_it_comes():
    torch.manual_seed(0)
    module = performer_pytorch.FastAttention(8, nb_features=64)
    tensors = heads(64, 0.5, torch.float32)
    difference = performer(*tensors, module.projection_matrix) - module(*tensors)
    # its kernel adds 1e-4 to every feature, against sums of 0
    assert difference.norm() < 0.05 * module(*tensors).norm()


@pytest.mark.parametrize("scale", [30, 300])
@every_dtype
def test_performer_stays_a_weighted_average_where_exponentials_overflow(scale, dtype):
    query, key, value = heads(64, scale, dtype)
    projection = orthogonal_projection(64, 8, torch.Generator().manual_seed(0))
    projection = projection.to(dtype)
    for out in (
        performer(query, key, value, projection),
        performer_recurrent(query, key, value, projection)[0],
        performer_pairs(query, key, value, projection, causal=True),
    ):
        assert (out >= value.amin(2, keepdim=True) - 1e-4).all()
        assert (out <= value.amax(2, keepdim=True) + 1e-4).all()
        gradients = torch.autograd.grad(out.sum(), [query, key, value])
        assert all(gradient.isfinite().all() for gradient in gradients)
