"""Changed kernels compute what their text says, and can do no harm in an attempt."""

import math
import tempfile

import pytest
import torch
from helpers.kernels import needs_compiler

from rwkv_book.compiled.source import HARDWARE, replaced
from rwkv_book.rwkv4 import trial
from rwkv_book.rwkv4.fused import from_source, wkv_fused
from rwkv_book.rwkv4.kernels import SOURCE
from rwkv_book.rwkv4.wkv import wkv_attention

TILE = "constexpr int TILE = 16;"
SHARE = "real share = over(grad"


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("merge", "// The sums over both sets", "}"),
        ("decay", "DEVICE Sums decay(Sums x", "}"),
        ("place", "// A thread for every vector", "}"),
        ("Sums", "// A weighted sum of values", "struct Sums {"),
        ("forward", "// The loop of RWKV over the tokens", "}"),
    ],
)
def test_the_parts_that_the_book_shows_are_there(name, first, last):
    lines = SOURCE.part(name).splitlines()
    assert lines[0].startswith(first) and lines[-1].startswith(last)


@needs_compiler
def test_a_changed_text_is_compiled_and_forgotten(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    decay_rate, bonus, key, value, _ = trial.example(1)
    wanted, _ = wkv_fused(decay_rate, bonus, key, value)
    built = set(tmp_path.rglob("*.so"))
    text = replaced(
        SOURCE.text, "over(now.num, now.den), at.lanes", "now.num, at.lanes"
    )
    changed, _ = from_source(text)(decay_rate, bonus, key, value)
    again, _ = wkv_fused(decay_rate, bonus, key, value)
    assert torch.equal(again, wanted) and not torch.allclose(changed, wanted)
    assert set(tmp_path.rglob("*.so")) == built


@needs_compiler
@pytest.mark.parametrize("changed", ["tile", "vectors"])
def test_tiles_and_vectors_may_have_another_length(changed):
    text, hardware = SOURCE.text, HARDWARE
    if changed == "tile":
        text = replaced(text, TILE, "constexpr int TILE = 5;")
    else:
        lanes = "LANES = BYTES / sizeof(scalar)"
        hardware = replaced(hardware, lanes, "LANES = 1")
    found = trial.outputs(from_source(text, hardware), 1)
    for name, wanted in trial.outputs(wkv_attention, 1).items():
        assert torch.allclose(found[name], wanted, atol=1e-4), name


@needs_compiler
def test_an_attempt_gives_what_the_operator_gives():
    found = trial.attempt(SOURCE.text)
    num, den, log_scale, age = found.pop("one step")
    assert (log_scale, age) == (pytest.approx(0.7), 0)
    past = math.exp(0.4 - 0.3 - 0.7)
    assert (num, den) == (
        pytest.approx(past * 2.1 + 1.3),
        pytest.approx(past * 1.7 + 1),
    )
    assert set(found) == {(1, 1), (1, 3), (300, 1), (300, 3)}
    for (scale, _), results in found.items():
        wanted = trial.outputs(wkv_attention, scale, torch.float64)
        for name, tensor in results.items():
            error = (tensor - wanted[name]).abs().max() / wanted[name].abs().max()
            assert error < 1e-4, name


@needs_compiler
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("now.den), at", "now.nonsense), at", "has no member named"),
        (SHARE, "*(volatile int*)0 = 1; " + SHARE, "was stopped"),
        (TILE, "constexpr int TILE = 4 * 4;", "must have one line `constexpr int TI"),
    ],
)  # fmt: skip
def test_an_attempt_that_fails_says_how_and_leaves_nothing(
    old, new, sentence, monkeypatch, tmp_path
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match=sentence):
        trial.attempt(replaced(SOURCE.text, old, new))
    assert list(tmp_path.iterdir()) == []


def test_an_attempt_without_a_compiler_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no g\+\+.*install g\+\+"):
        trial.attempt(SOURCE.text)


def test_an_attempt_does_not_take_forever():
    with pytest.raises(RuntimeError, match=r"did not end within 0\.01 seconds"):
        trial.attempt(SOURCE.text, patience=0.01)
