"""First states as files: what was trained, for the weights that it was trained for."""

import importlib.util

import numpy as np
import pytest
import torch
from helpers.later import (
    CLOSE,
    MINIMAL,
    random_later,
    read,
    run_package,
    tokens,
    written,
)
from safetensors.torch import save_file

from rwkv_book import checkpoint, first_states, states
from rwkv_book.family import equation
from rwkv_book.states import StateError
from rwkv_book.training.versions import read_model

every_version = pytest.mark.parametrize("version", MINIMAL)
every_kind = pytest.mark.parametrize("kind", ["pth", "safetensors"])


def model_of(version, folder, **sizes):
    return checkpoint.load(written(random_later(version, **sizes), folder))


def random_tables(layers=2, heads=2, size=64, seed=0):
    shape = layers, heads, size, size
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@every_version
@every_kind
def test_what_is_written_is_read_rounded_to_16_bits(version, kind, tmp_path):
    weights, tables = model_of(version, tmp_path), random_tables()
    path = tmp_path / f"manner.{kind}"
    first_states.save(tables, path, weights, note="a manner")
    found = first_states.load(path, weights)
    np.testing.assert_allclose(found, tables, rtol=2**-8)
    exact = torch.from_numpy(tables).bfloat16().float().numpy()
    np.testing.assert_array_equal(found, exact)
    stored = checkpoint.read(path)
    assert list(stored) == [f"blocks.{n}.att.time_state" for n in range(2)]
    assert {tensor.dtype for tensor in stored.values()} == {"bfloat16"}
    assert path.stat().st_size < 2 * tables.size + 3000


@every_version
def test_a_text_begins_with_it_as_in_the_package(version, tmp_path):
    """A base and a file beside it: the keys are put together, as people do it."""
    base, some = random_later(version), tokens(20)
    weights = checkpoint.load(written(base, tmp_path))
    path = tmp_path / "manner.pth"
    first_states.save(random_tables(), path, weights, "float32")
    tables = first_states.load(path, weights)
    state = first_states.as_state(tables)
    found, _ = read(version, weights, some, state)
    together = written(base | torch.load(path), tmp_path)
    begun = None
    if version == "7":  # the package passes over it: by hand, not turned
        nothing = torch.zeros(128)
        begun = []
        for table in torch.from_numpy(tables):
            begun += [nothing.clone(), table.clone(), nothing.clone()]
    theirs, _ = run_package(together, version, some, begun, one_by_one=True)
    np.testing.assert_allclose(found, theirs, **CLOSE)
    turned = first_states.as_state(first_states.keys_by_values(tables))
    assert abs(read(version, weights, some, turned)[0] - theirs).max() > 0.1


@every_version
def test_a_model_that_has_it_begins_with_it(version, tmp_path):
    weights, tables = model_of(version, tmp_path), random_tables()
    before = dict(weights)
    whole = tmp_path / "whole.safetensors"
    checkpoint.save(first_states.into(weights, tables), whole, "float32")
    state = first_states.as_state(tables)
    np.testing.assert_array_equal(
        MINIMAL[version].initial_state(checkpoint.load(whole)), state
    )
    model = read_model(whole)
    np.testing.assert_array_equal(model.initial_state()[0].detach(), state)
    np.testing.assert_array_equal(first_states.tables_of(state, 2), tables)
    assert weights.keys() == before.keys()


def fla_naive():
    """A file of fla, loaded by itself: its package needs triton."""
    folder = importlib.util.find_spec("fla").submodule_search_locations[0]
    path = f"{folder}/ops/gla/naive.py"
    spec = importlib.util.spec_from_file_location("fla_naive", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fla_goes_on_from_our_table_turned():
    generator = torch.Generator().manual_seed(0)
    receptance, key, value, fade = torch.randn(4, 1, 5, 2, 8, generator=generator)
    table = torch.randn(1, 2, 8, 8, generator=generator)
    turned = torch.from_numpy(first_states.keys_by_values(table.numpy()).copy())
    arguments = -fade.exp(), receptance, key, value
    wanted, _ = equation.table_recurrent(*arguments, state=table)
    for state, differs in ((turned, False), (table, True)):
        out, _ = fla_naive().naive_recurrent_gla(
            receptance * 8**0.5, key, value, -fade.exp(), initial_state=state
        )
        assert ((out - wanted).abs().max() > 0.1) == differs


@every_kind
def test_weights_of_another_kind_are_told_why(kind, tmp_path):
    weights, path = model_of("7", tmp_path), tmp_path / f"manner.{kind}"
    first_states.save(random_tables(), path, weights)
    other = model_of("7", tmp_path, layers=3, size=32)
    with pytest.raises(StateError) as error:
        first_states.load(path, other)
    assert "(2, 2, 64, 64), these weights need (3, 4, 32, 32)" in str(error.value)


def test_the_fingerprint_tells_apart_what_shapes_cannot(tmp_path):
    """A state for RWKV-6 has the shape of one for 7, and a .pth says no more."""
    six, seven = (model_of(version, tmp_path) for version in "67")
    for kind in ("pth", "safetensors"):
        first_states.save(random_tables(), tmp_path / f"six.{kind}", six)
    assert first_states.load(tmp_path / "six.pth", seven).shape == (2, 2, 64, 64)
    with pytest.raises(StateError, match="it was trained for weights"):
        first_states.load(tmp_path / "six.safetensors", seven)
    metadata = checkpoint.metadata(tmp_path / "six.safetensors")
    assert metadata["holds"] == "a first state of RWKV-6"
    assert metadata["weights"] == states.fingerprint(six)


@pytest.mark.parametrize(
    "names, sentence",
    [
        (["head.weight"], "there is no blocks.0.att.time_state"),
        (["blocks.0.att.time_state", "head.weight"], "1 other tensors"),
        (["blocks.0.att.time_state", "blocks.2.att.time_state"], "some are missing"),
    ],
)
def test_a_file_that_is_no_first_state_is_refused(names, sentence, tmp_path):
    weights = model_of("7", tmp_path)
    path = tmp_path / "odd.safetensors"
    save_file({name: torch.zeros(2, 64, 64) for name in names}, path)
    with pytest.raises(StateError, match=sentence):
        first_states.load(path, weights)


def test_layers_of_different_shapes_are_refused(tmp_path):
    weights, path = model_of("7", tmp_path), tmp_path / "odd.safetensors"
    sizes = {0: 64, 1: 32}
    save_file(
        {
            f"blocks.{n}.att.time_state": torch.zeros(2, size, size)
            for n, size in sizes.items()
        },
        path,
    )
    with pytest.raises(StateError, match="different shapes"):
        first_states.load(path, weights)


def test_what_can_not_be_one_is_not_saved(tmp_path):
    weights, path = model_of("7", tmp_path), tmp_path / "manner.pth"
    broken = random_tables()
    broken[0, 0, 0, 0] = np.nan
    cases = {
        "NaN or infinite": (broken, path, weights),
        "these weights need": (random_tables(layers=1), path, weights),
        ".pth or .safetensors": (random_tables(), tmp_path / "manner.bin", weights),
    }
    four = {"blocks.0.time_mix.bonus": np.zeros(4)}
    cases["RWKV-4 has no tables"] = random_tables(), path, four
    for sentence, arguments in cases.items():
        with pytest.raises(StateError, match=sentence):
            first_states.save(*arguments)
        assert not arguments[1].exists()
