"""What does a part of training do to the loss, over 200 steps and three seeds?

    python benchmarks/ablations.py [--tiny]

A small RWKV on the prose of this book, without one part or two, and without anything
missing. Each is tuned: it gets the learning rate with which it does best for the first
seed, and is compared at that. All are compared at the rate of `ablations.SMALL` as
well, which is tuned for none of them, and so are gradients that go back fewer tokens
than the window has. A row has the loss of every 10 steps, and at the end the loss on
sections that were held out. Runs with the same seed read the same bytes. No times are
recorded: it may run beside other programs. It takes ten minutes of a core, and goes on
where it was interrupted. --tiny runs a few steps of each variant and records nothing.
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
RATES = (0.008, 0.016, 0.032)
SEEDS = 3
TOGETHER = 10  # steps whose losses are averaged
HOLD_EACH_OTHER = ["small embedding", "clipping"]
VARIANTS = [[], *([part] for part in ablations.PARTS), HOLD_EACH_OTHER]
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
    """All variants at their best learning rates, and with cuts at that of `run`."""
    made = pieces.Pieces("ablations", asdict(run), lambda job: row_for(job, run))
    arms = [{"without": without, "through": None} for without in VARIANTS]
    found = made.compare(arms, rates, seeds, loss="held_out_loss")
    arms += [{"without": [], "through": through} for through in THROUGH]
    at_one_rate = [
        made.row({**arm, "learning_rate": run.learning_rate, "seed": seed})
        for seed, arm in product(range(seeds), arms)
    ]
    return found + [row for row in at_one_rate if row not in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    if tiny:
        rows(replace(RUN, steps=10, warm_up=1, width=8), RATES, seeds=1)
        return
    measure.record("ablations", "cpu", rows(), run=asdict(RUN), steps_together=TOGETHER)


if __name__ == "__main__":
    main()
