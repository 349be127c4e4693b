"""Training: the same run gives the same weights, however often it is interrupted."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny_run import (
    RUN,
    TINY,
    assert_same_weights,
    checkpoint_of,
    export,
    losses,
    train,
    weights,
)
from torch.nn.functional import cross_entropy

from rwkv_book import checkpoint, training
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import wkv_chunked, wkv_recurrent, wkv_scan
from rwkv_book.text import END_OF_TEXT, corpora
from rwkv_book.training import Run

# What a step reads, and how fast it learns.


def test_the_end_of_text_stands_around_each_work():
    data = training.join({"one": b"ab", "two": b"c"})
    assert data.dtype == np.uint8 and data.tolist() == [0, 97, 98, 0, 99, 0]
    assert END_OF_TEXT == 0


def test_windows_depend_on_the_seed_and_the_step_alone():
    data = training.join({"one": bytes(range(1, 256)) * 4})
    inputs, targets = training.windows(data, RUN, step=3)
    np.random.default_rng(0).random(100)
    torch.manual_seed(9)
    again, _ = training.windows(data, RUN, step=3)
    assert inputs.shape == targets.shape == (4, 16) and inputs.dtype == torch.int64
    assert torch.equal(inputs, again)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    for other in (
        training.windows(data, RUN, step=4),
        training.windows(data, replace(RUN, seed=6), step=3),
    ):
        assert not torch.equal(inputs, other[0])


def test_windows_begin_everywhere_and_end_with_the_last_byte():
    data = np.arange(20, dtype=np.uint8)
    starts, ends = set(), set()
    for step in range(100):
        inputs, targets = training.windows(data, RUN, step)
        assert torch.equal(targets, inputs + 1)
        starts |= set(inputs[:, 0].tolist())
        ends |= set(targets[:, -1].tolist())
    assert starts == {0, 1, 2, 3} and ends == {16, 17, 18, 19}


def test_a_corpus_shorter_than_a_window_is_refused():
    with pytest.raises(ValueError, match="16 bytes has no window of 17: lower length"):
        training.windows(np.zeros(16, np.uint8), RUN, step=0)
    training.windows(np.zeros(17, np.uint8), RUN, step=0)


def test_the_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine():
    run = Run(steps=111, warm_up=10, learning_rate=1.0, final_learning_rate=0.2)
    rates = [training.learning_rate(run, step) for step in range(111)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == 1.0 and rates[60] == pytest.approx(0.6)
    assert rates[110] == pytest.approx(0.2)
    expected = 0.6 + 0.4 * math.cos(math.pi * 25 / 100)
    assert rates[35] == pytest.approx(expected)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    steady = Run(steps=1, warm_up=0, learning_rate=0.5)
    assert training.learning_rate(steady, 0) == 0.5


def test_weight_decay_shrinks_matrices_and_no_vectors():
    torch.manual_seed(0)
    model = RWKV(Config(256, 2, 8))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    before = weights(model)
    run = replace(RUN, learning_rate=0.5, weight_decay=0.1)
    training.make_optimizer(model, run).step()
    for name, after in weights(model).items():
        factor = 0.95 if before[name].ndim == 2 else 1.0
        torch.testing.assert_close(after, factor * before[name])


def test_gradients_are_clipped():
    torch.manual_seed(0)
    model = RWKV(Config(256, 1, 8))
    run = replace(RUN, clip=1e-3)
    optimizer = training.make_optimizer(model, run)
    data = training.join({"one": bytes(range(1, 256))})
    loss = training.training_step(
        model, optimizer, *training.windows(data, run, 0), run, step=0
    )
    squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
    assert sum(squares).sqrt() == pytest.approx(1e-3, rel=1e-3)
    assert loss.item() == pytest.approx(math.log(256), rel=0.05)
    assert not loss.requires_grad


# The loop.


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_loss_falls(tmp_path, bfloat16):
    run = replace(
        RUN, steps=80, batch=4, length=32, learning_rate=0.02, bfloat16=bfloat16
    )
    _, log = train(run, tmp_path, report=20, evaluate=40)
    found = [entry["loss"] for entry in log]
    assert found == sorted(found, reverse=True) and found[-1] < 0.5
    assert log[-1]["held_out_loss"] < 2 < math.log(256)


def test_a_run_can_be_repeated(tmp_path):
    first, log = train(RUN, tmp_path / "one", report=4, evaluate=6)
    second, again = train(RUN, tmp_path / "two", report=4, evaluate=6)
    assert_same_weights(weights(first), weights(second))
    assert losses(log) == losses(again)
    other, _ = train(replace(RUN, seed=6), tmp_path / "three")
    name = "head.weight"
    assert not torch.equal(weights(first)[name], weights(other)[name])


def test_the_log_says_what_was_seen(tmp_path):
    model, log = train(RUN, tmp_path, report=5, evaluate=6)
    assert json.loads((tmp_path / "log.json").read_text()) == log
    assert [entry["step"] for entry in log] == [5, 6, 10, 12]
    assert ["held_out_loss" in entry for entry in log] == [False, True, False, True]
    assert all(entry["bytes_per_second"] > 0 for entry in log)
    loss, per_work = training.held_out_loss(model, TINY.validation)
    assert log[-1]["held_out_loss"] == loss
    assert log[-1]["held_out_works"] == per_work
    saved = json.loads((tmp_path / "run.json").read_text())
    assert saved.pop("corpus_digest") == TINY.digest
    assert Run(**saved) == RUN


@pytest.mark.parametrize("stops", [[1], [6], [7], [2, 5, 1, 3]])
def test_a_run_in_parts_ends_in_the_same_weights(tmp_path, stops):
    whole, log = train(RUN, tmp_path / "whole", report=1, evaluate=4)
    for stop in stops:
        train(RUN, tmp_path / "parts", report=1, evaluate=4, stop_after=stop)
    parts, log_of_parts = train(RUN, tmp_path / "parts", report=1, evaluate=4)
    assert_same_weights(weights(whole), weights(parts))
    assert losses(log) == losses(log_of_parts)
    moments = [
        checkpoint_of(tmp_path / name)["optimizer"] for name in ("whole", "parts")
    ]
    for number, state in moments[0]["state"].items():
        for name, values in state.items():
            assert torch.equal(values, moments[1]["state"][number][name])


def test_a_run_that_has_ended_is_not_trained_further(tmp_path):
    model, log = train(RUN, tmp_path)
    again, same_log = train(RUN, tmp_path)
    assert_same_weights(weights(model), weights(again))
    assert log == same_log


def spoiling(step, layers=2):
    """The operator, which gives NaN from a step on."""
    calls = 0

    def wkv(*arguments):
        nonlocal calls
        calls += torch.is_grad_enabled()
        averages, state = wkv_chunked(*arguments)
        return averages * (math.nan if calls > layers * step else 1), state

    return wkv


def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(tmp_path):
    train(RUN, tmp_path, evaluate=4, stop_after=4)
    saved = (tmp_path / "checkpoint.pt").read_bytes()
    for report in (1, 100):
        with pytest.raises(FloatingPointError, match=r"loss is nan.*learning_rate"):
            train(RUN, tmp_path, spoiling(2), report=report, evaluate=4)
        assert (tmp_path / "checkpoint.pt").read_bytes() == saved


def test_weights_that_are_no_numbers_are_not_kept_by_the_clock(tmp_path):
    with pytest.raises(FloatingPointError):
        train(RUN, tmp_path, spoiling(7), report=100, keep_every=0)
    kept = checkpoint_of(tmp_path)
    assert kept["step"] == 7
    assert all(tensor.isfinite().all() for tensor in kept["model"].values())


def test_a_learning_rate_that_is_far_too_high_is_reported(tmp_path):
    run = replace(RUN, steps=40, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train(run, tmp_path, report=5)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_any_form_of_the_operator_trains_the_same_model(tmp_path):
    model, _ = train(RUN, tmp_path / "chunked")
    for wkv in (wkv_recurrent, wkv_scan):
        other, _ = train(RUN, tmp_path / wkv.__name__, wkv=wkv)
        for name, tensor in weights(model).items():
            torch.testing.assert_close(
                other.state_dict()[name], tensor, atol=1e-3, rtol=0
            )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0, "layers": -1}, "layers must be above 0; steps must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0"),
        ({"learning_rate": math.inf}, "learning_rate must be above 0"),
        ({"clip": 0.0}, "clip must be above 0"),
        ({"weight_decay": -0.1}, "weight_decay must not be below 0"),
        ({"seed": -1}, "seed must not be below 0"),
        ({"warm_up": 12}, "warm_up must be from 0 to 11, one below steps"),
        ({"warm_up": -1}, "warm_up must be from 0 to 11"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(RUN, **changes)


# What the model is worth, and what is kept of it.


def direct_loss(model, text):
    """All bytes of a text at once: the sum of their losses in nats."""
    tokens = torch.tensor([END_OF_TEXT, *text])
    logits, _ = model(tokens[None, :-1])
    return cross_entropy(logits[0], tokens[1:], reduction="sum").item()


@pytest.mark.parametrize("piece", [1, 7, 18, 4096])
def test_the_held_out_loss_is_that_of_reading_each_work_from_its_beginning(piece):
    torch.manual_seed(0)
    model = RWKV(Config(256, 2, 8)).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    works = TINY.validation
    loss, per_work = training.held_out_loss(model, works, piece)
    nats = {name: direct_loss(model, text) for name, text in works.items()}
    # losses are summed in float32
    for name, text in works.items():
        assert per_work[name] == pytest.approx(nats[name] / len(text), rel=1e-5)
    total = sum(nats.values()) / sum(map(len, works.values()))
    assert loss == pytest.approx(total, rel=1e-5)


def test_the_exported_file_is_a_published_one_and_says_what_it_is_worth(tmp_path):
    model, _ = train(RUN, tmp_path)
    path = tmp_path / "model.safetensors"
    loss = export(model, RUN, path, "the command")
    report = checkpoint.inspect(path)
    assert (report.version, report.dtypes, report.deviations) == ("4", ("float16",), ())
    assert report.metadata["held-out loss"] == f"{loss:.4f} nats per byte"
    assert report.metadata["held-out works"] == "three, four"
    assert report.metadata["command"] == "the command"
    assert Run(**json.loads(report.metadata["run"])) == RUN
    rounded = RWKV.load(path)
    assert loss == training.held_out_loss(rounded, TINY.validation)[0]
    for name, tensor in rounded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].half().float())


def test_works_of_no_length_and_no_works_have_no_held_out_loss():
    model = RWKV(Config(256, 1, 8))
    with pytest.raises(ValueError, match="no work is held out"):
        training.held_out_loss(model, {})
    with pytest.raises(ValueError, match=r"empty works are held out \(two\)"):
        training.held_out_loss(model, {"one": b"a", "two": b""})


def test_the_held_out_loss_leaves_a_model_in_training():
    model = RWKV(Config(256, 1, 8))
    for mode in (True, False):
        model.train(mode)
        training.held_out_loss(model, TINY.validation)
        assert model.training is mode


def test_a_quick_gpt_learns_and_is_the_same_again():
    run = replace(RUN, steps=60, learning_rate=2e-2)
    model, losses = training.quick_gpt(run, 2, TINY)
    again, _ = training.quick_gpt(run, 2, TINY)
    assert_same_weights(weights(model), weights(again))
    assert len(losses) == 60 and losses[0] == pytest.approx(math.log(256), abs=0.05)
    assert sum(losses[-5:]) / 5 < 3
    other, _ = training.quick_gpt(replace(run, seed=6), 2, TINY)
    assert not torch.equal(other.embedding.weight, model.embedding.weight)


def test_a_quick_gpt_reads_the_corpus_that_its_run_names():
    assert training.QUICK_GPT.corpus == "shakespeare"
    run = replace(training.QUICK_GPT, corpus="prose", steps=21)
    model, losses = training.quick_gpt(run)
    assert losses == training.quick_gpt(run, corpus=corpora.load("prose"))[1]
    assert losses[-1] < losses[0] - 1 and model.config.context is None
