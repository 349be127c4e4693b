"""Which RWKV learns most from the same text, at the same size: 4, 5.2, 6 or 7?

    python benchmarks/version_comparison.py [--tiny] [--ship]

All are trained from nothing on the same windows of Shakespeare in the same order, with
parameters equal within 1 %: three layers of 64 channels, tables of 16 keys by 16
values, low ranks of 8, and as many hidden channels as are left. Each begins as its own
official code begins, with its own groups of learning rates, and gets the rate with
which it does best for one seed, a worse one on each side; then it is trained with other
seeds. Seeds of one number read the same text. It is judged by the loss on the
beginnings of three works that none has read, in windows as long as those of training.
It takes about half an hour of a core, and goes on where it was interrupted. --tiny
trains a few steps of each and records nothing. --ship puts the networks of seed 1 into
the book.
"""

import argparse
import json
import shutil
import statistics
from dataclasses import asdict, replace
from functools import cache

import measure
import pieces
import torch

from rwkv_book import checkpoint
from rwkv_book.labs import evaluation
from rwkv_book.rwkv4 import model as rwkv4
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv5 import model as rwkv5
from rwkv_book.rwkv6 import model as rwkv6
from rwkv_book.rwkv7 import model as rwkv7
from rwkv_book.text import corpora
from rwkv_book.training import VOCABULARY, Run, fit, join, make_optimizer

RUN = Run(layers=3, width=64, steps=400, batch=4, length=256, warm_up=40, head_size=16)
RATES = (8e-3, 1.6e-2)
SEEDS = 3
HELD_OUT = 24_576  # bytes of each held-out work
RANKS = {
    "6": {"shift_rank": 8, "decay_rank": 8},
    "7": {"decay_rank": 8, "rate_rank": 8, "value_rank": 8, "gate_rank": 8},
}
MODELS = {"4": rwkv4, "5.2": rwkv5, "6": rwkv6, "7": rwkv7}
FOLDER = pieces.RUNS / "version-comparison"
SHIPPED = measure.ROOT / "src" / "rwkv_book" / "models" / "generations"


def parameters(network):
    return sum(weights.numel() for weights in network.parameters())


def network(version, run, hidden=0):
    """An RWKV of a version before its first step."""
    module, shape = MODELS[version], (VOCABULARY, run.layers, run.width)
    if version == "4":
        return rwkv4.RWKV(rwkv4.Config(*shape, hidden), wkv_fused)
    sizes = {"head_size": run.head_size, **RANKS.get(version, {})}
    return module.RWKV(module.Config(*shape, hidden, **sizes))


@cache
def hidden_of(version, run):
    """The hidden channels with which it comes nearest to RWKV-4's parameters."""
    with torch.device("meta"):
        wanted = parameters(network("4", run))
        one, two = (parameters(network(version, run, hidden)) for hidden in (1, 2))
    return round((wanted - one) / (two - one)) + 1


def train(job, run):
    """A network and the loss before each of its steps."""
    rate = job["learning_rate"]
    run = replace(
        run,
        learning_rate=rate,
        final_learning_rate=rate / 20,
        seed=job["seed"],
        weight_decay=job.get("weight_decay", run.weight_decay),
    )
    torch.manual_seed(run.seed)
    model = network(job["version"], run, hidden_of(job["version"], run))
    optimizer = make_optimizer(model, run)
    for group in optimizer.param_groups:
        group["eps"] = job.get("eps", group["eps"])
    data = join(corpora.load(run.corpus).training)
    return model, [loss.item() for loss in fit(model, run, data, optimizer)]


def row(job, run, folder):
    """What is lost on held-out text, before and after; the weights go into a file."""
    works = corpora.load(run.corpus).validation
    works = {name: text[:HELD_OUT] for name, text in works.items()}
    torch.manual_seed(job["seed"])
    untrained = network(job["version"], run, hidden_of(job["version"], run))
    before, _ = evaluation.windowed_loss(untrained, works, run.length)
    model, losses = train(job, run)
    loss, per_work = evaluation.windowed_loss(model, works, run.length)
    every = max(1, len(losses) // 40)
    starts = range(0, len(losses) - every + 1, every)
    curve = [round(statistics.mean(losses[start:][:every]), 4) for start in starts]
    known = {"held-out loss": f"{loss:.4f} nats per byte in windows of {run.length}"}
    known |= {"run": json.dumps(asdict(run) | job), "command": "python " + COMMAND}
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(model.state_dict(), folder / file_name(job), "float16", known)
    return {
        "loss": round(loss, 4),
        "works": {name: round(nats, 4) for name, nats in per_work.items()},
        "untrained_loss": round(before, 4),
        "parameters": parameters(model),
        "hidden": hidden_of(job["version"], run),
        "every": every,
        "training_loss": curve,
    }


COMMAND = "benchmarks/version_comparison.py --ship"


def file_name(job):
    return "-".join(map(str, job.values())) + ".safetensors"


def kept(run, weights=FOLDER, folder=pieces.RUNS):
    """The rows that there are of a run, and those that are made when asked for."""
    settings = {**asdict(run), "ranks": RANKS, "held_out": HELD_OUT}
    return pieces.Pieces(
        "version-comparison", settings, lambda job: row(job, run, weights), folder
    )


def rows(made, tiny=False):
    """All versions, each at its best learning rate; a `tiny` run tunes nothing."""
    arms = [{"version": version} for version in MODELS]
    if tiny:
        return [made.row({**arm, "learning_rate": RATES[0], "seed": 0}) for arm in arms]
    return made.compare(arms, RATES, SEEDS, loss="loss")


def best_rows(found):
    """Those of seed 1, which exist at the best rate alone."""
    return [row for row in found if row["seed"] == 1]


def job_of(row):
    return {key: row[key] for key in ("version", "learning_rate", "seed")}


def ship(best):
    SHIPPED.mkdir(exist_ok=True)
    for row in best:
        to = SHIPPED / f"rwkv{row['version'][0]}.safetensors"
        shutil.copyfile(FOLDER / file_name(job_of(row)), to)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--ship", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.tiny:
        tiny = replace(RUN, steps=3, warm_up=1, width=16, length=32, head_size=8)
        rows(kept(tiny, FOLDER / "tiny"), tiny=True)
        return
    found = rows(kept(RUN))
    measure.record("version-comparison", "cpu", found, run=asdict(RUN), ranks=RANKS)
    if chosen.ship:
        ship(best_rows(found))


if __name__ == "__main__":
    main()
