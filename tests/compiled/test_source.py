"""The text of the kernels can be read in parts, changed, compiled and tried."""

import shutil

import pytest
import torch

from rwkv_book.compiled import cpu, source
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.wkv import wkv_attention

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
TILE = "constexpr int TILE = 16;"


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
def test_a_part_is_cut_out_with_its_comment(name, first, last):
    part = source.part(name)
    assert part in source.source()
    lines = part.splitlines()
    assert lines[0].startswith(first) and lines[-1].startswith(last)
    assert part.count("{") == part.count("}")


@pytest.mark.parametrize(("name", "count"), [("nonsense", 0), ("exponential", 3)])
def test_a_part_that_is_not_one_is_refused(name, count):
    with pytest.raises(ValueError, match=f"wkv.cu has {count} parts called '{name}'"):
        source.part(name)


def test_a_change_has_one_place():
    assert source.replaced("b", "x", "abc") == "axc"
    assert source.replaced(TILE, "").count(TILE) == 0
    for text, count in (("abcb", 2), ("ac", 0)):
        with pytest.raises(ValueError, match=f"'b' is in the text {count} times"):
            source.replaced("b", "x", text)


@needs_compiler
def test_a_changed_text_is_compiled_and_forgotten(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu.library.cache_clear()
    decay_rate, bonus, key, value, _ = source.example(1)
    wanted, _ = wkv_fused(decay_rate, bonus, key, value)
    built = set(tmp_path.rglob("*.so"))
    doubled = source.replaced("now.num / now.den, at.lanes", "now.num, at.lanes")
    with source.compiled_from(doubled):
        changed, _ = wkv_fused(decay_rate, bonus, key, value)
    again, _ = wkv_fused(decay_rate, bonus, key, value)
    assert torch.equal(again, wanted) and not torch.allclose(changed, wanted)
    assert set(tmp_path.rglob("*.so")) == built and len(built) == 1


@needs_compiler
def test_a_tile_may_have_another_length():
    with source.compiled_from(source.replaced(TILE, "constexpr int TILE = 5;")):
        found = source.outputs(wkv_fused, 1)
    for name, wanted in source.outputs(wkv_attention, 1).items():
        assert torch.allclose(found[name], wanted, atol=1e-4), name


@needs_compiler
def test_an_attempt_gives_what_the_operator_gives():
    found = source.attempt(source.source())
    assert set(found) == {(1, 1), (1, 3), (300, 1), (300, 3)}
    for (scale, _), results in found.items():
        wanted = source.outputs(wkv_attention, scale, torch.float64)
        for name, tensor in results.items():
            error = (tensor - wanted[name]).abs().max() / wanted[name].abs().max()
            assert error < 1e-4, name


@needs_compiler
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("num / now.den, at", "nonsense, at", "has no member named"),
        ("real share = ", "*(volatile int*)0 = 1; real share = ", "was stopped"),
    ],
)
def test_an_attempt_that_fails_says_how(old, new, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        source.attempt(source.replaced(old, new))


def test_an_attempt_without_a_compiler_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no g\+\+.*install g\+\+"):
        source.attempt(source.source())


@needs_compiler
def test_an_attempt_does_not_take_forever(monkeypatch):
    monkeypatch.setattr(source, "PATIENCE", 0.01)
    with pytest.raises(RuntimeError, match="did not end within"):
        source.attempt(source.source())


@needs_compiler
def test_the_operator_is_the_own_one_again_after_an_error():
    library = cpu.library
    with pytest.raises(RuntimeError), source.compiled_from("nonsense"):
        cpu.library("float")
    assert cpu.library is library
