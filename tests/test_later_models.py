"""RWKV-5.2, 6 and 7 to train: the same function as `minimal.py`, with gradients."""

from importlib import import_module

import numpy as np
import pytest
import torch
from helpers.later import random_later

from rwkv_book import checkpoint
from rwkv_book.family.equation import FORMS
from rwkv_book.rwkv4 import model as rwkv4

VERSIONS = ("5.2", "6", "7")
MODEL = {v: import_module(f"rwkv_book.rwkv{v[0]}.model") for v in VERSIONS}
MINIMAL = {v: import_module(f"rwkv_book.rwkv{v[0]}.minimal") for v in VERSIONS}
every_version = pytest.mark.parametrize("version", VERSIONS)
SMALL = {"layers": 3, "width": 32, "size": 16, "vocabulary": 11}


def small(version, **more):
    """A model before its first step, but with nothing at zero: (model, tokens)."""
    torch.manual_seed(1)
    shape = {"vocabulary": 11, "layers": 2, "width": 16, "head_size": 8} | more
    model = MODEL[version].RWKV(MODEL[version].Config(**shape))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model, torch.randint(0, 11, (2, 21))


@pytest.fixture
def file(tmp_path, request):
    """A random checkpoint of a version, as published."""
    tensors = random_later(request.param, **SMALL)
    torch.save(tensors, tmp_path / "model.pth")
    return request.param, tmp_path / "model.pth"


@pytest.mark.parametrize("file", VERSIONS, indirect=True)
def test_a_file_is_read_as_minimal_reads_it(file):
    version, path = file
    params, minimal = checkpoint.load(path), MINIMAL[version]
    tokens = np.random.default_rng(0).integers(0, 11, 40)
    state, rows = minimal.initial_state(params), []
    for token in tokens:
        logits, state = minimal.step(token, state, params)
        rows.append(logits)
    for name, form in FORMS.items():
        if name == "scan" and version == "7":
            continue  # test_equation has the sentence with which it refuses
        model = MODEL[version].RWKV.load(path, wkv=form)
        with torch.no_grad():
            logits, after = model(torch.tensor(tokens)[None])
        np.testing.assert_allclose(logits[0], rows, rtol=0, atol=2e-5)
        np.testing.assert_allclose(after[0], state, rtol=1e-5, atol=2e-5)


@every_version
def test_prefix_and_suffix_make_the_whole(version):
    model, tokens = small(version)
    model = model.double()
    with torch.no_grad():
        whole, after = model(tokens)
        for cut in (1, 7, 16, 20):
            first, state = model(tokens[:, :cut])
            second, last = model(tokens[:, cut:], state)
            found = torch.cat([first, second], dim=1)
            torch.testing.assert_close(found, whole, rtol=0, atol=1e-10)
            torch.testing.assert_close(last, after, rtol=0, atol=1e-10)
        state = None
        for t in range(tokens.shape[1]):
            logits, state = model.step(tokens[:, t], state)
            torch.testing.assert_close(logits, whole[:, t], rtol=0, atol=1e-10)


@every_version
def test_gradients_of_all_parameters_are_those_of_small_differences(version):
    model, tokens = small(version, width=8, head_size=4)
    model, tokens = model.double(), tokens[:1, :5]
    names, values = zip(*model.named_parameters(), strict=True)
    state = torch.randn_like(model.initial_state()).requires_grad_()

    def function(state, *values):
        named = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, named, (tokens, state))

    inputs = state, *(value.detach().requires_grad_() for value in values)
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("file", VERSIONS, indirect=True)
def test_what_is_saved_is_what_was_loaded(file, tmp_path):
    version, path = file
    model = MODEL[version].RWKV.load(path)
    again = tmp_path / "again.safetensors"
    checkpoint.save(model.state_dict(), again, "float32")
    before, after = checkpoint.load(path), checkpoint.load(again)
    assert checkpoint.version_of(after) == version
    for name, values in after.items():
        np.testing.assert_array_equal(values, before[name])
    unread = {name for name in before if name not in after}
    assert all("value_" in name or "unused" in name for name in unread)


