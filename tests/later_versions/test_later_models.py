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
def test_before_training_it_predicts_nothing(version):
    torch.manual_seed(0)
    model = MODEL[version].RWKV(MODEL[version].Config(256, 4, 128))
    logits, _ = model(torch.randint(0, 256, (1, 50)))
    assert logits.std() < 1


def in_a_channel(version, channel, layer, layers, width, size):
    """Where each vector of a layer begins in one channel, by the official code."""
    deep, ahead = layer / (layers - 1), 1 - layer / layers
    ramp, share = channel / (width - 1), channel / width
    found = {
        "norm_time.weight": 1,
        "norm_channel.weight": 1,
        "time_mix.norm_heads.weight": ((1 + layer) / layers) ** 0.7,
    }
    found |= {name.replace("weight", "bias"): 0 for name in found}
    if version == "7":
        powers = {"receptance": 0.2, "decay": 0.9, "key": 0.7}
        powers |= {"value": 0.7, "rate": 0.9, "gate": 0.2}
        for part, power in powers.items():
            found[f"time_mix.shift_{part}"] = 1 - share ** (power * ahead)
        half = (size - 1) / 2  # a head's first channel is at -1, its last at 1
        place = (channel % size - half) / half
        zigzag = place * abs(place)
        decay = -6 + 6 * ramp ** (1 + deep**0.3) + 0.5 + 2.5 * zigzag
        found["time_mix.decay_bias"] = decay
        found["time_mix.rate_bias"] = -0.19 + 0.3 * zigzag + 0.4 * (ramp - 0.5)
        if layer:
            found["time_mix.value_bias"] = 0.73 - 0.4 * (ramp - 0.5)
        found["time_mix.removal_scale"] = 0.71 - 0.1 * (ramp - 0.5)
        found["time_mix.rate_in_key"] = 1.02
        found["time_mix.bonus"] = -0.04
        return found | {"channel_mix.shift_key": 1 - share ** (ahead**4)}
    found["time_mix.log_decay_rate"] = -6 + 5 * ramp ** (0.7 + 1.3 * deep)
    found["time_mix.bonus"] = deep * (1 - ramp) + 0.1 * ((channel + 1) % 3 - 1)
    mix = {
        "time_mix.mix_key": share**ahead,
        "time_mix.mix_value": share**ahead + 0.3 * deep,
        "time_mix.mix_receptance": share ** (0.5 * ahead),
        "time_mix.mix_gate": share ** (0.5 * ahead),
        "channel_mix.mix_key": share**ahead,
        "channel_mix.mix_receptance": share**ahead,
    }
    if version == "6":  # which counts from the previous token
        mix |= {"time_mix.mix_first": share**ahead, "time_mix.mix_decay": share**ahead}
        mix = {name.replace(".mix_", ".shift_"): 1 - x for name, x in mix.items()}
    return found | mix


# Of the rest, by the end of their names: the gain of what is orthogonal, 0 for zeros.
GAINS = {
    "time_mix.receptance.weight": 1,
    "time_mix.key.weight": 0.1,
    "time_mix.value.weight": 1,
    "time_mix.gate.weight": 0.1,
    "time_mix.output.weight": 0,
    "channel_mix.receptance.weight": 0,
    "channel_mix.key.weight": 1,
    "channel_mix.value.weight": 0,
    "_down": 0,
    "_up": 0.1,
    "head.weight": 0.5 * (100 / 64) ** 0.5,
}


def check_matrix(version, name, weights):
    """Orthogonal, zero, or evenly spread around it."""
    most = 1e-4 if name == "embedding.weight" else 0.01
    if name == "embedding.weight" or (version == "6" and name.endswith("_up")):
        assert 0.99 * most < weights.abs().max() <= most, name
        assert weights.std().item() == pytest.approx(most / 3**0.5, rel=0.05), name
        return
    (gain,) = (gain for end, gain in GAINS.items() if name.endswith(end))
    tall = weights.shape[0] >= weights.shape[1]
    square = weights.T @ weights if tall else weights @ weights.T
    wanted = gain**2 * torch.eye(len(square))
    torch.testing.assert_close(square, wanted, rtol=0, atol=1e-5, msg=name)


@every_version
def test_every_value_begins_as_in_the_official_code(version):
    """All parameters: vectors channel by channel, and how matrices are drawn."""
    torch.manual_seed(0)
    shape = {"layers": 4, "width": 64}
    config = MODEL[version].Config(vocabulary=100, head_size=16, **shape)
    rest = dict(MODEL[version].RWKV(config).named_parameters())
    for layer in range(4):
        channels = [
            in_a_channel(version, c, layer, size=16, **shape) for c in range(64)
        ]
        for name in channels[0]:
            found = rest.pop(f"blocks.{layer}.{name}").detach().flatten()
            wanted = [channel[name] for channel in channels]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5, err_msg=name)
    for norm in ("norm_in", "norm_out"):
        assert (rest.pop(f"{norm}.weight") == 1).all()
        assert not rest.pop(f"{norm}.bias").any()
    for name, weights in rest.items():
        check_matrix(version, name, weights.detach())


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
