"""RWKV-4 in NumPy: short, stable, and sampling what it says it samples."""

import ast
import inspect
import sys

import numpy as np
import pytest
import torch
from helpers.published import our_name, random_tensors

from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.wkv import WkvState, wkv_recurrent


@pytest.fixture
def params():
    """A random model: 3 layers, 6 channels, 20 hidden ones, 11 tokens."""
    tensors = random_tensors()
    return {our_name(name): t.squeeze().numpy() for name, t in tensors.items()}


def read(tokens, params):
    """All logits, and the state after the last token."""
    state, logits = minimal.initial_state(params), []
    for token in tokens:
        out, state = minimal.step(token, state, params)
        logits.append(out)
    return np.array(logits), state


def test_it_has_at_most_100_lines_and_needs_numpy_alone():
    source = inspect.getsource(minimal)
    assert len(source.splitlines()) <= 100
    nodes = list(ast.walk(ast.parse(source)))
    assert not any(isinstance(node, ast.ImportFrom) for node in nodes)
    (found,) = (node for node in nodes if isinstance(node, ast.Import))
    assert [name.name for name in found.names] == ["numpy"]
    assert all(ast.get_docstring(n) for n in nodes if isinstance(n, ast.FunctionDef))


def test_the_state_never_grows_and_is_left_as_it_was(params):
    state = minimal.initial_state(params)
    assert state.shape == (3, 5, 6) and state.dtype == np.float32
    for token in range(11):
        before = state.copy()
        logits, after = minimal.step(token, state, params)
        np.testing.assert_array_equal(state, before)
        assert logits.shape == (11,) and logits.dtype == np.float32
        assert after.shape == (3, 5, 6) and after.dtype == np.float32
        assert not np.shares_memory(state, after)
        state = after


def test_one_state_can_be_continued_in_two_ways(params):
    _, state = read([1, 2, 3], params)
    first, _ = minimal.step(4, state, params)
    minimal.step(5, state, params)
    again, _ = minimal.step(4, state, params)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, read([1, 2, 3, 4], params)[0][-1])


def test_earlier_tokens_matter_and_so_does_their_order(params):
    one, other = read([1, 2, 3, 4], params)[0], read([2, 1, 3, 4], params)[0]
    assert np.abs(one[-1] - other[-1]).max() > 1e-3


@pytest.mark.parametrize("scale", [1, 30, 300, 1e4])
def test_its_operator_is_the_recurrent_form(scale):
    rng = np.random.default_rng(0)
    decay_rate, bonus = np.exp(rng.normal(size=5)), rng.normal(size=5)
    key, value = scale * rng.normal(size=(40, 5)), rng.normal(size=(40, 5))
    sums = np.array([np.zeros(5), np.zeros(5), np.full(5, -np.inf)])
    out = []
    for k, v in zip(key, value, strict=True):
        average, sums = minimal.wkv(decay_rate, bonus, k, v, sums)
        out.append(average)
    batch = [torch.from_numpy(a) for a in (decay_rate, bonus, key[None], value[None])]
    expected, state = wkv_recurrent(*batch)
    np.testing.assert_allclose(out, expected[0], rtol=0, atol=1e-12)
    for field, ours in zip(WkvState._fields, sums, strict=True):
        np.testing.assert_allclose(ours, getattr(state, field)[0], rtol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
def test_no_key_however_large_overflows_or_warns(params, scale):
    for name in params:
        if "time_mix.key" in name or "time_mix.bonus" in name:
            params[name] = np.float32(scale) * params[name]
    with np.errstate(all="raise", under="ignore"):
        logits, state = read([1, 2, 3, 3, 2, 1, 10, 0] * 4, params)
    assert np.isfinite(logits).all() and np.isfinite(state).all()


@pytest.mark.filterwarnings("error")
def test_the_sigmoid_is_right_everywhere():
    x = np.array([-1e30, -800, -1, 0, 1, 800, 1e30])
    with np.errstate(all="raise"):
        found = minimal.sigmoid(x)
    np.testing.assert_allclose(found[2:5], 1 / (1 + np.exp([1.0, 0.0, -1.0])))
    np.testing.assert_array_equal(found[[0, 1, 3, 5, 6]], [0, 0, 0.5, 1, 1])


def test_layer_norm_is_that_of_torch():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(3, 7))
    for scaled in (x, 1e-4 * x, 100 + x):
        found = minimal.layer_norm(scaled, "n", {"n.weight": weight, "n.bias": bias})
        tensors = [torch.from_numpy(a) for a in (scaled, weight, bias)]
        expected = torch.nn.functional.layer_norm(tensors[0], (7,), *tensors[1:])
        np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("token", [-1, 11, 10**6, 1.5, np.nan])
def test_a_token_that_does_not_exist_is_refused(params, token):
    with pytest.raises(IndexError, match=rf"token {token} is not in 0\.\.10"):
        minimal.step(token, minimal.initial_state(params), params)


@pytest.mark.parametrize(
    "token", [3.0, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)]
)
def test_a_whole_number_is_a_token_whatever_its_type(params, token):
    logits, _ = minimal.step(token, minimal.initial_state(params), params)
    np.testing.assert_array_equal(logits, read([3], params)[0][0])


def test_true_is_token_1(params):
    logits, _ = minimal.step(True, minimal.initial_state(params), params)
    np.testing.assert_array_equal(logits, read([1], params)[0][0])


