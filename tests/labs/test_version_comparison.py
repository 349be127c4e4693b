"""The command that trains every version of RWKV, its record, and what it ships."""

import statistics
from dataclasses import replace
from itertools import pairwise

import official_optimizer
import pytest
import torch
import version_comparison

from rwkv_book import checkpoint, results
from rwkv_book.training import Run, read_model
from tools.contents import chapters
from tools.notebooks.plain_markdown import cells

MICRO = replace(
    version_comparison.RUN,
    steps=3,
    warm_up=1,
    width=16,
    length=16,
    batch=1,
    head_size=8,
)
TEXT = "the cat sat on the mat; a rose is a rose. " * 30
every_version = pytest.mark.parametrize("version", version_comparison.MODELS)


@every_version
def test_all_have_one_number_of_parameters(version):
    run = version_comparison.RUN
    with torch.device("meta"):
        wanted = version_comparison.parameters(version_comparison.network("4", run))
        found = version_comparison.network(
            version, run, version_comparison.hidden_of(version, run)
        )
    assert version_comparison.parameters(found) == pytest.approx(wanted, rel=0.01)


def test_each_is_trained_and_kept_in_the_published_layout(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    run = replace(MICRO, corpus=str(text))
    made = version_comparison.kept(run, tmp_path / "weights", tmp_path)
    rows = version_comparison.rows(made, tiny=True)
    assert [row["version"] for row in rows] == list(version_comparison.MODELS)
    for row in rows:
        job = version_comparison.job_of(row)
        report = checkpoint.inspect(
            tmp_path / "weights" / version_comparison.file_name(job)
        )
        assert (report.version, report.loads) == (row["version"], True)
        assert report.metadata["held-out loss"].startswith(f"{row['loss']:.4f} nats")
        assert len(row["training_loss"]) == MICRO.steps
        assert row["loss"] != row["untrained_loss"]


def record():
    return results.of("version-comparison")[-1]


def official():
    return results.of("official-optimizer")[-1]


@every_version
def test_every_rate_of_the_record_is_the_best_of_several(version):
    rows = [row for row in record()["rows"] if row["version"] == version]
    tried = {row["learning_rate"]: row["loss"] for row in rows if row["seed"] == 0}
    best = min(tried, key=tried.get)
    assert min(tried) < best < max(tried)
    seeds = {row["seed"] for row in rows if row["learning_rate"] == best}
    assert seeds == set(range(version_comparison.SEEDS))
    for row in rows:
        assert row["loss"] < 0.5 * row["untrained_loss"]
        assert len(row["training_loss"]) * row["every"] == record()["run"]["steps"]


def test_all_read_the_same_bytes_with_as_many_parameters():
    assert Run(**record()["run"]) == version_comparison.RUN
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
    assert version_comparison.parameters(model) == row["parameters"]
    prompt = torch.tensor([list(b"What is the matter, my lord? What is the ma")])
    with torch.no_grad():
        logits, _ = model(prompt)
    following = logits[0, :-1].log_softmax(-1).gather(-1, prompt[0, 1:, None])
    assert -following.mean() < 2.5  # nats a byte; untrained it is about 5.5


@pytest.mark.parametrize("version", official_optimizer.VERSIONS)
def test_with_the_official_optimizer_it_ends_where_it_did(version):
    """Seed by seed, on one machine, at the best rate; zero lies in an interval that is
    not wide."""
    rows = [row for row in record()["rows"] if row["version"] == version]
    (best,) = (row["learning_rate"] for row in rows if row["seed"] == 1)
    arms = {name: {} for name in official_optimizer.OPTIMIZERS}
    for row in official()["rows"]:
        if row["version"] == version:
            arms[row["optimizer"]][row["seed"]] = row
    ours, theirs = arms["ours"], arms["official"].values()
    assert [row["seed"] for row in theirs] == list(range(version_comparison.SEEDS))
    for row in theirs:
        assert row.items() >= official_optimizer.OFFICIAL.items()
        same = "learning_rate", "parameters", "untrained_loss"
        assert all(row[name] == ours[row["seed"]][name] for name in same)
        assert row["learning_rate"] == best
    more = [row["loss"] - ours[row["seed"]]["loss"] for row in theirs]
    half = 4.303 * statistics.stdev(more) / len(more) ** 0.5
    assert 0 < abs(statistics.mean(more)) < half < 0.02
    assert f"RWKV-{version}, at the same rate and seeds, ends where it did" in chapter()


def chapter():
    """The words of chapter 13 in one line."""
    (path,) = (path for path in chapters() if path.stem.startswith("13"))
    return " ".join(" ".join(cell.source for cell in cells(path)).split())


def times(question):
    """The newest record's rows, by all that is said in words; made on two cores."""
    newest = results.of(question)[-1]
    assert newest["threads"] == 2
    return {
        tuple(told for told in row.values() if isinstance(told, str)): row
        for row in newest["rows"]
    }


def test_chapter_13_tells_times_as_they_were_recorded():
    package, training = times("generation-rwkv-7"), times("training-versions")
    text = chapter()
    assert "on two cores" in text
    assert package["model, fused", "prompt of 1024"]["× rwkv"] < 0.5
    assert "reads the prompt in less than half of the package's time" in text
    assert 1.05 < package["minimal", "generating"]["× rwkv"] < 1.15
    assert "the hundred lines take about a tenth longer than the package" in text
    assert package["rwkv", "generating"]["× floor"] < 1.25
    assert "which is near the floor" in text
    longer = [training[f"RWKV-{x} fused",]["× RWKV-4"] for x in ("5.2", "6", "7")]
    assert longer == pytest.approx([4 / 3, 1.5, 1.5], abs=0.05)
    assert "RWKV-5.2 takes a third longer than one of RWKV-4" in text
    assert "a step of RWKV-6 or RWKV-7 half as long again" in text
    longest = {
        row["model"]: row for row in results.of("training-versions")[-1]["growth"]
    }
    recurrent = [row for name, row in longest.items() if name != "GPT"]
    assert {row["T"] for row in recurrent} == {65_536}
    for row in recurrent:
        assert abs(row["exponent"] - 1) < 0.05, row
    assert longest["GPT"]["exponent"] > 1.4
    assert "time grows as the text does, up to 65,536 tokens" in text
