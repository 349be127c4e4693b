"""The command that compares the contenders, and the records that it left."""

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import training_comparison
from helpers.contenders import contender
from torch.nn.modules.module import register_module_forward_pre_hook

from rwkv_book import training
from rwkv_book.labs import contenders
from rwkv_book.labs.contenders import NAMES
from rwkv_book.rwkv4 import model
from rwkv_book.text import corpora

MICRO = training_comparison.Budget(
    layers=1,
    width=8,
    batch=2,
    length=16,
    steps={"short": 4, "long": 6},
    rates=(1e-3, 2e-3, 4e-3),
    tuning_steps=5,
    seeds=2,
    longer_seeds=1,
    longest=32,
    stretches=2,
)
COMPARED = [name for name in NAMES if name not in training_comparison.TUNED_ONLY]
CORPUS = corpora.Corpus(
    "micro",
    {"one": b"the cat sat on the mat; " * 9},
    {"two": b"a rose is a rose. " * 6},
)


class Watched(training_comparison.Comparison):
    """A comparison that tells what it trained, and in which unit it is interrupted."""

    interrupted_in = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.trained = []

    def try_rate(self, name, rate):
        self.trained.append(("tuning", name, rate))
        return super().try_rate(name, rate)

    def compare(self, length, name, rate, seed):
        self.trained.append((length, name, seed))
        found = super().compare(length, name, rate, seed)
        if (length, name, seed) == self.interrupted_in:
            raise KeyboardInterrupt  # at the last moment: it isn't kept yet
        return found


def comparison(folder, budget=MICRO, of=training_comparison.Comparison):
    return of(budget, folder, CORPUS, model.wkv_chunked)


