"""RWKV-5.2, 6 and 7 in NumPy: the numbers of the package `rwkv`, from any file."""

import ast
import inspect

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

from rwkv_book import checkpoint
from rwkv_book.checkpoint import at_hand, checks

every_version = pytest.mark.parametrize("version", MINIMAL)


def assert_equal_to_the_package(version, tensors, folder, count=40):
    path, some = written(tensors, folder), tokens(count)
    found, state = read(version, checkpoint.load(path), some)
    for one_by_one in (True, False):
        theirs, their_state = run_package(path, version, some, one_by_one=one_by_one)
        np.testing.assert_allclose(found, theirs, **CLOSE)
        assert_equal_states(version, state, their_state)
    assert found.dtype == state.dtype == np.float32
    assert 0.5 < found.std() < 2


def assert_equal_states(version, state, theirs):
    """Theirs is a list, for each layer token, tables, token; 5 and 6 are turned."""
    for layer, rows in enumerate(state):
        x_time, tables, x_channel = theirs[3 * layer : 3 * layer + 3]
        tables = tables if version == "7" else tables.mT
        np.testing.assert_allclose(rows[0], x_time, rtol=0, atol=3e-5)
        ours = rows[1:-1].reshape(tables.shape)
        np.testing.assert_allclose(ours, tables, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(rows[-1], x_channel, rtol=0, atol=3e-5)


@every_version
def test_it_has_at_most_100_lines_and_needs_numpy_alone(version):
    source = inspect.getsource(MINIMAL[version])
    assert len(source.splitlines()) <= 100
    nodes = list(ast.walk(ast.parse(source)))
    (numpy,) = (node for node in nodes if isinstance(node, ast.Import))
    assert [name.name for name in numpy.names] == ["numpy"]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):  # what did not change since then
            assert node.module.startswith("rwkv_book.rwkv")
            assert node.module.endswith(".minimal")
    assert all(ast.get_docstring(n) for n in nodes if isinstance(n, ast.FunctionDef))


@every_version
@pytest.mark.parametrize("size", [16, 32, 64])
def test_it_computes_what_the_package_computes(version, size, tmp_path):
    tensors = random_later(version, layers=3, size=size, seed=size)
    assert_equal_to_the_package(version, tensors, tmp_path)


@every_version
def test_600_tokens_drift_no_further(version, tmp_path):
    """In double: what is seen is the package's rounding, and not the sum of two."""
    path, some = written(random_later(version), tmp_path), tokens(600)
    params = {k: values.astype(float) for k, values in checkpoint.load(path).items()}
    state = MINIMAL[version].initial_state(params).astype(float)
    found, _ = read(version, params, some, state)
    theirs, _ = run_package(path, version, some)
    np.testing.assert_allclose(found, theirs, **CLOSE)


@pytest.mark.parametrize("version", ["6", "7"])
def test_ranks_are_what_the_file_has(version, tmp_path):
    ranks = {"shift": 5, "w": 7, "a": 3, "v": 2, "g": 11}
    tensors = random_later(version, layers=1, ranks=ranks)
    assert_equal_to_the_package(version, tensors, tmp_path)


def test_the_first_layer_of_an_rwkv_7_has_a_value_residual_or_not(tmp_path):
    tensors, some = random_later("7"), tokens(9)
    more = {
        name.replace("blocks.1.", "blocks.0."): tensor
        for name, tensor in random_later("7", seed=1).items()
        if name.startswith(("blocks.1.att.v0", "blocks.1.att.v1", "blocks.1.att.v2"))
    }
    assert len(more) == 3
    assert_equal_to_the_package("7", tensors | more, tmp_path)
    with_it = read("7", checkpoint.load(tmp_path / "model.pth"), some)[0]
    without = read("7", checkpoint.load(written(tensors, tmp_path)), some)[0]
    np.testing.assert_array_equal(with_it, without)


