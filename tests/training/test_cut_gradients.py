"""The command that compares cut gradients with those of other windows; its record."""

from dataclasses import replace

import cut_gradients
import numpy as np
import pytest
from helpers.kernels import needs_compiler

from rwkv_book import results


@needs_compiler
def test_a_row_cuts_the_gradient_of_one_batch_and_looks_at_another():
    run = replace(cut_gradients.RUN, steps=3, warm_up=1, batch=2, length=64, width=8)
    row = cut_gradients.row_for({"seed": 1, "pair": 0}, run)
    assert row["errors"]["decay rates"][0] == 1
    assert not any(row["errors"]["head"])
    assert row["errors"]["all parameters"][-1] == 0  # 64 of 64 tokens: all of it
    assert row["cosines"][-1] == 1 > row["cosines"][0] > 0
    assert abs(row["other_batch"]) < 0.999


def test_the_record_says_of_gradients_what_the_page_says():
    record = results.of("cut-gradients")[-1]
    rows = record["rows"]
    assert [(r["seed"], r["pair"]) for r in rows] == [
        (seed, pair) for seed in range(3) for pair in range(7)
    ]
    errors = {
        group: np.array([row["errors"][group] for row in rows])
        for group in cut_gradients.GROUPS
    }
    assert (errors["decay rates"][:, 0] == 1).all() and not errors["head"].any()
    # From four tokens on what remembers is twice as far off, keys and rates alike.
    means = {group: found.mean(0) for group, found in errors.items()}
    for group in ("decay rates", "keys"):
        assert means[group][2:] / means["all parameters"][2:] == pytest.approx(
            2, abs=0.3
        )
    assert means["keys"][2:] == pytest.approx(means["decay rates"][2:], rel=0.12)
    assert [round(means[g][-1], 2) for g in ("all parameters", "keys")] == [0.06, 0.14]
    # No two batches are alike, and a gradient cut after four tokens is nearly whole.
    assert max(abs(row["other_batch"]) for row in rows) < 0.2
    assert min(row["cosines"][2] for row in rows) > 0.9
