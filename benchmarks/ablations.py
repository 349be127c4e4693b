"""What does a part of training do to the loss, over 300 steps and three seeds?

    python benchmarks/ablations.py

Each row is a small RWKV on Python's documentation without one part, or without none:
the loss of every 20 steps, and at the end the loss on the topics that were held out.
Runs with the same seed read the same bytes. No times are recorded: it may run beside
other programs. It takes two minutes of a quiet core.
"""

from dataclasses import asdict, replace
from statistics import mean

import measure
import torch

from rwkv_book import ablations, corpora
from rwkv_book.fused import wkv_fused
from rwkv_book.training import held_out_loss

RUN = replace(ablations.SMALL, steps=300, warm_up=30)
SEEDS = 3
TOGETHER = 20  # steps whose losses are averaged


def row_for(part, seed):
    run = replace(RUN, seed=seed)
    without = () if part == "nothing" else (part,)
    model, losses = ablations.learn(run, without, wkv=wkv_fused)
    held_out, _ = held_out_loss(model, corpora.load(run.corpus).validation)
    curve = [
        round(mean(losses[start : start + TOGETHER]), 4)
        for start in range(0, run.steps, TOGETHER)
    ]
    return {
        "without": part,
        "seed": seed,
        "held_out_loss": round(held_out, 4),
        "losses": curve,
    }


def main():
    torch.set_num_threads(1)
    rows = []
    for seed in range(SEEDS):
        for part in ("nothing", *ablations.PARTS):
            rows.append(row_for(part, seed))
            print(part, seed, rows[-1]["held_out_loss"], flush=True)
    measure.record("ablations", "cpu", rows, run=asdict(RUN), steps_together=TOGETHER)


if __name__ == "__main__":
    main()