def test_a_norm_of_the_embedding_in_every_layer_is_read_once(tmp_path):
    tensors = random_later("7")
    other = {
        f"blocks.1.ln0.{part}": torch.randn(128, generator=torch.Generator())
        for part in ("weight", "bias")
    }
    assert_equal_to_the_package("7", tensors | other, tmp_path)


@every_version
def test_a_state_that_was_trained_is_where_a_text_begins(version, tmp_path):
    """Files have it value by key, and so have our tables: nothing is turned.

    The package turns it for 5 and 6, and passes over it for 7, where we give it the
    state by hand.
    """
    generator = torch.Generator().manual_seed(3)
    first = {
        f"blocks.{layer}.att.time_state": torch.randn(2, 64, 64, generator=generator)
        for layer in range(2)
    }
    path, some = written(random_later(version) | first, tmp_path), tokens(20)
    params = checkpoint.load(path)
    found, _ = read(version, params, some)
    state = None
    if version == "7":
        nothing = torch.zeros(128)
        state = [[nothing.clone(), table, nothing.clone()] for table in first.values()]
        state = [tensor for layer in state for tensor in layer]
    theirs, _ = run_package(path, version, some, state, one_by_one=True)
    np.testing.assert_allclose(found, theirs, **CLOSE)
    zeros = np.zeros_like(MINIMAL[version].initial_state(params))
    assert abs(read(version, params, some, zeros)[0] - found).max() > 0.1


@every_version
def test_bfloat16_is_read_exactly_and_rounded_nowhere(version, tmp_path):
    """The package rounds the embedding of 5 and 6 once more, after its norm."""
    tensors = {k: t.bfloat16() for k, t in random_later(version).items()}
    some = tokens(20)
    found, _ = read(version, checkpoint.load(written(tensors, tmp_path)), some)
    as_stored, _ = run_package(tmp_path / "model.pth", version, some)
    widened = written({k: t.float() for k, t in tensors.items()}, tmp_path)
    theirs, _ = run_package(widened, version, some)
    np.testing.assert_allclose(found, theirs, **CLOSE)
    rounding = abs(as_stored - theirs).max()
    assert rounding < 2e-5 if version == "7" else 1e-3 < rounding < 0.2


@every_version
def test_the_state_never_grows_and_is_left_as_it_was(version):
    params = loaded(version)
    state = MINIMAL[version].initial_state(params)
    assert state.shape == (2, 2 + 64, 128) and state.dtype == np.float32
    for token in range(11):
        before = state.copy()
        logits, after = MINIMAL[version].step(token, state, params)
        np.testing.assert_array_equal(state, before)
        assert logits.shape == (11,) and after.shape == state.shape
        assert not np.shares_memory(state, after)
        state = after


@every_version
def test_a_token_or_a_state_that_is_none_of_its_own_is_refused(version):
    params, minimal = loaded(version), MINIMAL[version]
    state = minimal.initial_state(params)
    for token in (-1, 11, 1.5, np.nan):
        with pytest.raises(IndexError, match=rf"token {token} is not in 0\.\.10"):
            minimal.step(token, state, params)
    for wrong in (state[:1], state[:, :5], state[..., :64]):
        with pytest.raises(ValueError, match=r"must be \(L,2\+N,C\) = \(2, 66, 128\)"):
            minimal.step(1, wrong, params)


@every_version
def test_an_extreme_decay_overflows_nothing_and_warns_of_nothing(version):
    params = loaded(version)
    for name in params:
        if "log_decay_rate" in name or "decay_bias" in name:
            params[name] = np.float32(40) * params[name]
    with np.errstate(all="raise", under="ignore", over="ignore"):
        logits, state = read(version, params, tokens(40))
    assert np.isfinite(logits).all() and np.isfinite(state).all()


# What is easily written wrongly: none of it may pass the tests above.

