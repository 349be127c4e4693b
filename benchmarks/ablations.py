"""What does a part of training do to the loss, over 200 steps and three seeds?

    python benchmarks/ablations.py

Each row is a small RWKV on the prose of this book without one part, or with a gradient
that goes back fewer tokens than the window has, or without anything missing; the recipe
also at four times the learning rate. It has the loss of every 10 steps, and at the end
the loss on sections that were held out. Runs with the same seed read the same bytes. No
times are recorded: it may run beside other programs. It takes two minutes of a quiet
core, and records what it has after every seed.
"""

from dataclasses import asdict, replace
from statistics import mean

import measure
import torch

from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import corpora
from rwkv_book.training import ablations, held_out_loss

RUN = replace(ablations.SMALL, steps=200, warm_up=20)
SEEDS = 3
TOGETHER = 10  # steps whose losses are averaged
FASTER = 4  # times the learning rate
VARIANTS = [  # without, through, times the learning rate
    *((part, None, 1) for part in (None, *ablations.PARTS)),
    *((None, through, 1) for through in (1, 4, 16)),
    *((part, None, FASTER) for part in (None, *ablations.RECIPE)),
]


def row_for(without, through, faster, seed):
    rates = RUN.learning_rate * faster, RUN.final_learning_rate * faster
    run = replace(RUN, seed=seed, learning_rate=rates[0], final_learning_rate=rates[1])
    parts = () if without is None else (without,)
    model, losses = ablations.learn(run, parts, through, wkv_fused)
    held_out, _ = held_out_loss(model, corpora.load(run.corpus).validation)
    curve = [
        round(mean(losses[start : start + TOGETHER]), 4)
        for start in range(0, run.steps, TOGETHER)
    ]
    return {
        "without": without,
        "through": through,
        "learning_rate": rates[0],
        "seed": seed,
        "held_out_loss": round(held_out, 4),
        "losses": curve,
    }


def main():
    torch.set_num_threads(1)
    rows = []
    for seed in range(SEEDS):
        for variant in VARIANTS:
            rows.append(row_for(*variant, seed))
            print(*variant, seed, rows[-1]["held_out_loss"], flush=True)
        measure.record(
            "ablations", "cpu", rows, run=asdict(RUN), steps_together=TOGETHER
        )


if __name__ == "__main__":
    main()
