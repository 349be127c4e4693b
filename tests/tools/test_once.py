"""What notebooks compute alike, once in a run of their tests."""

import tempfile

import pytest
import torch

from tools.checks import once


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A function that draws a random number, shared in a run, and its calls."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    calls = []

    def draw(seed, plus=0):
        calls.append((seed, plus))
        torch.manual_seed(seed)
        return torch.rand(1).item() + plus

    return once.shared(draw, "a-run"), calls


def test_the_same_is_computed_once_and_chance_goes_on_as_after_it(drawn):
    draw, calls = drawn
    first, after = draw(1), torch.rand(1)
    torch.manual_seed(2)
    assert draw(1) == first and torch.equal(torch.rand(1), after)
    assert calls == [(1, 0)]


def test_something_else_is_computed(drawn):
    draw, calls = drawn
    assert draw(1) != draw(2) != draw(2, plus=1)
    assert calls == [(1, 0), (2, 0), (2, 1)]


def test_nothing_is_left_for_another_run(drawn, tmp_path):
    draw, calls = drawn
    draw(1)
    once.end("another-run")
    assert len(list(tmp_path.iterdir())) == 1
    once.end("a-run")
    assert list(tmp_path.iterdir()) == []
    draw(1)
    assert calls == [(1, 0)] * 2
