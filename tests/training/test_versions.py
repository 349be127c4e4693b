"""A run trains the version that it asks for, and everything of a run goes with it."""

import json
from dataclasses import replace

import pytest
import torch
from helpers.kernels import needs_compiler
from helpers.tiny_run import (
    RUN,
    assert_same_weights,
    export,
    losses,
    train,
    weights,
)

from rwkv_book import __main__, checkpoint, training
from rwkv_book.rwkv7.minimal import initial_state, step

LATER = [
    replace(RUN, version=version, width=16, head_size=8)
    for version in ("5.2", "6", "7")
]
by_version = pytest.mark.parametrize("run", LATER, ids=lambda run: run.version)


@by_version
def test_it_learns_and_its_file_is_what_it_learned(run, tmp_path):
    model, log = train(run, tmp_path, report=4, evaluate=6)
    assert log[-1]["held_out_loss"] < log[0]["loss"]
    loss = export(model, run, tmp_path / "model.safetensors", "")
    assert loss == pytest.approx(log[-1]["held_out_loss"], abs=0.01)
    report = checkpoint.inspect(tmp_path / "model.safetensors")
    assert (report.version, report.heads, report.deviations) == (run.version, 2, ())
    assert json.loads(report.metadata["run"])["version"] == run.version


@by_version
def test_a_run_that_was_stopped_ends_in_the_same_weights(run, tmp_path):
    whole, _ = train(run, tmp_path / "whole")
    for _ in range(3):
        parts, _ = train(run, tmp_path / "parts", stop_after=5)
    assert_same_weights(weights(whole), weights(parts))


@needs_compiler
@by_version
def test_the_compiled_operator_trains_the_same_model(run, tmp_path):
    _, log = train(run, tmp_path / "one", report=1)
    fast = training.fast_wkv(run.version)
    _, found = train(run, tmp_path / "two", wkv=fast, report=1)
    assert losses(found) == pytest.approx(losses(log), abs=1e-4)


@by_version
def test_decay_learns_faster_and_only_matrices_are_pulled_to_zero(run):
    model = training.new_model(run)
    names = {weights: name for name, weights in model.named_parameters()}
    faster = "decay_bias" if run.version == "7" else "log_decay_rate"
    seen = set()
    for group in training.make_optimizer(model, run).param_groups:
        for parameter in group["params"]:
            name = names[parameter]
            seen.add(name)
            assert (group["rate"] == 2) == name.endswith(faster), name
            matrix = name.endswith(".weight") and "norm" not in name
            assert (group["weight_decay"] > 0) == matrix, name
    assert seen == set(names.values())


def test_the_rate_of_a_step_is_a_multiple_where_a_group_says_so():
    run = LATER[-1]
    model = training.new_model(run)
    optimizer = training.make_optimizer(model, run)
    inputs = torch.ones(1, 5, dtype=torch.long)
    training.training_step(model, optimizer, inputs, inputs, run, 4)
    rate = training.learning_rate(run, 4)
    rates = {group["rate"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {1.0: rate, 2.0: 2 * rate}


def test_a_run_from_before_there_were_versions_goes_on_as_rwkv4(tmp_path):
    train(RUN, tmp_path, stop_after=3)
    path = tmp_path / "run.json"
    asked = json.loads(path.read_text())
    del asked["version"], asked["head_size"]
    path.write_text(json.dumps(asked))
    train(RUN, tmp_path)
    with pytest.raises(ValueError, match="holds a run with version 4"):
        train(replace(RUN, version="7", head_size=8), tmp_path)


def test_a_version_that_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"one of 4, 5.2, 6, 7, got 8"):
        replace(RUN, version="8")


def test_the_command_trains_a_rwkv7_that_writes(tmp_path, capsys):
    text = tmp_path / "own.txt"
    text.write_text("a rose is a rose is a rose\n" * 400)
    command = (
        f"train --version 7 --head-size 8 --width 16 --layers 2 --steps 3 --warm-up 1 "
        f"--batch 2 --length 16 --corpus {text} --folder {tmp_path / 'run'}"
    )
    __main__.main(command.split())
    path = tmp_path / "run" / "model.safetensors"
    params = checkpoint.load(path)
    assert checkpoint.version_of(params) == "7"
    logits, _ = step(97, initial_state(params), params)
    model = training.read_model(path)
    found, _ = model(torch.tensor([[97]]))
    torch.testing.assert_close(
        found[0, 0].detach(), torch.from_numpy(logits), rtol=0, atol=1e-5
    )
    __main__.main(["generate", "--model", str(path), "--length", "5"])
    assert len(capsys.readouterr().out) > 5


def test_heads_that_do_not_fill_the_width_leave_no_folder(tmp_path):
    with pytest.raises(ValueError, match="make width a multiple of head_size"):
        train(replace(RUN, version="7"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