SLIPS = {
    "5.2": [
        ("64e-5", "1e-5"),
        ("old * decay[:, None, :] + new", "(old + new) * decay[:, None, :]"),
        ("old + bonus[:, None, :] * new", "old + new"),
        ("value[:, :, None] * key[:, None, :]", "key[:, :, None] * value[:, None, :]"),
        ("gate * sigmoid(gate)", "sigmoid(gate)"),
    ],
    "6": [
        (
            '("decay", "key", "value", "receptance"',
            '("receptance", "key", "value", "decay"',
        ),
        ("np.tanh(first @", "(first @"),
        ("x + (x_prev - x) * share", "x * share + x_prev * (1 - share)"),
        ("low = np.tanh(x @", "low = (x @"),
    ],
    "7": [
        ("found = table @", "found = (table * decay[:, None, :]) @"),
        ("(removed * rate)[:, None, :]", "removed[:, None, :]"),
        ("value = value + (first_value - value) * share", "pass"),
        ("key = key * (1 + (rate - 1)", "key = key * (1 + (rate - 0)"),
        ("(new_table @ receptance", "(table.reshape(new_table.shape) @ receptance"),
        ("np.e**-0.5", "np.e**-0.4"),
    ],
}


@pytest.mark.parametrize(
    ("version", "right", "wrong"),
    [(version, *slip) for version, slips in SLIPS.items() for slip in slips],
)
def test_a_slip_is_seen(version, right, wrong):
    minimal = MINIMAL[version]
    source = inspect.getsource(minimal)
    assert source.count(right) == 1
    changed = {}
    exec(source.replace(right, wrong), changed)
    params, some = loaded(version), tokens(40)
    found, state = [], changed["initial_state"](params)
    for token in some:
        logits, state = changed["step"](token, state, params)
        found.append(logits)
    assert abs(np.array(found) - read(version, params, some)[0]).max() > 1e-3


def loaded(version):
    """The weights of a random model under our names, without a file."""
    tensors = {name: at_hand(t) for name, t in random_later(version).items()}
    rows = checks.rows_of(tensors, checkpoint.TABLES[version])
    return {
        name: tensors[published].read().reshape(squeezed(tensors[published].shape))
        for name, published, _ in rows
    }


def squeezed(shape):
    return [n for n in shape if n != 1]


# Files.


@every_version
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_what_is_saved_is_what_was_loaded(version, dtype, suffix, tmp_path):
    tensors = {
        name: t.to(getattr(torch, dtype)) for name, t in random_later(version).items()
    }
    params = checkpoint.load(written(tensors, tmp_path))
    assert checkpoint.version_of(params) == version
    checkpoint.save(params, tmp_path / f"again{suffix}", dtype)
    again = checkpoint.read(tmp_path / f"again{suffix}")
    assert set(again) == set(tensors)
    for name, tensor in tensors.items():
        assert again[name].shape == tuple(tensor.shape), name
        np.testing.assert_array_equal(again[name].read(), tensor.float())


@every_version
def test_our_names_in_a_file_are_read_too(version, tmp_path):
    params = loaded(version)
    tensors = {name: torch.from_numpy(values) for name, values in params.items()}
    again = checkpoint.load(written(tensors, tmp_path))
    assert {name: values.shape for name, values in again.items()} == {
        name: values.shape for name, values in params.items()
    }
    assert "names are those of this book" in str(checkpoint.inspect(tmp_path))


@every_version
def test_the_package_runs_what_the_book_saves(version, tmp_path):
    params, some = loaded(version), tokens(20)
    checkpoint.save(params, tmp_path / "ours.pth", "float32")
    theirs, _ = run_package(tmp_path / "ours.pth", version, some)
    np.testing.assert_allclose(read(version, params, some)[0], theirs, **CLOSE)


@every_version
def test_a_trained_first_state_is_kept_when_a_model_is_saved(version, tmp_path):
    params = loaded(version)
    first = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
    for layer in range(2):
        params[f"blocks.{layer}.time_mix.first_state"] = first + layer
    checkpoint.save(params, tmp_path / "model.safetensors", "float32")
    again = checkpoint.load(tmp_path / "model.safetensors")
    name = "blocks.1.time_mix.first_state"
    np.testing.assert_array_equal(again[name], params[name])
