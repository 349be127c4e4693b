"""What does a part of training do to the loss, over 200 steps and three seeds?

    python benchmarks/ablations.py [--tiny]

A small RWKV on the prose of this book, without one part, without two that hold each
other up, and without anything missing: each with three seeds, at the learning rate with
which it does best for a fourth one, seed 0, that is not compared. The same for
gradients that go back fewer tokens than the window has. Also with three seeds: all of
them at the rate of `ablations.SMALL`, which is tuned for none; what belongs to the
recipe at the rate that is best for the whole of it. A row has the loss of every 10
steps, and at the end the loss on sections that were held out. Runs with the same seed
read the same bytes. No times are recorded: it may run beside other programs. It takes
half an hour of a busy core, and goes on where it was interrupted. --tiny runs a few
steps of each variant and records nothing.
"""

import argparse
from dataclasses import asdict, replace
from itertools import product
from statistics import mean

import measure
import pieces
import torch

from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import corpora
from rwkv_book.training import ablations, held_out_loss

RUN = replace(ablations.SMALL, steps=200, warm_up=20)
RATES = (0.004, 0.008, 0.016, 0.032)
BEST = 0.016  # of RATES, for the whole recipe
SEEDS = 4  # the first chooses a rate, the others are compared
TOGETHER = 10  # steps whose losses are averaged
HOLD_EACH_OTHER = ["small embedding", "clipping"]
VARIANTS = [[], *([part] for part in ablations.PARTS)]
THROUGH = (1, 4, 16)


def row_for(job, run):
    rate = job["learning_rate"]
    run = replace(
        run, seed=job["seed"], learning_rate=rate, final_learning_rate=rate / 20
    )
    model, losses = ablations.learn(run, job["without"], job["through"], wkv_fused)
    held_out, _ = held_out_loss(model, corpora.load(run.corpus).validation)
    curve = [
        round(mean(losses[start : start + TOGETHER]), 4)
        for start in range(0, run.steps, TOGETHER)
    ]
    return {"held_out_loss": round(held_out, 4), "losses": curve}


def rows(run=RUN, rates=RATES, seeds=SEEDS):
    """All variants tuned, and at two rates that are the same for all."""
    variants = [{"without": without, "through": None} for without in VARIANTS]
    recipe = [arm for arm in variants if set(arm["without"]) <= set(ablations.RECIPE)]
    pair = {"without": HOLD_EACH_OTHER, "through": None}
    cut = [{"without": [], "through": through} for through in THROUGH]
    everything = [*variants, pair, *cut]
    made = pieces.Pieces("ablations", asdict(run), lambda job: row_for(job, run))
    found = made.compare(everything, rates, seeds, loss="held_out_loss")
    for rate, arms in ((run.learning_rate, everything), (BEST, recipe)):
        found += [
            made.row({**arm, "learning_rate": rate, "seed": seed})
            for arm, seed in product(arms, range(1, seeds))
        ]
    return [row for n, row in enumerate(found) if row not in found[:n]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    if tiny:
        rows(replace(RUN, steps=10, warm_up=1, width=8), RATES, seeds=2)
        return
    measure.record("ablations", "cpu", rows(), run=asdict(RUN), steps_together=TOGETHER)


if __name__ == "__main__":
    main()
