"""The traps of the package `rwkv` that chapter 12 lists, seen in the package itself."""

import re
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.later import RANKS, open_package, package, random_later

CHAPTER = Path(__file__).parents[2] / "book" / "12_a_matrix_for_a_state.ipynb"
VERSIONS = ("5.2", "6", "7")
every_version = pytest.mark.parametrize("version", VERSIONS)
older_versions = pytest.mark.parametrize("version", VERSIONS[:2])


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def opened(tmp_path):
    """A random checkpoint of a version in the package."""

    def function(version, strategy="cpu fp32", read_as=None, **sizes):
        torch.save(random_later(version, **sizes), tmp_path / "model.pth")
        return open_package(tmp_path / "model.pth", read_as or version, strategy)

    return function


def test_the_chapter_speaks_of_the_package_that_is_tested_here():
    (told,) = re.findall(r"Traps of the package `rwkv` ([\d.]+\d)", CHAPTER.read_text())
    assert told == installed("rwkv")


def test_which_versions_it_reads_is_settled_by_its_import(opened):
    with pytest.raises(AttributeError, match="no attribute 'n_head'"):
        opened("7", read_as="6").forward([1], None)
    with pytest.raises(KeyError, match=r"blocks\.0\.att\.r_k"):
        opened("6", read_as="7")


def test_a_5_2_of_one_layer_is_not_read(opened):
    with pytest.raises(AttributeError, match="no attribute 'n_head'"):
        opened("5.2", layers=1).forward([1], None)
    assert len(opened("5.2").forward([1], None)[0]) == 11


def test_rwkv_7_wants_its_path_without_an_ending_and_a_zip(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(random_later("7"), path)
    with pytest.raises(FileNotFoundError, match=r"model\.pth\.pth"):
        package("7").RWKV(str(path), "cpu fp32")
    torch.save(random_later("7"), path, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="_use_new_zipfile_serialization=True"):
        open_package(path, "7")


def test_rwkv_7_is_compiled_although_it_was_told_not_to(opened):
    """`helpers.later.package` imports it with RWKV_JIT_ON=0."""
    assert isinstance(opened("7"), torch.jit.ScriptModule)
    assert not isinstance(opened("6"), torch.jit.ScriptModule)


@older_versions
def test_rwkv_5_and_6_take_a_sequence_and_no_number(version, opened):
    model = opened(version)
    right, _ = model.forward([1, 2, 3], None)
    for tokens in (np.array([1, 2, 3]), torch.tensor([1, 2, 3])):
        assert torch.equal(model.forward(tokens, None)[0], right)
    with pytest.raises(TypeError, match=r"no len\(\)"):
        model.forward(1, None)


def test_rwkv_7_takes_a_list_or_a_number_and_no_array(opened):
    model = opened("7")
    assert torch.equal(model.forward(1, None)[0], model.forward([1], None)[0])
    for tokens in (np.array([1, 2]), torch.tensor([1, 2]), (1, 2)):
        with pytest.raises(RuntimeError, match="Cast error"):
            model.forward(tokens, None)


@every_version
def test_one_token_has_one_row_and_no_token_is_an_error(version, opened):
    model = opened(version)
    assert model.forward([1, 2], None, full_output=True)[0].shape == (2, 11)
    assert model.forward([1], None, full_output=True)[0].shape == (11,)
    with pytest.raises(IndexError):
        model.forward([], None)


@pytest.mark.parametrize(
    ("version", "part"), [("6", "shift"), *(("7", x) for x in "wavg")]
)
def test_a_rank_of_1_is_read_and_fails_at_the_first_token(version, part, opened):
    model = opened(version, ranks=RANKS | {part: 1})
    with pytest.raises(RuntimeError, match=r"0D and 1D|must be a 3D tensor"):
        model.forward([1], None)
    opened(version, ranks=RANKS | {part: 2}).forward([1], None)


@every_version
def test_logits_are_wide_but_for_rwkv_7(version, opened):
    logits, _ = opened(version, "cpu bf16").forward([1, 2], None)
    assert logits.dtype == (torch.bfloat16 if version == "7" else torch.float32)


def test_a_strategy_of_two_parts_is_cut_short_for_rwkv_7(opened):
    strategy = "cpu bf16 *1 -> cpu fp32"
    places = opened("6", strategy).strategy
    assert [x.wtype for x in places] == [torch.bfloat16, torch.float32, torch.float32]
    weights = opened("7", strategy).z.values()
    assert {x.dtype for x in weights} == {torch.bfloat16}


def test_the_last_rwkv_7_that_was_opened_decides_for_all(opened):
    narrow = opened("7", "cpu bf16")
    state = narrow.generate_zero_state()
    assert narrow.forward([1, 2], None)[0].dtype == torch.bfloat16
    opened("7", "cpu fp32")
    for tokens in ([1], [1, 2]):
        with pytest.raises(RuntimeError, match="same dtype"):
            narrow.forward(tokens, None)
        narrow.forward(tokens, state)


@every_version
def test_5_and_6_change_the_list_that_they_are_given(version, opened):
    model = opened(version)
    _, state = model.forward([1, 2], None)
    before, tensors = list(state), [x.clone() for x in state]
    model.forward([3], state)
    kept = [new is old for new, old in zip(state, before, strict=True)]
    assert kept == [version == "7"] * len(kept)
    assert all(map(torch.equal, before, tensors))
