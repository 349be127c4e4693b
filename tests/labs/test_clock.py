"""The channels that follow a line, and the record of what happens without them."""

from itertools import pairwise

import interventions
import numpy as np
import pytest
import torch

from rwkv_book import checkpoint, results
from rwkv_book.labs import clock
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.model import RWKV


def test_a_column_counts_from_the_last_line_break():
    assert clock.columns("ab\nc\n\nde").tolist() == [1, 2, 0, 1, 0, 0, 1, 2]


def test_a_correlation_is_that_of_numpy_and_0_for_a_channel_that_stands_still(params):
    text = "My lord,\nthe ships are come.\n"
    found = clock.follows(text, params)
    weights, place = clock.log_weights(text, params), clock.columns(text)
    for layer, channel in (0, 3), (2, 133):
        wanted = np.corrcoef(place, weights[:, layer, channel])[0, 1]
        assert found[layer, channel] == pytest.approx(wanted, abs=1e-6)
    still = {name: np.zeros_like(values) for name, values in params.items()}
    for layer in range(4):
        still[f"blocks.{layer}.time_mix.log_decay_rate"] += 9
    assert not clock.follows(text, still).any()


def test_a_silenced_channel_reaches_nothing_and_the_old_parameters_stay(params):
    name = "blocks.1.time_mix.output.weight"
    silent = clock.silenced(params, [(1, 5), (1, 7)])
    assert not silent[name][:, [5, 7]].any() and params[name][:, [5, 7]].all()
    rest = [c for c in range(256) if c not in (5, 7)]
    assert np.array_equal(silent[name][:, rest], params[name][:, rest])
    assert all(silent[n] is values for n, values in params.items() if n != name)


def test_others_are_as_many_in_the_same_layers_and_none_of_them():
    channels = [(0, 1), (2, 3), (2, 4)]
    for seed in range(20):
        drawn = clock.others(channels, 8, np.random.default_rng(seed))
        assert sorted(layer for layer, _ in drawn) == [0, 2, 2]
        assert len(set(drawn)) == 3 and not set(drawn) & set(channels)


# --- the record -----------------------------------------------------------------------


@torch.no_grad()
def test_the_command_measures_what_minimal_measures(params):
    """On a few bytes: each row's loss, and weights that are put back."""
    text = clock.PASSAGE.encode()
    tokens = interventions.stretches({"ours": text}, count=2, length=40)
    model = RWKV.load(checkpoint.shipped())
    before = {name: values.clone() for name, values in model.state_dict().items()}
    rows, channels = interventions.look(
        model, interventions.first_params(params), params, tokens, draws=1
    )
    for name, values in model.state_dict().items():
        assert torch.equal(values, before[name]), name
    silent = clock.silenced(params, channels)
    found = [nats(piece, params) for piece in tokens.tolist()]
    without = [nats(piece, silent) for piece in tokens.tolist()]
    by_name = {row["change"]: row for row in rows}
    assert by_name["none"]["all"] == pytest.approx(np.mean(found), abs=1e-3)
    assert by_name["clock"]["all"] == pytest.approx(np.mean(without), abs=1e-3)
    moved = np.sum(without, axis=1) - np.sum(found, axis=1)  # of each stretch
    by_stretch = by_name["clock"]["nats by stretch"]
    assert np.sum(list(by_stretch.values()), axis=0) == pytest.approx(moved, abs=0.02)
    assert sum(row["change"] == "no look back" for row in rows) == 4
    name = "blocks.1.channel_mix.value.weight"
    without = {**params, name: np.zeros_like(params[name])}
    found = [nats(piece, without) for piece in tokens.tolist()]
    (row,) = (r for r in rows if (r.get("part"), r.get("layer")) == ("channel", 1))
    assert row["all"] == pytest.approx(np.mean(found), abs=1e-3)


def nats(tokens, params):
    state, found = minimal.initial_state(params), []
    for token, following in pairwise(tokens):
        logits, state = minimal.step(token, state, params)
        found.append(np.logaddexp.reduce(logits.astype(float)) - logits[following])
    return found


def test_the_record_says_what_chapter_5_says():
    (record,) = results.of("interventions")
    assert record["bytes"] == 24_576 and len(record["channels"]) == 12

    def rows(change):
        return [row for row in record["rows"] if row["change"] == change]

    # Silencing the clock makes line breaks harder, far beyond any random draw.
    (clock_row,) = rows("clock")
    drawn = rows("other channels")
    assert len(drawn) == 12
    for kind, factor in ("breaks", 4), ("others", 4):
        most = max(abs(row[f"{kind} moved"]) for row in drawn)
        assert clock_row[f"{kind} moved"] > factor * most
        assert clock_row[f"{kind} moved"] > clock_row[f"{kind} give or take"]
    # The best one is missed, one other is not.
    (one,), other = rows("one channel"), rows("other channel")
    assert len(other) == 12 and one["breaks moved"] > one["breaks give or take"]
    assert one["breaks moved"] > 10 * max(abs(row["breaks moved"]) for row in other)
    # Ten times as much for a byte, and less than a third of it in all.
    (none,) = rows("none")
    hurt = {kind: clock_row[kind] - none[kind] for kind in ("breaks", "others")}
    assert 9 < hurt["breaks"] / hurt["others"] < 11
    counts = {"breaks": record["line_breaks"]}
    counts["others"] = record["bytes"] - counts["breaks"]
    nats = {kind: counts[kind] * hurt[kind] for kind in counts}
    assert 0.25 < nats["breaks"] / sum(nats.values()) < 1 / 3
    for kind, lost in clock_row["nats by stretch"].items():
        assert sum(lost) == pytest.approx(nats[kind], abs=3)
    # No single sublayer holds the rest up.
    without = [row["all moved"] for row in rows("no sublayer")]
    assert len(without) == 8 and min(without) > 0
    # What training did to the mixes is worth a few hundredths at most.
    (cut,), (first,) = rows("mixes from 0 to 1"), rows("first mixes")
    assert abs(cut["all moved"]) < cut["all give or take"]
    assert first["all moved"] + first["all give or take"] < 0.07
    # Looking back is worth most in layer 0, and less in every layer after it.
    apart = [row["all moved"] for row in rows("no look back")]
    assert apart == sorted(apart, reverse=True) and apart[0] > 1 and apart[-1] > 0
    # When a gate opens matters.
    (held,), (stirred,) = rows("gates at their means"), rows("gates of other moments")
    assert held["all give or take"] < held["all moved"] < stirred["all moved"]
