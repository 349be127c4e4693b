"""The command that trains every version of RWKV, its record, and what it ships."""

from dataclasses import replace
from itertools import pairwise

import generations
import pytest
import torch

from rwkv_book import checkpoint, results
from rwkv_book.text import corpora
from rwkv_book.training import Run, read_model

MICRO = replace(
    generations.RUN, steps=3, warm_up=1, width=16, length=16, batch=1, head_size=8
)
CORPUS = corpora.Corpus(
    "micro",
    {"one": b"the cat sat on the mat; " * 9},
    {"two": b"a rose is a rose. " * 6},
)
every_version = pytest.mark.parametrize("version", generations.MODELS)


@every_version
def test_all_have_one_number_of_parameters(version):
    run = generations.RUN
    with torch.device("meta"):
        wanted = generations.parameters(generations.network("4", run))
        found = generations.network(version, run, generations.hidden_of(version, run))
    assert generations.parameters(found) == pytest.approx(wanted, rel=0.01)


def test_each_is_trained_and_kept_in_the_published_layout(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "load", lambda name: CORPUS)
    monkeypatch.setattr(generations.pieces, "RUNS", tmp_path / "runs")
    rows = generations.rows(MICRO, tmp_path, tiny=True)
    assert [row["version"] for row in rows] == list(generations.MODELS)
    for row in rows:
        job = {key: row[key] for key in ("version", "learning_rate", "seed")}
        report = checkpoint.inspect(tmp_path / generations.file_name(job))
        assert (report.version, report.loads) == (row["version"], True)
        assert report.metadata["held-out loss"].startswith(f"{row['loss']:.4f} nats")
        assert len(row["training_loss"]) == MICRO.steps
        assert row["loss"] != row["untrained_loss"]


def record():
    return results.of("generations")[-1]


@every_version
def test_every_rate_of_the_record_is_the_best_of_several(version):
    rows = [row for row in record()["rows"] if row["version"] == version]
    tried = {row["learning_rate"]: row["loss"] for row in rows if row["seed"] == 0}
    best = min(tried, key=tried.get)
    assert min(tried) < best < max(tried)
    seeds = {row["seed"] for row in rows if row["learning_rate"] == best}
    assert seeds == set(range(generations.SEEDS))
    for row in rows:
        assert row["loss"] < 0.5 * row["untrained_loss"]
        assert len(row["training_loss"]) * row["every"] == record()["run"]["steps"]


def test_all_read_the_same_bytes_with_as_many_parameters():
    assert Run(**record()["run"]) == generations.RUN
    counts = sorted({row["parameters"] for row in record()["rows"]})
    assert all(b <= 1.01 * a for a, b in pairwise(counts))


@every_version
def test_what_is_shipped_is_the_seed_that_its_record_names(version):
    """Its loss is that of the record, and it predicts."""
    path = checkpoint.shipped(f"generations/rwkv{version[0]}")
    (row,) = [r for r in record()["rows"] if (r["version"], r["seed"]) == (version, 1)]
    known = checkpoint.metadata(path)
    assert known["held-out loss"].startswith(f"{row['loss']:.4f} nats per byte")
    model = read_model(path)
    assert generations.parameters(model) == row["parameters"]
    prompt = torch.tensor([list(b"What is the matter, my lord? What is the ma")])
    with torch.no_grad():
        logits, _ = model(prompt)
    following = logits[0, :-1].log_softmax(-1).gather(-1, prompt[0, 1:, None])
    assert -following.mean() < 2.5  # nats a byte; untrained it is about 5.5