def results(units):
    """What the last of them reports, but for times."""
    *_, (tuned, rows) = units
    return tuned, [
        {key: value for key, value in row.items() if not re.search("second|time", key)}
        for row in rows
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, results(comparison(folder).all_units())


def test_an_interrupted_comparison_goes_on_and_ends_in_the_same_numbers(
    tmp_path, uninterrupted
):
    """Interrupted in the second of the networks that are compared."""
    first, second, *others = COMPARED
    one = comparison(tmp_path, of=Watched)
    one.interrupted_in = ("short", second, 0)
    with pytest.raises(KeyboardInterrupt):
        results(one.all_units())
    assert (tmp_path / f"short-{first}-0.json").exists()
    assert not (tmp_path / f"short-{second}-0.json").exists()
    finished = (tmp_path / f"short-{first}-0.json").read_bytes()
    other = comparison(tmp_path, of=Watched)
    assert results(other.all_units()) == uninterrupted[1]
    assert (tmp_path / f"short-{first}-0.json").read_bytes() == finished
    assert other.trained == [
        *(("short", name, 0) for name in (second, *others)),
        *(("short", name, 1) for name in COMPARED),
        *(("long", name, 0) for name in training_comparison.LONGER),
    ]


def test_a_folder_of_another_budget_is_refused(uninterrupted):
    other = replace(MICRO, length=8)
    with pytest.raises(SystemExit, match="another budget"):
        results(comparison(uninterrupted[0], other).all_units())


def test_more_seeds_go_on_from_the_fewer(uninterrupted):
    more = comparison(uninterrupted[0], replace(MICRO, longer_seeds=2))
    _, rows = results(more.all_units())
    seeds = {row["length"]: len(row["held_out_loss"]["seeds"]) for row in rows}
    assert seeds == {"short": 2, "long": 2}


def test_a_comparison_out_of_time_begins_no_run_and_keeps_what_is_there(
    tmp_path, uninterrupted
):
    late = training_comparison.Comparison(
        MICRO, tmp_path, CORPUS, model.wkv_chunked, minutes=0
    )
    with pytest.raises(training_comparison.OutOfTime):
        results(late.all_units())
    assert not list(tmp_path.iterdir())
    late = training_comparison.Comparison(
        MICRO, uninterrupted[0], CORPUS, model.wkv_chunked, minutes=0
    )
    assert results(late.all_units()) == uninterrupted[1]


class Untrained(training_comparison.Comparison):
    """One is best at 0.008 and the others at 0.002, from 0.001 to 0.004."""

    def try_rate(self, name, rate):
        return abs(math.log(rate / (8e-3 if name == "aft" else 2e-3)))


def test_a_grid_grows_for_all_until_no_best_is_at_its_edge(tmp_path):
    tuned = comparison(tmp_path, of=Untrained).tune()
    assert {tuple(tried) for tried in tuned.values()} == {
        (1e-3, 2e-3, 4e-3, 8e-3, 16e-3)
    }


def test_a_rate_at_which_the_loss_explodes_is_no_best(tmp_path):
    one = comparison(tmp_path)
    with pytest.raises(FloatingPointError):
        run = MICRO.run(5, 1e30, 0)
        training_comparison.train("rwkv", run, one.data, one.wkv, "cpu")
    assert one.try_rate("rwkv", 1e30) > 50


def test_the_optimizer_has_the_betas_of_gpt_and_decays_matrices_alone():
    run = MICRO.run(10, 1e-3, 0)
    optimizer = training_comparison.optimizer_of(contender("gpt-rotary"), run)
    groups = optimizer.param_groups
    assert [group["betas"] for group in groups] == [(0.9, 0.95)] * 2
    assert {group["weight_decay"] for group in groups} == {0.1, 0.0}
    assert training_comparison.recipe(run)["weight_decay"] == 0.1


def test_a_row_holds_every_seed_its_mean_and_its_error(uninterrupted):
    _, (tuned, rows) = uninterrupted
    assert [(row["length"], row["contender"]) for row in rows] == [
        *(("short", name) for name in COMPARED),
        *(("long", name) for name in training_comparison.LONGER),
    ]
    for row in rows:
        assert len(row["by_position"]) == len(row["held_out_loss"]["seeds"])
        if row["length"] == "long":
            continue
        one, other = row["held_out_loss"]["seeds"]
        assert one != other
        assert row["held_out_loss"]["mean"] == pytest.approx((one + other) / 2)
        assert row["held_out_loss"]["standard_error"] == pytest.approx(
            abs(one - other) / 2
        )
        assert row["learning_rate"] == min(
            tuned[row["contender"]], key=tuned[row["contender"]].get
        )


def test_all_contenders_read_the_same_bytes_in_the_same_order(tmp_path):
    compared, read = comparison(tmp_path), {name: [] for name in NAMES}
    for name in NAMES:
        run = MICRO.run(4, 1e-3, 1)
        network = type(contender(name))

        def watch(module, arguments, name=name, network=network):
            if isinstance(module, network):
                read[name].append(arguments[0].clone())

        hook = register_module_forward_pre_hook(watch)
        training_comparison.train(name, run, compared.data, compared.wkv, "cpu")
        hook.remove()
    first, *others = read.values()
    assert len(first) == run.steps and not torch.equal(first[0], first[1])
    for other in others:
        assert all(map(torch.equal, first, other)) and len(other) == run.steps


def test_counting_is_judged_by_what_followed_in_the_training_text():
    """After `a` came b three times of four, and one part in 256 of one more."""
    data = training.join({"one": b"abababac"})
    loss = training_comparison.counting_loss(data, {"two": b"ab"}, before=1)
    first = (1 + 1 / 256) / (1 + 1)  # a text begins once, with an a
    wanted = -math.log((3 + 1 / 256) / (4 + 1)) - math.log(first)
    assert loss == pytest.approx(wanted / 2)


# What was recorded.

RESULTS = Path(training_comparison.__file__).parent / "results"
RECORDS = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(RESULTS.glob("training-comparison-*.json"))
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["device"])
def test_a_record_is_of_the_command_as_it_is_now(record):
    budget = asdict(training_comparison.BUDGETS[record["budget"]])
    assert record["plan"] == json.loads(json.dumps(budget))
    for row in record["rows"]:
        plan = record["plan"]
        size = model.Config(training.VOCABULARY, plan["layers"], plan["width"])
        shape = contenders.shape(row["contender"], size, plan["length"])
        assert row["shape"] == asdict(shape)
        assert row["parameters"] == contenders.parameters_of(row["contender"], shape)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["device"])
def test_a_record_has_every_contender_and_seed(record):
    plan, rows = record["plan"], record["rows"]
    short = [row for row in rows if row["length"] == "short"]
    assert [row["contender"] for row in short] == COMPARED
    for row in rows:
        losses = row["held_out_loss"]["seeds"]
        wanted = plan["seeds" if row in short else "longer_seeds"]
        assert len(set(losses)) == len(row["training_loss"]) == wanted
        assert row["held_out_loss"] == training_comparison.over_seeds(losses)
    assert plan["seeds"] >= 3


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["device"])
def test_every_rate_of_a_record_is_between_two_that_were_tried(record):
    for name, tried in record["tuning"].items():
        best = min(tried, key=tried.get)
        assert min(map(float, tried)) < float(best) < max(map(float, tried)), name
        for row in record["rows"]:
            if row["contender"] == name:
                assert row["learning_rate"] == float(best)


@pytest.mark.parametrize("name", contenders.SHIPPED)
def test_the_shipped_contenders_are_those_of_a_record(name):
    stated = float(contenders.metadata(name)["held-out loss"].split()[0])
    recorded = [
        row["held_out_loss"]["seeds"][0]
        for record in RECORDS
        for row in record["rows"]
        if (record["budget"], row["length"], row["contender"]) == ("cpu", "short", name)
    ]
    assert any(loss == pytest.approx(stated, abs=6e-5) for loss in recorded)
