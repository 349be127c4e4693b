"""Matrices that stay in 16 bits: the same sums, of the same numbers."""

import numpy as np
import pytest
import torch
from helpers.kernels import needs_compiler

from rwkv_book.compiled import narrow
from rwkv_book.compiled.narrow import Narrow, narrowed

pytestmark = needs_compiler
both = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


@both
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 33])
@pytest.mark.parametrize("width", [1, 3, 15, 16, 17, 63, 64, 65, 768, 1001])
def test_the_product_is_that_of_wide_numbers(dtype, rows, width):
    generator = torch.Generator().manual_seed(rows * width)
    matrix = torch.randn(rows, width, generator=generator).to(dtype)
    x = torch.randn(width, generator=generator)
    exact = matrix.double() @ x.double()
    size = matrix.double().abs() @ x.double().abs()
    product = Narrow(matrix) @ x.numpy()
    assert product.dtype == np.float32 and product.shape == (rows,)
    assert (abs(product - exact.numpy()) <= 1e-6 * size.numpy()).all()


@both
def test_every_number_of_16_bits_keeps_its_value(dtype):
    """All 65,536 of them, each in a row of its own."""
    numbers = torch.arange(1 << 16).to(torch.int32).to(torch.uint16).view(dtype)
    product = Narrow(numbers[:, None]) @ np.ones(1, np.float32)
    small = numbers.float().abs() < torch.finfo(torch.float32).tiny
    expected = numbers.float()
    assert torch.equal(torch.from_numpy(product).isnan(), expected.isnan())
    kept = ~(expected.isnan() | small)
    assert torch.equal(torch.from_numpy(product)[kept], expected[kept])


@both
def test_rows_are_read_as_wide_numbers(dtype):
    matrix = torch.randn(5, 6).to(dtype)
    assert (Narrow(matrix)[3] == matrix[3].float().numpy()).all()
    assert len(Narrow(matrix)) == 5 and Narrow(matrix).shape == (5, 6)


def test_a_matrix_that_is_a_part_of_another_is_read_in_its_order():
    matrix = torch.randn(6, 8).bfloat16()
    x = np.arange(3, dtype=np.float32)
    part = matrix[::2, 1:4]
    expected = part.float().numpy() @ x
    assert np.allclose(Narrow(part) @ x, expected, atol=1e-5)


def test_only_matrices_whose_numbers_fit_are_narrowed():
    fits = torch.randn(4, 3).bfloat16().float().numpy()
    fits_half = torch.randn(4, 3).half().float().numpy()
    third = np.full((4, 3), 1 / 3, np.float32)
    params = {
        "a.weight": fits,
        "b.weight": fits_half,
        "c.weight": third,
        "norm.weight": fits[0],
        "down": fits,
    }
    found = narrowed(params)
    assert found["a.weight"].numbers.dtype == torch.bfloat16
    assert found["b.weight"].numbers.dtype == torch.float16
    assert all(found[name] is params[name] for name in ("c.weight", "norm.weight"))
    assert found["down"] is fits


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
        Narrow(torch.ones(2, 3).bfloat16()) @ x


@pytest.mark.parametrize("numbers", [torch.ones(3).bfloat16(), torch.ones(2, 3)])
def test_other_numbers_are_no_narrow_matrix(numbers):
    with pytest.raises(ValueError, match="bfloat16 or float16"):
        Narrow(numbers)


def test_a_slip_in_the_source_would_be_noticed(monkeypatch):
    """Seeded: the last numbers of a row, which fill no vector, are left out."""
    whole = narrow.SOURCE.text
    text = whole.replace(
        "for (; at < W; at += LANES)", "for (; at < W - LANES; at += LANES)"
    )
    assert text != whole
    slip = narrow.Source(text, name="slip", instead="mend it")
    monkeypatch.setattr(narrow, "SOURCE", slip)
    product = Narrow(torch.ones(1, 5).bfloat16()) @ np.ones(5, np.float32)
    assert product[0] != 5