@pytest.mark.parametrize("part", [np.s_[:1], np.s_[:0], np.s_[:, :4], np.s_[..., :5]])
def test_a_state_of_another_shape_is_refused(params, part):
    """With fewer layers in it, fewer layers would run."""
    state = minimal.initial_state(params)[part]
    with pytest.raises(ValueError, match=r"must be \(L,5,C\) = \(3, 5, 6\), got"):
        minimal.step(1, state, params)
    more = np.concatenate([minimal.initial_state(params)] * 2)
    with pytest.raises(ValueError, match=r"got \(6, 5, 6\)"):
        minimal.step(1, more, params)


# Sampling.

LOGITS = np.log(np.array([0.1, 0.4, 0.05, 0.25, 0.2], np.float32))


def frequencies(draws=20_000, logits=LOGITS, **arguments):
    generator = np.random.default_rng(1)
    drawn = [
        minimal.sample(logits, generator=generator, **arguments) for _ in range(draws)
    ]
    return np.bincount(drawn, minlength=len(logits)) / draws


def test_temperature_0_takes_the_likeliest():
    assert minimal.sample(LOGITS, temperature=0) == 1
    assert minimal.sample(LOGITS, temperature=0, top_p=0.1) == 1
    assert minimal.sample(np.array([3.0, 7.0, 7.0]), temperature=0) == 1


def test_a_token_is_drawn_as_often_as_its_probability_says():
    # 20,000 draws: 4 standard deviations of a frequency are at most 0.014
    np.testing.assert_allclose(frequencies(), np.exp(LOGITS), atol=0.014)


@pytest.mark.parametrize("temperature", [0.5, 2])
def test_temperature_raises_probabilities_to_a_power(temperature):
    powers = np.exp(LOGITS) ** (1 / temperature)
    np.testing.assert_allclose(
        frequencies(temperature=temperature), powers / powers.sum(), atol=0.014
    )


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.01, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.64, [1, 3]),
        (0.66, [1, 3, 4]),
        (0.84, [1, 3, 4]),
        (0.86, [0, 1, 3, 4]),
        (0.94, [0, 1, 3, 4]),
        (0.96, [0, 1, 2, 3, 4]),
        (1.0, [0, 1, 2, 3, 4]),
    ],
)
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p, kept):
    found = frequencies(draws=3000, top_p=top_p)
    assert np.flatnonzero(found).tolist() == kept
    expected = np.where(found > 0, np.exp(LOGITS), 0)
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.04)


def test_top_p_that_is_reached_exactly_keeps_no_more():
    halves = np.log(np.array([0.25, 0.5, 0.25]))
    assert set(np.flatnonzero(frequencies(500, halves, top_p=0.5))) == {1}
    assert set(np.flatnonzero(frequencies(500, halves, top_p=0.75))) == {0, 1}


def test_one_seed_gives_one_text(params):
    def text(seed):
        generator = np.random.default_rng(seed)
        state, token, out = minimal.initial_state(params), 0, []
        for _ in range(30):
            logits, state = minimal.step(token, state, params)
            token = minimal.sample(logits, generator=generator)
            out.append(token)
        return out

    assert text(1) == text(1) != text(2)
    assert all(type(token) is int and 0 <= token < 11 for token in text(1))


def test_without_a_generator_draws_differ():
    draws = {minimal.sample(np.zeros(10**6)) for _ in range(3)}
    assert len(draws) > 1


@pytest.mark.filterwarnings("error")
def test_extreme_logits_and_temperatures_can_be_sampled():
    large = np.array([-1e30, 1e30, 0], np.float32)
    for temperature in (1e-8, 1, 1e8):
        assert minimal.sample(large, temperature) == 1
    assert minimal.sample(LOGITS, 1e-6) == 1
    assert minimal.sample(np.array([0, -np.inf])) == 0
    np.testing.assert_allclose(frequencies(3000, temperature=1e6), 0.2, atol=0.04)


@pytest.mark.parametrize(
    ("temperature", "top_p"),
    [(-1, 1), (np.nan, 1), (1, 0), (1, -0.5), (1, 1.01), (1, np.nan), (0, 0)],
)
def test_arguments_that_make_no_sense_are_refused(temperature, top_p):
    with pytest.raises(ValueError, match="temperature >= 0"):
        minimal.sample(LOGITS, temperature, top_p)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_no_numbers_are_refused(number, temperature):
    logits = np.array([1, 2, number], np.float32)
    with pytest.raises(ValueError, match="the weights or the state give NaN"):
        minimal.sample(logits, temperature)
    with pytest.raises(ValueError, match="the weights or the state give NaN"):
        minimal.sample(np.full(3, -np.inf), temperature)


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_weight_that_is_nan_is_not_sampled_from(params, temperature):
    params["blocks.1.time_mix.output.weight"][2, 3] = np.nan
    logits, _ = read([1, 2, 3], params)
    with pytest.raises(ValueError, match="give NaN"):
        minimal.sample(logits[-1], temperature)


def test_it_runs_where_torch_is_not_installed(params, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "rwkv_book.rwkv4.minimal")
    import rwkv_book.rwkv4.minimal as fresh

    logits, _ = fresh.step(3, fresh.initial_state(params), params)
    np.testing.assert_array_equal(logits, read([3], params)[0][0])
