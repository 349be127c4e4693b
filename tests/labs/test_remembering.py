"""What is asked was said; a start sets the decay rates; the records fit the page."""

import math
from dataclasses import replace
from statistics import mean

import ablations
import decay_start
import pieces
import pytest
import torch
import weight_decay
from helpers.kernels import needs_compiler

from rwkv_book import results
from rwkv_book.labs import remembering
from rwkv_book.labs.remembering import ASK, LETTERS, SAY, STARTS, UNASKED

TINY = replace(remembering.SMALL, steps=3, warm_up=1, batch=2, length=208, width=8)


def test_every_answer_was_said_at_its_distance_and_nothing_since():
    asked = remembering.questions(3, 4, 300, longest=60)
    rows, places = torch.nonzero(asked.distances, as_tuple=True)
    assert len(rows) > 20
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        text = asked.inputs[row].tolist()
        said = place + 1 - asked.distances[row, place].item()  # targets are one later
        assert text[place] == ASK and text[said - 1] == SAY
        assert text[said] == asked.targets[row, place]
        assert all(token < LETTERS for token in text[said:place])


def test_only_answers_are_learned():
    asked = remembering.questions(0, 8, 256)
    assert torch.equal(asked.targets == UNASKED, asked.distances == 0)
    assert asked.distances.max() > 64 and asked.distances[asked.distances > 0].min() < 8


def test_the_same_seed_asks_the_same():
    one, same, other = (remembering.questions(s, 2, 64, 32) for s in (5, 5, 6))
    assert torch.equal(one.inputs, same.inputs)
    assert not torch.equal(one.inputs, other.inputs)


def test_a_text_in_letters():
    assert remembering.in_letters([SAY, 2, 0, 1, ASK, 2]) == "!cab?c"


@pytest.mark.parametrize("start", STARTS)
def test_a_start_changes_decay_rates_alone(start):
    usual = remembering.first_model(run=TINY)
    begun = remembering.first_model(STARTS[start], TINY)
    for name, weights in usual.named_parameters():
        same = torch.equal(weights, begun.get_parameter(name))
        assert same == ("log_decay" not in name or start == "of all kinds"), name
    rates = torch.cat([b.time_mix.log_decay_rate for b in begun.blocks]).exp()
    half_lives = math.log(2) / rates
    assert half_lives.min() > 0.03 and half_lives.max() < 104
    if start.startswith("all "):
        wanted = torch.full_like(half_lives, float(start.removeprefix("all ")))
        assert torch.allclose(half_lives, wanted, rtol=1e-3)


def test_a_model_learns_to_answer():
    _, losses = remembering.learn(run=replace(TINY, steps=30, learning_rate=0.05))
    assert losses[0] == pytest.approx(math.log(10), abs=0.3)
    assert losses[-1] < math.log(LETTERS) + 0.1  # no mark is an answer


def test_a_text_that_may_ask_nothing_is_refused():
    with pytest.raises(ValueError, match="length must be at least 201, got 200"):
        remembering.questions(0, 1, 200)


def test_answers_are_those_that_are_asked():
    model, _ = remembering.learn(run=TINY)
    asked = remembering.questions(1, 3, 80, 60)
    distances, nats, right = remembering.answers(model, asked)
    assert len(distances) == len(nats) == len(right) == (asked.distances > 0).sum()
    assert nats.mean() == pytest.approx(math.log(10), abs=0.3)


def test_reach_is_how_long_a_louder_key_stays_louder():
    model, _ = remembering.learn(run=TINY)
    asked = remembering.questions(1, 3, 80, 60)
    found = remembering.reach(model, asked)
    assert found.shape == (2, TINY.width)
    keys = []
    layer = model.blocks[0].time_mix
    layer.key.register_forward_hook(lambda *call: keys.append(call[-1].detach()))
    with torch.no_grad():
        model(asked.inputs)
    key, text = keys[0][..., 3], asked.inputs
    said = torch.zeros_like(text, dtype=torch.bool)
    said[:, 1:] = text[:, :-1] == SAY
    between = (text < LETTERS) & ~said
    louder = key[said].mean() - key[between].mean()
    rate = layer.log_decay_rate[3].exp()
    assert found[0, 3].item() == pytest.approx((louder / rate).item(), rel=1e-4)


def test_a_comparison_tunes_each_arm_and_goes_on_where_it_stopped(tmp_path):
    made = []

    def make(job):
        made.append(job)
        return {"loss": abs(job["learning_rate"] - 0.02 * job["arm"])}

    def rows():
        kept = pieces.Pieces("test", {}, make, tmp_path)
        return kept.compare([{"arm": 1}, {"arm": 2}], (0.01, 0.02), 3, "loss")

    found = rows()
    for arm in (1, 2):
        best = {row["seed"] for row in found if row["loss"] == 0 and row["arm"] == arm}
        others = [row for row in found if row["loss"] > 0 and row["arm"] == arm]
        assert best == {0, 1, 2} and {row["seed"] for row in others} == {0}
    count = len(made)
    assert rows() == found and len(made) == count


