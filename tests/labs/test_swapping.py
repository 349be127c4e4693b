"""Cheaper attentions in a trained layer's place: errors, and what lessons change."""

import pytest
import torch

from rwkv_book import attention
from rwkv_book.labs import swapping

NAMES = ("longformer", "linear", "performer", "aft full", "average")
UNMASKED = ("linformer", "nystromformer")


def inputs(seed, texts=8):
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(3, texts, 2, 12, 4, generator=generator))


def errors(name, rate, seed=0, lessons=16):
    judged = [inputs(1), inputs(2)]
    return swapping.errors(name, rate, seed, inputs(0, lessons), judged, budget=4)


def test_all_methods_are_there_and_two_without_a_mask():
    found = swapping.methods(inputs(0), 4)
    assert tuple(found) == NAMES + UNMASKED
    assert [masked for *_, masked in found.values()] == [True] * 5 + [False] * 2


@pytest.mark.parametrize("causal", [True, False])
def test_an_error_is_the_length_of_the_difference(causal):
    name = "linear" if causal else "linformer"
    before, after = errors(name, 1e-12)
    query, key, value = inputs(2)
    exact = attention.softmax_attention(query, key, value, causal)
    out = attention.METHODS[name](query, key, value, 4, causal)
    expected = (out - exact).norm() / exact.norm()
    assert before[1] == pytest.approx(expected.item(), rel=1e-4)
    assert after == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("name", NAMES + UNMASKED)
def test_lessons_lower_the_error_or_hardly_raise_it(name):
    before, after = errors(name, 0.01, lessons=200)
    assert after[0] < before[0] + 0.02


def test_lessons_are_read_in_the_order_of_the_seed():
    assert errors("linear", 0.01) == errors("linear", 0.01)
    assert errors("linear", 0.01) != errors("linear", 0.01, seed=1)
