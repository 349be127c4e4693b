"""Matrices that stay in 16 bits: the same sums, of the same numbers."""

import numpy as np
import pytest
import torch
from helpers.kernels import needs_compiler

from rwkv_book.compiled import narrow
from rwkv_book.compiled.narrow import Narrow, narrowed
from rwkv_book.compiled.source import replaced

pytestmark = needs_compiler


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 9, 33])
@pytest.mark.parametrize("width", [2, 6, 14, 16, 18, 30, 32, 34, 62, 64, 66, 768, 1002])
def test_the_product_is_that_of_wide_numbers(rows, width):
    generator = torch.Generator().manual_seed(rows * width)
    matrix = torch.randn(rows, width, generator=generator).bfloat16()
    x = torch.randn(width, generator=generator)
    exact = matrix.double() @ x.double()
    size = matrix.double().abs() @ x.double().abs()
    product = Narrow(matrix) @ x.numpy()
    assert product.dtype == np.float32 and product.shape == (rows,)
    assert (abs(product - exact.numpy()) <= 1e-6 * size.numpy()).all()


def test_every_number_of_16_bits_keeps_its_value():
    """All 65,536 of them, each in a row of its own, even and odd."""
    bits = torch.arange(1 << 16).to(torch.uint16)
    numbers, zeros = bits.view(torch.bfloat16), torch.zeros(1 << 16).bfloat16()
    small = numbers.float().abs() < torch.finfo(torch.float32).tiny
    kept = numbers.isfinite() & ~small
    for columns in ((numbers, zeros), (zeros, numbers)):
        product = torch.from_numpy(Narrow(torch.stack(columns, 1)) @ ONES)
        assert torch.equal(product[kept], numbers.float()[kept])
        assert torch.equal(product.isnan(), numbers.isnan())
        assert torch.equal(product.isinf(), numbers.isinf())


ONES = np.ones(2, np.float32)


def test_rows_are_read_as_wide_numbers():
    matrix = torch.randn(5, 6).bfloat16()
    assert (Narrow(matrix)[3] == matrix[3].float().numpy()).all()
    assert len(Narrow(matrix)) == 5 and Narrow(matrix).shape == (5, 6)


def test_a_matrix_that_is_a_part_of_another_is_read_in_its_order():
    matrix = torch.randn(6, 8).bfloat16()
    x = np.arange(4, dtype=np.float32)
    part = matrix[::2, 1:5]
    expected = part.float().numpy() @ x
    assert np.allclose(Narrow(part) @ x, expected, atol=1e-5)


def test_only_matrices_whose_numbers_fit_are_narrowed():
    fits = torch.randn(3, 4).bfloat16().float().numpy()
    third = np.full((3, 4), 1 / 3, np.float32)
    params = {
        "a.weight": fits,
        "third.weight": third,
        "odd.weight": np.ones((4, 3), np.float32),
        "norm.weight": fits[0],
        "down": fits,
    }
    found = narrowed(params)
    assert torch.equal(found["a.weight"].numbers.float(), torch.from_numpy(fits))
    assert all(found[name] is params[name] for name in params if name != "a.weight")


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (np.ones(4, np.float32), r"\(4,\) in float32"),
        (np.ones(3), r"\(3,\) in float64"),
        (np.ones((3, 1), np.float32), r"\(3, 1\) in float32"),
    ],
)
def test_another_shape_or_type_is_refused(x, got):
    with pytest.raises(ValueError, match=got):
        Narrow(torch.ones(2, 6).bfloat16()) @ x


@pytest.mark.parametrize(
    "numbers", [torch.ones(2).bfloat16(), torch.ones(2, 3).bfloat16(), torch.ones(2, 4)]
)
def test_other_numbers_are_no_narrow_matrix(numbers):
    with pytest.raises(ValueError, match="in bfloat16, with an even W, got"):
        Narrow(numbers)


def test_a_slip_in_the_source_would_be_noticed():
    """Seeded: the last numbers of a row, which fill no vector, are left out."""
    text = replaced(narrow.SOURCE.text, "if (at < P)", "if (false)")
    slip = narrow.Source(text, name="slip", instead="mend it")
    product = Narrow(torch.ones(1, 6).bfloat16(), slip) @ np.ones(6, np.float32)
    assert product[0] != 6
