"""The trainable RWKV-4: equal to minimal.py and to two packages that nobody here wrote.

Those are `rwkv` from the author of the architecture, and `transformers`. All three read
the same random checkpoints in the published format.
"""

import copy
import os
import re

import numpy as np
import pytest
import torch
from helpers.published import our_name, random_tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_book import checkpoint
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import FORMS, wkv_attention, wkv_recurrent

SHAPES = {  # layers, width, hidden, vocabulary
    "one layer": (1, 8, 32, 5),
    "hidden not 4 C": (2, 10, 24, 29),
    "wide vocabulary": (3, 16, 64, 300),
    "eight layers": (8, 12, 48, 50),  # beyond the 6 after which packages rescale
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def load(shape, folder, dtype=torch.float32, **arguments):
    """A model from a random checkpoint, and the checkpoint's path."""
    path = folder / "model.pth"
    torch.save(random_tensors(*shape), path)
    return RWKV.load(path, **arguments).to(dtype), path


def random_tokens(model, batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (batch, length)
    return torch.randint(model.config.vocabulary, size, generator=generator)


def assert_states_equal(found, expected, tolerance):
    """(L,5,C) states: equal vectors, averages and logs of sums, on whatever scale."""
    for state in (found, expected):
        assert not torch.isnan(state).any()
    x_time, num, den, log_scale, x_channel = (found[:, row] for row in range(5))
    wanted = [expected[:, row] for row in range(5)]
    near = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(x_time, wanted[0], **near)
    torch.testing.assert_close(x_channel, wanted[4], **near)
    torch.testing.assert_close(num / den, wanted[1] / wanted[2], **near)
    log_sum = wanted[2].log() + wanted[3]
    torch.testing.assert_close(den.log() + log_scale, log_sum, **near)


# The parallel form, the recurrent form and minimal.py are one function.


@every_shape
def test_forward_equals_minimal_token_by_token(shape, tmp_path):
    model, path = load(shape, tmp_path)
    params = checkpoint.load(path)
    tokens = random_tokens(model, 1, 40)
    logits, after = model(tokens)
    state = minimal.initial_state(params)
    for t, token in enumerate(tokens[0].tolist()):
        expected, state = minimal.step(token, state, params)
        np.testing.assert_allclose(logits[0, t].detach(), expected, atol=1e-4)
    assert_states_equal(after[0].detach(), torch.from_numpy(state), 1e-4)


@every_shape
def test_forward_equals_step_in_double(shape, tmp_path):
    model, _ = load(shape, tmp_path, torch.float64)
    tokens = random_tokens(model, 2, 33)
    logits, after = model(tokens)
    state = None
    for t in range(33):
        expected, state = model.step(tokens[:, t], state)
        torch.testing.assert_close(logits[:, t], expected, rtol=1e-10, atol=1e-10)
    for found, wanted in zip(after, state, strict=True):
        assert_states_equal(found, wanted, 1e-10)


@given(length=st.integers(2, 40), cut=st.floats(0, 1), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_prefix_then_suffix_equals_the_whole(length, cut, seed):
    torch.manual_seed(seed)
    model = randomised(Config(vocabulary=13, layers=2, width=6)).double()
    tokens = random_tokens(model, 2, length, seed)
    cut = 1 + int(cut * (length - 2))
    whole, _ = model(tokens)
    prefix, state = model(tokens[:, :cut])
    suffix, _ = model(tokens[:, cut:], state)
    parts = torch.cat([prefix, suffix], dim=1)
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-10)


def randomised(config, **arguments):
    """A model without the zeros that a new one has."""
    model = RWKV(config, **arguments)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def loss_and_gradients(model, tokens):
    logits, state = model(tokens)
    state, log_scale = state[:, :, [0, 1, 2, 4]], state[:, :, 3]
    loss = logits.square().mean() + state.square().mean() + log_scale.sin().mean()
    names, parameters = zip(*model.named_parameters(), strict=True)
    return loss, dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def test_every_form_of_the_operator_gives_the_same_logits_and_gradients(tmp_path):
    tokens = None
    for wkv in [wkv_attention, *FORMS.values()]:
        model, _ = load((3, 8, 32, 20), tmp_path, torch.float64, wkv=wkv)
        if tokens is None:
            tokens = random_tokens(model, 2, 37)
            expected, gradients = loss_and_gradients(model, tokens)
        loss, found = loss_and_gradients(model, tokens)
        torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
        for name, gradient in gradients.items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10)


def test_gradients_flow_through_a_state_as_through_the_whole():
    model = randomised(Config(vocabulary=13, layers=2, width=6)).double()
    tokens = random_tokens(model, 1, 12)

    def last_loss(logits):
        return logits[:, -1].logsumexp(-1).sum()

    parameters = list(model.parameters())
    whole = torch.autograd.grad(last_loss(model(tokens)[0]), parameters)
    _, state = model(tokens[:, :7])
    parts = torch.autograd.grad(last_loss(model(tokens[:, 7:], state)[0]), parameters)
    for found, wanted in zip(parts, whole, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


def test_the_texts_of_a_batch_do_not_touch(tmp_path):
    model, _ = load((3, 16, 64, 30), tmp_path)
    tokens = random_tokens(model, 4, 20)
    together, states = model(tokens)
    for row in range(4):
        alone, state = model(tokens[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)
        assert_states_equal(states[row].detach(), state[0].detach(), 1e-4)


def test_a_token_changes_no_logits_before_it(tmp_path):
    model, _ = load((2, 8, 32, 20), tmp_path)
    tokens = random_tokens(model, 1, 20)
    changed = tokens.clone()
    changed[0, 11] = (changed[0, 11] + 1) % 20
    before, after = model(tokens)[0], model(changed)[0]
    torch.testing.assert_close(before[:, :11], after[:, :11], rtol=0, atol=1e-6)
    assert (before[:, 11:] - after[:, 11:]).abs().amax(2).min() > 1e-4


def test_a_state_is_left_as_it_was(tmp_path):
    model, _ = load((2, 8, 32, 20), tmp_path)
    with torch.no_grad():
        _, state = model(random_tokens(model, 2, 5))
        before = state.clone()
        model(random_tokens(model, 2, 7, seed=1), state)
    assert torch.equal(state, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_keeps_its_state_in_float32(dtype, tmp_path):
    model, _ = load((2, 16, 64, 20), tmp_path)
    tokens = random_tokens(model, 1, 50)
    expected, _ = model(tokens)
    logits, state = copy.deepcopy(model).to(dtype)(tokens)
    assert logits.dtype == dtype and state.dtype == torch.float32
    assert (logits.float() - expected).abs().max() < 0.1 * expected.abs().max()


# The same function as two packages.


@pytest.fixture
def no_gradients():
    """None are kept during the test."""
    with torch.no_grad():
        yield


def rwkv_package(path):
    """The checkpoint in the package `rwkv`: float32, on the CPU, nothing compiled."""
    os.environ |= {"RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0"}
    from rwkv.model import RWKV as Package

    return Package(str(path), strategy="cpu fp32", verbose=False)


@every_shape
def test_the_package_rwkv_computes_the_same(shape, tmp_path, no_gradients):
    model, path = load(shape, tmp_path)
    package, params = rwkv_package(path), checkpoint.load(path)
    tokens = random_tokens(model, 1, 64)
    for length in (1, 2, 17, 64):
        some = tokens[:, :length]
        logits, after = model(some)
        theirs, their_after = package.forward(some[0].tolist(), None, full_output=True)
        theirs = theirs.view(length, -1)
        torch.testing.assert_close(logits[0], theirs, rtol=1e-4, atol=1e-4)
        # its state is a list: x_time, num, den, log_scale, x_channel of each layer
        their_after = torch.stack(their_after).view(-1, 5, model.config.width)
        assert_states_equal(after[0], their_after, 1e-4)
    their_state, state, minimal_state = None, None, minimal.initial_state(params)
    for token in tokens[0].tolist():
        theirs, their_state = package.forward([token], their_state)
        logits, state = model.step(torch.tensor([token]), state)
        torch.testing.assert_close(logits[0], theirs, rtol=1e-4, atol=1e-4)
        logits, minimal_state = minimal.step(token, minimal_state, params)
        np.testing.assert_allclose(logits, theirs, rtol=1e-4, atol=1e-4)


def test_the_package_rwkv_runs_what_the_book_saves(tmp_path, no_gradients):
    model, _ = load((2, 10, 24, 29), tmp_path)
    checkpoint.save(model.state_dict(), tmp_path / "ours.pth", "float32")
    tokens = random_tokens(model, 1, 20)
    theirs, _ = rwkv_package(tmp_path / "ours.pth").forward(tokens[0].tolist(), None)
    logits, _ = RWKV.load(tmp_path / "ours.pth")(tokens)
    torch.testing.assert_close(logits[0, -1], theirs, rtol=1e-4, atol=1e-4)


def transformers_model(path, shape):
    """The checkpoint in `transformers`, whose names differ once more."""
    from transformers import RwkvConfig, RwkvForCausalLM

    layers, width, hidden, vocabulary = shape
    config = RwkvConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        attention_hidden_size=width,
        intermediate_size=hidden,
        rescale_every=0,
        layer_norm_epsilon=1e-5,
        context_length=1024,
    )
    renamed = {}
    for name, tensor in torch.load(path, weights_only=True).items():
        name = name.replace("emb.", "embeddings.").replace(".ln0.", ".pre_ln.")
        name = name.replace(".att.", ".attention.").replace(".ffn.", ".feed_forward.")
        mix = re.search(r"(?<=time_mix_)[kvr]$", name)
        if mix:
            name = name[:-1] + {"k": "key", "v": "value", "r": "receptance"}[mix[0]]
        renamed[name if name == "head.weight" else f"rwkv.{name}"] = tensor
    model = RwkvForCausalLM(config)
    model.load_state_dict(renamed)
    return model.eval()


# transformers can't make a model of one layer: it divides by the number of layers - 1.
@pytest.mark.parametrize("shape", [*SHAPES.values()][1:], ids=[*SHAPES][1:])
def test_the_package_transformers_computes_the_same(shape, tmp_path, no_gradients):
    model, path = load(shape, tmp_path)
    theirs = transformers_model(path, shape)
    tokens = random_tokens(model, 2, 64)
    for length in (1, 2, 17, 64):
        # one text alone of one token: with more, it mixes the texts up
        some = tokens[: min(length, 2), :length]
        logits, after = model(some)
        result = theirs(some, use_cache=True)
        torch.testing.assert_close(logits, result.logits, rtol=1e-4, atol=1e-4)
        # its state: x_channel, x_time, num, den, log_scale, each (B,C,L)
        rows = [result.state[row].permute(0, 2, 1) for row in (1, 2, 3, 4, 0)]
        for row, state in zip(torch.stack(rows, dim=2), after, strict=True):
            assert_states_equal(state, row, 1e-4)
    their_state, state = None, None
    for t in range(64):
        result = theirs(tokens[:1, t : t + 1], state=their_state, use_cache=True)
        their_state = result.state
        logits, state = model.step(tokens[:1, t], state)
        torch.testing.assert_close(logits, result.logits[:, 0], rtol=1e-4, atol=1e-4)


# How a new model begins.


@pytest.mark.parametrize(
    ("layers", "width", "vocabulary", "millions"),
    [(12, 768, 50277, 169.342464), (24, 1024, 50277, 430.397440)],
)
def test_the_number_of_parameters_is_that_of_the_paper(
    layers, width, vocabulary, millions
):
    with torch.device("meta"):
        model = RWKV(Config(vocabulary, layers, width))
    found = sum(parameter.numel() for parameter in model.parameters())
    formula = (
        2 * vocabulary * width + 13 * width**2 * layers + width * (11 * layers + 4)
    )
    assert found == formula == round(millions * 1e6)


def test_a_new_model_begins_as_the_official_code_does():
    """Zeros, orthogonal matrices, decays, bonuses and mixes, by RWKV-LM's formulas."""
    torch.manual_seed(0)
    layers, width = 4, 32
    model = RWKV(Config(vocabulary=100, layers=layers, width=width))
    for number, block in enumerate(model.blocks):
        time, channel = block.time_mix, block.channel_mix
        for zero in (time.key, time.receptance, time.output):
            assert not zero.weight.any()
        assert not channel.receptance.weight.any() and not channel.value.weight.any()
        identity = torch.eye(width)
        torch.testing.assert_close(time.value.weight @ time.value.weight.T, identity)
        square = channel.key.weight.T @ channel.key.weight
        torch.testing.assert_close(square, 4 * identity, atol=1e-4, rtol=0)
        from_0_to_1, to_almost_0 = number / (layers - 1), 1 - number / layers
        for c in range(width):
            decay = -5 + 8 * (c / (width - 1)) ** (0.7 + 1.3 * from_0_to_1)
            zigzag = 0.5 * ((c + 1) % 3 - 1)
            mix = (c / width) ** to_almost_0
            found = [
                time.log_decay_rate[c],
                time.bonus[c],
                time.mix_key[c],
                time.mix_value[c],
                time.mix_receptance[c],
                channel.mix_key[c],
                channel.mix_receptance[c],
            ]
            wanted = [decay, np.log(0.3) + zigzag, mix, mix + 0.3 * from_0_to_1]
            wanted += [mix**0.5, mix, mix]
            np.testing.assert_allclose([x.item() for x in found], wanted, atol=1e-5)
        assert time.log_decay_rate.min() == -5 and time.log_decay_rate.max() == 3
    assert 0 < model.embedding.weight.abs().max() <= 1e-4
    square = model.head.weight.T @ model.head.weight  # (V,C) orthogonal, 0.5 sqrt(V/C)
    scale = 0.5**2 * 100 / width
    torch.testing.assert_close(square, scale * identity, atol=1e-4, rtol=0)
    for norm in (module for module in model.modules() if hasattr(module, "eps")):
        assert norm.eps == 1e-5 and (norm.weight == 1).all() and not norm.bias.any()


def test_each_parameter_is_its_own_and_gets_a_gradient():
    model = randomised(Config(vocabulary=13, layers=3, width=6))
    pointers = {parameter.data_ptr() for parameter in model.parameters()}
    assert len(pointers) == len(list(model.parameters()))
    _, gradients = loss_and_gradients(model, random_tokens(model, 2, 9))
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


# What is refused.


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"vocabulary": 1}, "vocabulary must be at least 2, got 1"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"width": 1}, "width must be at least 2, got 1"),
        ({"hidden": -4}, "hidden must be at least 1, got -4"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(sizes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**{"vocabulary": 5, "layers": 1, "width": 4} | sizes)


def test_hidden_channels_are_four_times_the_width_unless_told():
    assert Config(5, 1, 6).hidden == 24
    assert Config(5, 1, 6, 7).hidden == 7


def test_tokens_and_states_of_a_wrong_shape_are_refused():
    model = RWKV(Config(vocabulary=5, layers=2, width=4))
    for shape in ((3,), (1, 0), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"tokens must be \(B,T\)"):
            model(torch.zeros(shape, dtype=torch.int64))
    tokens = torch.zeros(3, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\(3, 2, 5, 4\), got \(1, 2, 5, 4\)"):
        model(tokens, model.initial_state())
    for token in (-1, 5):
        with pytest.raises(IndexError):
            model(torch.full((1, 1), token))


def test_a_loaded_model_has_the_shape_and_the_form_that_were_asked_for(tmp_path):
    model, path = load((2, 10, 24, 29), tmp_path, wkv=wkv_recurrent)
    assert model.config == Config(vocabulary=29, layers=2, width=10, hidden=24)
    assert all(block.time_mix.wkv is wkv_recurrent for block in model.blocks)
    tensors = torch.load(path, weights_only=True)
    state = model.state_dict()
    assert set(state) == set(map(our_name, tensors))
    for name, tensor in tensors.items():
        assert torch.equal(state[our_name(name)], tensor.squeeze())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    tensors["head.weight"][0, 0] = torch.nan
    torch.save(tensors, path)
    with pytest.raises(checkpoint.CheckpointError, match=r"head\.weight has NaN"):
        RWKV.load(path)
