"""Longer runs of a comparison: tuned again at their length, and each made once."""

from dataclasses import replace

import longer_runs
import pytest
from training_comparison import BUDGETS

from rwkv_book.text import corpora


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    prose = corpora.load("prose")
    monkeypatch.setattr(longer_runs.pieces, "RUNS", tmp_path)
    monkeypatch.setattr(longer_runs.corpora, "load", lambda name: prose)
    budget = replace(BUDGETS["tiny"], held_out=512)
    monkeypatch.setattr(longer_runs, "BUDGET", budget)


def test_each_contender_is_tuned_around_the_rate_of_its_short_runs(tiny):
    found = longer_runs.rows(steps=5, seeds=2, most=3)
    for name in longer_runs.CONTENDERS:
        own = [row for row in found if row["contender"] == name]
        rate = longer_runs.suited()[name]
        tried = [row["learning_rate"] for row in own if row["seed"] == 0]
        assert tried == [rate / 2, rate, 2 * rate]
        (more,) = (row for row in own if row["seed"] == 1)
        assert more["best"] and more["learning_rate"] in tried
        assert more["late_loss"] < more["training_loss"]["loss"][0]


def test_what_was_made_is_not_made_again(tiny, monkeypatch):
    found = longer_runs.rows(steps=2, seeds=1, most=2)
    monkeypatch.setattr(longer_runs, "row", None)
    assert longer_runs.rows(steps=2, seeds=1, most=2) == found
