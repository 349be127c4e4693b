"""A state in a file is the one that was saved, or an error that says all against it."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.disks import small_disk
from helpers.later import random_later
from helpers.random_model import random_model
from safetensors import safe_open
from safetensors.numpy import save_file

from rwkv_book import checkpoint, states, training
from rwkv_book.commands import models
from rwkv_book.folders import DiskFull
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.model import RWKV
from rwkv_book.rwkv4.wkv import WkvState
from rwkv_book.rwkv7 import minimal as rwkv7
from rwkv_book.states import Reading, StateError

LENGTH = 37


@pytest.fixture(scope="module")
def model():
    return random_model()


def params_of(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def some_tokens(model, length=LENGTH, seed=1):
    generator = torch.Generator().manual_seed(seed)
    size = (1, length)
    return torch.randint(model.config.vocabulary, size, generator=generator)


def read_with_model(model, tokens):
    logits, state = model(tokens)
    return Reading(state, logits[:, -1], tokens.shape[1], "a note")


def read_with_minimal(params, tokens):
    state = minimal.initial_state(params)
    for token in tokens[0].tolist():
        logits, state = minimal.step(token, state, params)
    return Reading(state, logits, tokens.shape[1], "a note")


# Saving and loading


def test_a_loaded_state_is_the_saved_one_bit_for_bit(model, tmp_path):
    saved = read_with_model(model, some_tokens(model))
    states.save(saved, tmp_path / "a.safetensors", model)
    loaded = states.load(tmp_path / "a.safetensors", model)
    assert torch.equal(loaded.state, saved.state)
    assert torch.equal(loaded.logits, saved.logits)
    assert (loaded.tokens, loaded.note) == (LENGTH, "a note")


def test_prefix_from_a_file_and_suffix_equal_the_whole(model, tmp_path):
    exact = random_model().double()
    tokens = some_tokens(exact)
    whole, end = exact(tokens)
    states.save(read_with_model(exact, tokens[:, :20]), tmp_path / "a", exact)
    loaded = states.load(tmp_path / "a", exact)
    rest, rest_end = exact(tokens[:, 20:], loaded.state)
    assert loaded.state.dtype == torch.float64
    assert torch.allclose(rest, whole[:, 20:], rtol=0, atol=1e-10)
    assert torch.allclose(rest_end, end, rtol=0, atol=1e-10)


def test_minimal_goes_on_where_the_model_stopped_and_the_other_way(model, tmp_path):
    params, tokens = params_of(model), some_tokens(model)
    states.save(read_with_model(model, tokens[:, :20]), tmp_path / "a", model)
    states.save(read_with_minimal(params, tokens[:, :20]), tmp_path / "b", params)
    by_minimal = states.load(tmp_path / "a", params)
    by_model = states.load(tmp_path / "b", model)
    assert isinstance(by_minimal.state, np.ndarray)
    assert by_model.state.shape == (1, *by_minimal.state.shape)
    state = by_minimal.state
    for token in tokens[0, 20:].tolist():
        logits, state = minimal.step(token, state, params)
    others, _ = model(tokens[:, 20:], by_model.state)
    assert np.allclose(logits, others[0, -1], rtol=0, atol=1e-4)


def test_the_state_before_the_first_token_can_be_kept(model, tmp_path):
    reading = Reading(model.initial_state(), torch.zeros(1, 23), 0)
    states.save(reading, tmp_path / "a", model)
    assert torch.equal(states.load(tmp_path / "a", model).state, reading.state)


def test_a_file_is_hardly_larger_than_its_numbers(model, tmp_path):
    reading = read_with_model(model, some_tokens(model))
    states.save(reading, tmp_path / "a", model)
    numbers = reading.state.nbytes + reading.logits.nbytes
    assert 0 < (tmp_path / "a").stat().st_size - numbers < 600


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_state_of_a_model_of_16_bits_is_kept(tmp_path, dtype):
    exact = random_model().to(dtype)
    tokens = some_tokens(exact)
    saved = read_with_model(exact, tokens)
    states.save(saved, tmp_path / "a", exact)
    loaded = states.load(tmp_path / "a", exact)
    assert torch.equal(loaded.state, saved.state)
    assert loaded.state.dtype == saved.state.dtype
    assert torch.equal(loaded.logits, saved.logits)
    assert loaded.logits.dtype == saved.logits.dtype == dtype
    exact(tokens, loaded.state)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_others_may_read_a_state_as_the_umask_says(model, tmp_path, umask):
    reading, before = read_with_model(model, some_tokens(model)), os.umask(umask)
    try:
        states.save(reading, tmp_path / "a", model)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_full_disk_keeps_nothing_of_a_state(model, tmp_path):
    reading = read_with_model(model, some_tokens(model))
    with small_disk(tmp_path / "disk", kibibytes=8) as disk:
        (disk / "filler").write_bytes(bytes(8000))
        with pytest.raises(DiskFull, match="no space left for "):
            states.save(reading, disk / "a", model)
        assert [file.name for file in disk.iterdir()] == ["filler"]


def test_names_and_notes_that_are_not_utf_8_are_kept(model, tmp_path):
    name = os.fsdecode(b"m\xfcll")
    reading = replace(read_with_model(model, some_tokens(model)), note=f"read {name}")
    states.save(reading, tmp_path / name, model)
    loaded = states.load(tmp_path / name, model)
    assert torch.equal(loaded.state, reading.state)
    assert loaded.note == "read m\\udcfcll"


# Fingerprints


def test_a_fingerprint_depends_on_every_number_and_on_no_container():
    model, other = random_model(), random_model()
    same = states.fingerprint(model)
    assert states.fingerprint(other) == same
    assert states.fingerprint(params_of(model)) == same
    assert states.fingerprint(dict(reversed(params_of(model).items()))) == same
    assert states.fingerprint(random_model().double()) == same
    other.blocks[2].time_mix.bonus[3] += 1e-6
    assert states.fingerprint(other) != same


def test_the_fingerprint_of_a_file_is_that_of_the_model_it_becomes():
    path = checkpoint.shipped()
    params, model = checkpoint.load(path), RWKV.load(path)
    assert states.fingerprint(params) == states.fingerprint(model)


# What does not fit


def test_another_model_is_told_everything_that_is_wrong_at_once(model, tmp_path):
    states.save(read_with_model(model, some_tokens(model)), tmp_path / "a", model)
    other = random_model(layers=2, width=24, vocabulary=29).double()
    with pytest.raises(StateError) as error:
        states.load(tmp_path / "a", other)
    ours, theirs = states.fingerprint(model)[:8], states.fingerprint(other)[:8]
    assert error.value.problems == (
        "state has 3 layers, these weights 2",
        "state has 16 channels, these weights 24",
        "state is float32, these weights need float64",
        "logits has 23 tokens in the vocabulary, these weights 29",
        "logits is float32, these weights need float64",
        f"it was made by weights {ours}, these are {theirs}: read the text with these",
    )
    assert "6 problems" in str(error.value)


def test_the_same_shape_trained_otherwise_is_another_model(model, tmp_path):
    states.save(read_with_model(model, some_tokens(model)), tmp_path / "a", model)
    with pytest.raises(StateError, match="it was made by weights"):
        states.load(tmp_path / "a", random_model(seed=7))


def test_a_file_without_our_tensors_and_metadata_is_refused(model, tmp_path):
    save_file({"else": np.zeros(3, np.float32)}, tmp_path / "a")
    with pytest.raises(StateError) as error:
        states.load(tmp_path / "a", model)
    found = str(error.value)
    for part in (
        "unexpected tensors (1): else",
        "no tensor state",
        "no tensor logits",
        "no tokens were read",
        "weights that it does not name",
    ):
        assert part in found


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", None])
def test_what_can_not_be_read_is_an_error_of_the_same_kind(model, tmp_path, content):
    path = tmp_path / "a"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StateError, match="can be read"):
        states.load(path, model)


def test_a_truncated_file_is_refused(model, tmp_path):
    states.save(read_with_model(model, some_tokens(model)), tmp_path / "a", model)
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:-10])
    with pytest.raises(StateError, match="can be read"):
        states.load(tmp_path / "a", model)


def test_a_damaged_head_is_refused_or_read_and_nothing_else_happens(model, tmp_path):
    states.save(read_with_model(model, some_tokens(model)), tmp_path / "a", model)
    whole, rng, refused = (tmp_path / "a").read_bytes(), np.random.default_rng(0), 0
    end = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(8, end)] = rng.integers(256)
        (tmp_path / "a").write_bytes(damaged)
        try:
            states.load(tmp_path / "a", model)
        except StateError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("tokens", ["-1", "1.5", "", "9" * 5000, "\u0663", " 7"])
def test_a_number_of_tokens_that_is_none_is_refused(model, tmp_path, tokens):
    states.save(read_with_model(model, some_tokens(model)), tmp_path / "a", model)
    with safe_open(tmp_path / "a", "numpy") as file:
        metadata = file.metadata() | {"tokens": tokens}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, tmp_path / "a", metadata)
    with pytest.raises(StateError, match=r"its metadata say that .* tokens were read"):
        states.load(tmp_path / "a", model)


@pytest.mark.parametrize("tokens", [-1, 1.5, "7", None])
def test_a_number_of_tokens_that_is_none_is_not_saved(model, tmp_path, tokens):
    reading = replace(read_with_model(model, some_tokens(model)), tokens=tokens)
    with pytest.raises(StateError, match="tokens can't have been read"):
        states.save(reading, tmp_path / "a", model)
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_model_is_no_state(model):
    with pytest.raises(StateError, match=r"unexpected tensors \(\d+\): .*, \.\.\.\n"):
        states.load(checkpoint.shipped(), model)


@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_poisoned_numbers_are_neither_saved_nor_loaded(model, tmp_path, row, bad):
    reading = read_with_model(model, some_tokens(model))
    reading.state[0, 1, row, 2] = bad
    with pytest.raises(StateError, match=r"NaN or infinite numbers \(1\)"):
        states.save(reading, tmp_path / "a", model)
    assert not (tmp_path / "a").exists()


def test_a_batch_is_refused_with_what_to_do(model, tmp_path):
    tokens = some_tokens(model).repeat(2, 1)
    with pytest.raises(StateError, match=r"one text at a time: state\[i : i \+ 1\]"):
        states.save(read_with_model(model, tokens), tmp_path / "a", model)


# Merging


def seam(model, token):
    """The state after one token, with nothing in its sums: only x_prev is left."""
    _, state = model.step(torch.tensor([token]))
    state[:, :, 1:4] = model.initial_state()[:, :, 1:4]
    return state


def apart_and_together(model, cut=20):
    """Two parts of a text read apart, and the whole: states as (L,5,C)."""
    tokens = some_tokens(model)
    _, earlier = model(tokens[:, :cut])
    _, later = model(tokens[:, cut:], seam(model, tokens[0, cut - 1]))
    _, whole = model(tokens)
    return earlier, later, LENGTH - cut, whole


def values_of(state, layer):
    """The sums of a layer without their scale: num · exp(log_scale), den · ..."""
    sums = WkvState(*state[0, layer, 1:4])
    return sums.average(), sums.den.log() + sums.log_scale


def test_the_sums_of_the_first_layer_merge_exactly_and_the_others_do_not():
    model = random_model().double()
    earlier, later, steps, whole = apart_and_together(model)
    merged = states.merge(earlier, later, steps, model)
    for found, right in zip(values_of(merged, 0), values_of(whole, 0), strict=True):
        assert torch.allclose(found, right, rtol=0, atol=1e-10)
    for layer in (1, 2):
        found, right = values_of(merged, layer)[0], values_of(whole, layer)[0]
        assert (found - right).abs().max() > 1e-3


def test_the_token_before_is_taken_from_the_later_text(model):
    earlier, later, steps, whole = apart_and_together(model)
    merged = states.merge(earlier, later, steps, model)
    assert torch.equal(merged[:, :, [0, 4]], later[:, :, [0, 4]])
    assert torch.allclose(merged[:, 0, 0], whole[:, 0, 0], atol=1e-5)


def test_merging_leaves_both_states_as_they_were(model):
    earlier, later, steps, _ = apart_and_together(model)
    before = earlier.clone(), later.clone()
    states.merge(earlier, later, steps, model)
    assert torch.equal(earlier, before[0]) and torch.equal(later, before[1])


def test_merging_is_the_same_for_minimal_and_for_batches(model):
    earlier, later, steps, _ = apart_and_together(model)
    merged = states.merge(earlier, later, steps, model)
    alone = states.merge(earlier[0].numpy(), later[0].numpy(), steps, params_of(model))
    assert np.array_equal(alone, merged[0].numpy())
    twice = [torch.cat([state, state]) for state in (earlier, later)]
    both = states.merge(*twice, steps, model)
    assert torch.equal(both, torch.cat([merged, merged]))


def test_nothing_read_before_changes_nothing(model):
    _, later, steps, _ = apart_and_together(model)
    merged = states.merge(model.initial_state(), later, steps, model)
    assert torch.equal(merged, later)


def test_merging_what_can_not_be_merged_says_why(model):
    earlier, later, _, _ = apart_and_together(model)
    with pytest.raises(ValueError, match="at least one token, not 0"):
        states.merge(earlier, later, 0, model)
    with pytest.raises(ValueError, match="two states of one shape"):
        states.merge(earlier[0], later, 5, model)


def test_decay_rates_are_those_of_every_layer_in_order(model):
    rates = states.decay_rates(model)
    assert rates.shape == (3, 16)
    for layer, block in enumerate(model.blocks):
        assert np.allclose(rates[layer], block.time_mix.log_decay_rate.exp())


# RWKV-5.2, 6 and 7


@pytest.mark.parametrize("version", ["5.2", "6", "7"])
def test_a_table_is_kept_and_gone_on_from_by_either_reader(version, tmp_path):
    torch.save(random_later(version, layers=3, width=32, size=16), tmp_path / "m.pth")
    params = checkpoint.load(tmp_path / "m.pth")
    model = training.read_model(tmp_path / "m.pth").requires_grad_(False)
    reader = models.minimal_of(params)
    tokens = torch.randint(11, (1, 20), generator=torch.Generator().manual_seed(3))
    whole, _ = model(tokens)
    logits, state = model(tokens[:, :12])
    states.save(Reading(state, logits[:, -1], 12), tmp_path / "state", model)
    kept = states.load(tmp_path / "state", params)
    state, found = kept.state, []
    for token in tokens[0, 12:].tolist():
        logits, state = reader.step(token, state, params)
        found.append(logits)
    np.testing.assert_allclose(found, whole[0, 12:], rtol=0, atol=2e-5)
    states.save(Reading(state, logits, 20), tmp_path / "later", params)
    again = states.load(tmp_path / "later", model)
    assert again.state.shape == (1, 3, 18, 32) and again.tokens == 20
    with safe_open(tmp_path / "later", "numpy") as file:
        assert file.metadata()["holds"] == f"a state of RWKV-{version}"
    with pytest.raises(ValueError, match=f"these are of RWKV-{version}: read one"):
        states.merge(state, state, 5, params)
    if version != "5.2":
        with pytest.raises(ValueError, match="depends on the token"):
            states.decay_rates(params)


def test_a_table_of_other_heads_or_with_bad_numbers_is_refused(tmp_path):
    torch.save(random_later("7", layers=2, width=32, size=16), tmp_path / "m.pth")
    params = checkpoint.load(tmp_path / "m.pth")
    state = rwkv7.initial_state(params)
    state[1, 3, 4] = -np.inf
    with pytest.raises(StateError, match=r"NaN or infinite numbers \(1\)"):
        states.save(Reading(state, np.zeros(11, np.float32), 1), tmp_path / "s", params)
    small = np.zeros((2, 10, 32), np.float32)
    with pytest.raises(StateError, match="10 rows in a layer, these weights 18"):
        states.save(Reading(small, np.zeros(11, np.float32), 1), tmp_path / "s", params)
    assert not (tmp_path / "s").exists()
