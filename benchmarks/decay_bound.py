"""What does a bound on the decay cost RWKV-7's rule on parity?

    python benchmarks/decay_bound.py [--tiny]

The body and the rule are one_family.py's, on its parity task, and nothing changes but
how much of a channel each token keeps at least: nothing, 0.05, 0.3, or the 0.545 of
published models. Every bound gets the same learning rates and seeds, and every run is
recorded, so that nobody's best is picked. Seeds of one number read the same texts.
It takes a quarter of an hour of a core, and goes on where it was interrupted. --tiny
trains a few steps and records nothing.
"""

import math

import measure
import one_family
import pieces

from rwkv_book.labs import bench
from rwkv_book.labs.tasks import TEST_SEED, TESTED_TEXTS, tasks

TASK, RULE = tasks()["parity"], "RWKV-7"
BOUNDS = (0.0, 0.05, 0.3, math.exp(-math.exp(-0.5)))
RATES = (0.009, 0.027, 0.081)
SEEDS = 6
COMMAND = "python benchmarks/decay_bound.py"


def row(job):
    network = one_family.for_a_lab(TASK, RULE, job["seed"], job["keeps"])
    rate, seed = job["learning_rate"], job["seed"]
    return bench.taught(network, TASK, rate, seed, job["steps"])


def rows(steps=TASK.steps, rates=RATES, seeds=SEEDS, folder=pieces.RUNS):
    """Every bound at every learning rate with every seed."""
    settings = {"task": TASK.name, "rule": RULE, "test": [TEST_SEED, TESTED_TEXTS]}
    made = pieces.Pieces("decay-bound", settings, row, folder)
    return [
        made.row({"keeps": keeps, "steps": steps, "learning_rate": rate, "seed": seed})
        for keeps in BOUNDS
        for rate in rates
        for seed in range(seeds)
    ]


def main():
    if measure.tiny(__doc__):
        rows(steps=3, seeds=1)
    else:
        measure.record("decay-bound", "cpu", rows(), command=COMMAND)


if __name__ == "__main__":
    main()
