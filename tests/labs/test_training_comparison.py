"""The command that compares the contenders, and the records that it left."""

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import training_comparison
from helpers.contenders import contender, every_contender
from torch.nn.modules.module import register_module_forward_pre_hook

from rwkv_book import training
from rwkv_book.labs import contenders
from rwkv_book.labs.contenders import NAMES
from rwkv_book.rwkv4 import model
from rwkv_book.text import corpora

MICRO = training_comparison.Budget(
    sizes={"smaller": (1, 8), "larger": (1, 16)},
    steps=4,
    batch=2,
    length=16,
    rates=(1e-3, 1e-2),
    tuning_steps=5,
    seeds=2,
    longest=32,
    stretches=2,
)
CORPUS = corpora.Corpus(
    "micro",
    {"one": b"the cat sat on the mat; " * 9},
    {"two": b"a rose is a rose. " * 6},
)


def comparison(folder, budget=MICRO):
    wkv = model.wkv_chunked
    return training_comparison.Comparison(budget, folder, CORPUS, wkv)


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
    tmp_path, monkeypatch, uninterrupted
):
    """Interrupted in the second of two networks that are compared."""
    real, calls = training_comparison.fit, []

    def counted(network, run, data):
        for loss in real(network, run, data):
            calls.append(run.seed)
            if calls.count(0) == MICRO.steps + 2:
                raise KeyboardInterrupt
            yield loss

    monkeypatch.setattr(training_comparison, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        results(comparison(tmp_path).all_units())
    assert (tmp_path / "smaller-rwkv-0.json").exists()
    assert not (tmp_path / "smaller-lstm-0.json").exists()
    finished = (tmp_path / "smaller-rwkv-0.json").read_bytes()
    calls.clear()
    calls.extend([0] * 1000)  # no second interruption
    assert results(comparison(tmp_path).all_units()) == uninterrupted[1]
    assert (tmp_path / "smaller-rwkv-0.json").read_bytes() == finished
    units = len(NAMES) * len(MICRO.sizes)
    assert calls.count(0) == 1000 + (units - 1) * MICRO.steps
    assert training_comparison.TUNING_SEED not in calls


def test_a_folder_of_another_budget_is_refused(uninterrupted):
    other = replace(MICRO, steps=5)
    with pytest.raises(SystemExit, match="another budget"):
        results(comparison(uninterrupted[0], other).all_units())


def test_a_row_holds_every_seed_its_mean_and_its_error(uninterrupted):
    _, (tuned, rows) = uninterrupted
    assert [(row["size"], row["contender"]) for row in rows] == [
        (size, name) for size in MICRO.sizes for name in NAMES
    ]
    for row in rows:
        one, other = row["held_out_loss"]["seeds"]
        assert one != other
        assert row["held_out_loss"]["mean"] == pytest.approx((one + other) / 2)
        assert row["held_out_loss"]["standard_error"] == pytest.approx(
            abs(one - other) / 2
        )
        assert row["learning_rate"] == min(
            tuned[row["contender"]], key=tuned[row["contender"]].get
        )
        assert (row["by_position"][0] is None) == (row["size"] == "smaller")


def test_all_contenders_read_the_same_bytes_in_the_same_order(tmp_path):
    compared, read = comparison(tmp_path), {name: [] for name in NAMES}
    for name in NAMES:
        run = MICRO.run("larger", 1e-3, 1)
        network = type(contender(name))

        def watch(module, arguments, name=name, network=network):
            if isinstance(module, network):
                read[name].append(arguments[0].clone())

        hook = register_module_forward_pre_hook(watch)
        training_comparison.train(name, run, compared.data, compared.wkv, "cpu")
        hook.remove()
    first, *others = read.values()
    assert len(first) == MICRO.steps and not torch.equal(first[0], first[1])
    for other in others:
        assert all(map(torch.equal, first, other)) and len(other) == MICRO.steps


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
    plan = json.dumps(asdict(training_comparison.BUDGETS[record["budget"]]))
    assert record["plan"] == json.loads(plan)
    for row in record["rows"]:
        layers, width = record["plan"]["sizes"][row["size"]]
        size = model.Config(training.VOCABULARY, layers, width)
        length = record["plan"]["length"]
        shape = contenders.shape(row["contender"], size, length)
        assert row["shape"] == asdict(shape)
        assert row["parameters"] == contenders.parameters_of(row["contender"], shape)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["device"])
def test_a_record_has_every_contender_size_and_seed(record):
    plan, rows = record["plan"], record["rows"]
    pairs = {(row["size"], row["contender"]) for row in rows}
    assert pairs == {(size, name) for size in plan["sizes"] for name in NAMES}
    for row in rows:
        losses = row["held_out_loss"]["seeds"]
        assert len(set(losses)) == len(row["training_loss"]) == plan["seeds"] >= 3
        assert row["held_out_loss"] == training_comparison.over_seeds(losses)


@every_contender
def test_the_shipped_contenders_are_those_of_a_record(name):
    stated = float(contenders.metadata(name)["held-out loss"].split()[0])
    recorded = [
        row["held_out_loss"]["seeds"][0]
        for record in RECORDS
        for row in record["rows"]
        if (record["budget"], row["size"], row["contender"]) == ("cpu", "larger", name)
    ]
    assert any(loss == pytest.approx(stated, abs=6e-5) for loss in recorded)