def test_pieces_of_another_processor_are_kept_apart(tmp_path):
    def first_of(processor):
        def make(job):
            return {"made on": processor}

        kept = pieces.Pieces("test", {}, make, tmp_path, processor)
        return kept.row({"seed": 0})["made on"]

    found = [first_of(processor) for processor in ("one", "other", "one")]
    assert found == ["one", "other", "one"]


@needs_compiler
@pytest.mark.parametrize(
    ("benchmark", "job"),
    [
        (ablations, {"without": ["clipping"], "through": 4}),
        (weight_decay, {"weight_decay": 1.0}),
    ],
    ids=lambda given: getattr(given, "__name__", None),
)
def test_a_row_is_a_run_that_was_tried_on_text(benchmark, job):
    run = replace(benchmark.RUN, steps=10, warm_up=1, batch=2, length=16, width=8)
    row = benchmark.row_for({**job, "learning_rate": 0.01, "seed": 1}, run)
    assert 4.5 < row["held_out_loss"] < 5.6


@needs_compiler
@pytest.mark.parametrize("task", ["recall", "text"])
def test_a_start_is_tried_on_both_tasks(task):
    run = {"recall": decay_start.RECALL, "text": decay_start.TEXT}[task]
    run = replace(run, steps=3, warm_up=1, batch=1, width=8)
    job = {"task": task, "start": "all 10", "learning_rate": 1e-3, "seed": 1}
    row = decay_start.MAKE[task](job, run)
    assert row["loss"] == pytest.approx(
        math.log(10 if task == "recall" else 256), abs=0.4
    )
    assert 9 < row["longest_half_life"] < 11


def test_a_search_goes_on_until_the_best_rate_is_inside(tmp_path):

    def make(job):
        return {"loss": abs(math.log(job["learning_rate"] / 0.06))}

    made = pieces.Pieces("test", {}, make, tmp_path)
    rows = made.tune({"arm": 1}, (0.01, 0.02), "loss")
    assert [row["learning_rate"] for row in rows] == [0.01, 0.02, 0.04, 0.08, 0.16]


@pytest.mark.parametrize(("task", "seeds"), [("recall", 6), ("text", 5)])
def test_every_start_of_the_record_was_tuned_and_has_its_seeds(task, seeds):
    record = results.of("decay-start")[-1]
    starts = {}
    for row in record["rows"]:
        if row["task"] == task:
            starts.setdefault(row["start"], []).append(row)
    assert set(starts) == set(STARTS)
    for rows in starts.values():
        tried = {r["learning_rate"]: r["loss"] for r in rows if r["seed"] == 0}
        best = min(tried, key=tried.get)
        assert min(tried) < best < max(tried)
        found = {r["seed"] for r in rows if r["learning_rate"] == best}
        assert found == set(range(seeds))


def test_the_record_says_of_recall_what_the_page_says():
    """Of the seeds that are compared, which that of the tuning is not."""
    rows = {}
    for row in results.of("decay-start")[-1]["rows"]:
        if row["task"] == "recall":
            rows.setdefault((row["start"], row["learning_rate"]), []).append(row)
    best = {
        start: min(
            (found for (name, _), found in rows.items() if name == start),
            key=lambda found: min(row["loss"] for row in found if row["seed"] == 0),
        )
        for start in STARTS
    }
    best = {start: [r for r in rows if r["seed"]] for start, rows in best.items()}
    worst = {start: min(min(r["right"]) for r in best[start]) for start in STARTS}
    assert {len(found) for found in best.values()} == {5}
    assert 0.9 < worst["by chance"] < worst["of all kinds"] < 0.92
    for start in ("of all kinds", "by chance"):
        assert 1 <= sum(row["right"][3] < 0.95 for row in best[start]) <= 2
    assert worst["all 10"] > 0.98
    assert all(row["right"][0] < row["right"][3] for row in best["all 100"])
    well = [row for row in best["all 1"] if min(row["right"]) > 0.95]
    (badly,) = (row for row in best["all 1"] if row not in well)
    assert badly["right"][:3] == [1, 1, 1] and badly["right"][3] < 0.5
    assert badly["reach"] == 152
    assert sorted(row["reach"] for row in well) == [181, 209, 219, 221]
    assert max(row["longest_half_life"] for row in best["all 1"]) <= 2.5


def test_the_record_says_of_text_what_the_page_says():
    record = results.of("decay-start")[-1]["rows"]
    loss = {
        start: mean(
            row["loss"]
            for row in record
            if (row["task"], row["start"], row["learning_rate"])
            == ("text", start, 0.016)
            and row["seed"] > 0
        )
        for start in STARTS
    }
    more = {start: found - loss["of all kinds"] for start, found in loss.items()}
    assert abs(more["by chance"]) < 0.01
    assert -0.02 < more["all 1"] < -0.01
    assert 0.08 < more["all 10"] < 0.1 < more["all 100"] < 0.13
