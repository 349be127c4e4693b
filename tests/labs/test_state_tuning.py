"""The command that tunes a first state beside other ways, and its record."""

from dataclasses import replace

import pytest
import state_tuning
import torch
from helpers.kept import all_in

from rwkv_book import results
from rwkv_book.training import Run

MICRO = replace(
    state_tuning.RUN, steps=2, warm_up=1, batch=1, length=24, bfloat16=False
)
ARMS = ["nothing", *state_tuning.PREPARE, "prompt"]


def test_no_section_is_on_two_sides():
    learned, choosing, held_out = map(set, state_tuning.sections())
    assert not learned & choosing and not held_out & (learned | choosing)
    assert len(learned) > 10 * len(choosing) > 50


def test_windows_follow_each_other_and_begin_with_the_state():
    model = state_tuning.shipped()
    works = {"one": b"What is the matter, my lord?", "two": b"The same."}
    nats = state_tuning.nats_of(model, works, 8)
    data = [0, *works["one"], 0, *works["two"], 0]
    assert nats.shape == ((len(data) - 1) // 8, 8)
    with torch.no_grad():
        logits, state = model(torch.tensor([data[8:16]]))
    wanted = -logits[0].log_softmax(1).gather(1, torch.tensor(data[9:17])[:, None])
    torch.testing.assert_close(nats[1], wanted[:, 0], rtol=1e-4, atol=1e-4)
    begun = state_tuning.nats_of(model, works, 8, state)
    with torch.no_grad():
        logits, _ = model(torch.tensor([data[:8]]), state)
    wanted = -logits[0].log_softmax(1).gather(1, torch.tensor(data[1:9])[:, None])
    torch.testing.assert_close(begun[0], wanted[:, 0], rtol=1e-4, atol=1e-4)


def test_positions_are_means_by_hand():
    nats = torch.arange(512.0).expand(3, -1)
    assert state_tuning.by_position(nats) == [7.5, 39.5, 127.5, 351.5]


def test_every_way_is_tried_and_kept(tmp_path):
    rows = state_tuning.rows(MICRO, tiny=True, folder=tmp_path)
    assert [row["arm"] for row in rows] == ARMS
    numbers = {row["arm"]: row["numbers"] for row in rows}
    assert numbers["nothing"] == numbers["prompt"] == 0
    assert numbers["first state"] == 4 * 4 * 64 * 64
    assert len({row["loss"] for row in rows}) == len(rows)
    kept = all_in(tmp_path)
    assert state_tuning.rows(MICRO, tiny=True, folder=tmp_path) == rows
    assert all_in(tmp_path) == kept  # a second time nothing is made


def record():
    return results.of("state-tuning")[-1]


def test_the_record_is_of_the_run_and_the_model_that_are_here():
    assert Run(**record()["run"]) == state_tuning.RUN
    assert record()["weights"] == state_tuning.checkpoint.metadata(
        state_tuning.checkpoint.shipped("shakespeare7")
    )


@pytest.mark.parametrize("arm", state_tuning.PREPARE)
def test_every_rate_of_the_record_is_the_best_of_several(arm):
    rows = [row for row in record()["rows"] if row["arm"] == arm]
    tried = {
        row["learning_rate"]: row["tuning_loss"] for row in rows if not row["seed"]
    }
    best = min(tried, key=tried.get)
    assert min(tried) < best < max(tried)
    seeds = {row["seed"] for row in rows if row["learning_rate"] == best}
    assert seeds == set(range(state_tuning.SEEDS))


def test_prompts_of_every_length_were_read():
    rows = [row for row in record()["rows"] if row["arm"] == "prompt"]
    found = {(row["bytes"], row["seed"]) for row in rows}
    assert len(found) == len(state_tuning.PROMPTS) * state_tuning.SEEDS