@every_version
def test_a_learned_first_state_is_begun_with_and_learned(version, tmp_path):
    tensors = random_later(version, **SMALL)
    first = torch.randn(3, 2, 16, 16)
    for layer in range(3):
        tensors[f"blocks.{layer}.att.time_state"] = first[layer]
    torch.save(tensors, tmp_path / "model.pth")
    model = MODEL[version].RWKV.load(tmp_path / "model.pth")
    params = checkpoint.load(tmp_path / "model.pth")
    start = model.initial_state(2)
    for row in start:
        np.testing.assert_array_equal(
            row.detach(), MINIMAL[version].initial_state(params)
        )
    model(torch.tensor([[3, 4]]))[0].sum().backward()
    for block in model.blocks:
        assert block.time_mix.first_state.grad.abs().sum() > 0
    checkpoint.save(model.state_dict(), tmp_path / "again.safetensors", "float32")
    kept = checkpoint.load(tmp_path / "again.safetensors")
    name = "blocks.1.time_mix.first_state"
    np.testing.assert_array_equal(kept[name], params[name])


@every_version
def test_before_training_it_predicts_nothing_and_starts_as_published(version):
    torch.manual_seed(0)
    config = MODEL[version].Config(256, 4, 128)
    model = MODEL[version].RWKV(config)
    for block in model.blocks:
        mix = block.time_mix
        for matrix in (mix.receptance.weight, mix.value.weight, 10 * mix.key.weight):
            torch.testing.assert_close(
                matrix @ matrix.T, torch.eye(128), rtol=0, atol=1e-5
            )
        assert not mix.output.weight.any() and not block.channel_mix.value.weight.any()
        key = block.channel_mix.key.weight
        torch.testing.assert_close(key.T @ key, torch.eye(128), rtol=0, atol=1e-5)
    scales = [block.time_mix.norm_heads.weight[0].item() for block in model.blocks]
    assert scales == pytest.approx([(layer / 4) ** 0.7 for layer in (1, 2, 3, 4)])
    logits, _ = model(torch.randint(0, 256, (1, 50)))
    assert logits.std() < 1


def test_half_lives_of_rwkv7_span_from_a_token_to_thousands():
    config = MODEL["7"].Config(256, 4, 128)
    bias = MODEL["7"].RWKV(config).blocks[1].time_mix.decay_bias
    half_lives = np.log(2) / (np.exp(-0.5) * bias.sigmoid().detach().numpy())
    assert half_lives.min() == pytest.approx(1.2, abs=0.1)
    assert half_lives.max() == pytest.approx(3400, rel=0.05)
    ranks = {"decay_rank": 32, "rate_rank": 32, "value_rank": 32, "gate_rank": 64}
    assert {name: getattr(config, name) for name in ranks} == ranks


@every_version
def test_sixteen_bits_around_the_operator_leave_its_state_whole(version):
    model, tokens = small(version)
    with torch.no_grad():
        wanted, _ = model(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            logits, state = model(tokens)
    assert state.dtype == torch.float32
    assert (logits.float() - wanted).std() < 0.05 * wanted.std()


def test_heads_that_do_not_fill_the_width_are_refused():
    for version in VERSIONS:
        with pytest.raises(ValueError, match="make width a multiple of head_size"):
            MODEL[version].Config(256, 2, 100)
        with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
            MODEL[version].Config(256, 0, 64)
    model, tokens = small("7")
    with pytest.raises(ValueError, match=r"state must be \(B,L,2\+N,C\)"):
        model(tokens, torch.zeros(2, 2, 5, 16))
    with pytest.raises(ValueError, match=r"tokens must be \(B,T\)"):
        model(tokens[0])


@pytest.mark.parametrize("file", VERSIONS, indirect=True)
def test_a_file_of_another_version_is_refused(file):
    version, path = file
    for other in {**MODEL, "4": rwkv4}.keys() - {version}:
        module = rwkv4 if other == "4" else MODEL[other]
        sentence = rf"it is of RWKV-{version} \(.*, not RWKV-{other}"
        with pytest.raises(checkpoint.CheckpointError, match=sentence):
            module.RWKV.load(path)
