"""Longer runs of a comparison: tuned again at their length, and each made once."""

from dataclasses import replace
from functools import partial

import longer_runs
from helpers.kept import all_in
from training_comparison import BUDGETS

tiny_rows = partial(
    longer_runs.rows, replace(BUDGETS["tiny"], held_out=512), corpus="prose"
)


def test_each_contender_is_tuned_around_the_rate_of_its_short_runs(tmp_path):
    found = tiny_rows(steps=5, seeds=2, most=3, folder=tmp_path)
    for name in longer_runs.CONTENDERS:
        own = [row for row in found if row["contender"] == name]
        rate = longer_runs.suited()[name]
        tried = [row["learning_rate"] for row in own if row["seed"] == 0]
        assert tried == [rate / 2, rate, 2 * rate]
        (more,) = (row for row in own if row["seed"] == 1)
        assert more["best"] and more["learning_rate"] in tried
        assert more["late_loss"] < more["training_loss"]["loss"][0]


def test_what_was_made_is_not_made_again(tmp_path):
    rows = partial(tiny_rows, steps=2, seeds=1, most=2, folder=tmp_path)
    found = rows()
    kept = all_in(tmp_path)
    assert rows() == found
    assert all_in(tmp_path) == kept
