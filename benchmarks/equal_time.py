"""In equal time, is it a draw between RWKV and the LSTM? Three more seeds say.

    python benchmarks/equal_time.py [--tiny]

`training_comparison.py` gave the LSTM the time of RWKV's 400 steps, which is 1,000 of
its own, with three seeds, and their difference could not be told from zero. Here both
are trained as there, at the rates of its record, with three seeds that it has not seen,
and read two texts: the beginnings of the three plays, as there, and the bytes that
follow on them.
It takes six minutes of a quiet core, and goes on where it was interrupted. --tiny
trains a few steps of each and records nothing.
"""

from dataclasses import asdict
from functools import partial

import measure
import pieces
from longer_runs import suited
from training_comparison import BUDGETS, train

from rwkv_book.labs import evaluation
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import corpora
from rwkv_book.training import join

BUDGET = BUDGETS["cpu"]
STEPS = {"rwkv": BUDGET.steps["short"], "lstm": BUDGET.steps["long"]}
SEEDS = (3, 4, 5)  # 0 to 2 are those of training_comparison.py
COMMAND = "python benchmarks/equal_time.py"


def row(job, budget, data, texts):
    run = budget.run(job["steps"], job["learning_rate"], job["seed"])
    network, _ = train(job["contender"], run, data, wkv_fused, "cpu")
    return {
        name: round(evaluation.windowed_loss(network, works, run.length)[0], 4)
        for name, works in texts.items()
    }


def rows(
    budget=BUDGET, corpus="shakespeare", steps=STEPS, seeds=SEEDS, folder=pieces.RUNS
):
    corpus, long = corpora.load(corpus), budget.held_out
    starts = {"held_out_loss": 0, "further_on_loss": long}
    texts = {
        name: {work: text[n : n + long] for work, text in corpus.validation.items()}
        for name, n in starts.items()
    }
    make = partial(row, budget=budget, data=join(corpus.training), texts=texts)
    made, rate = pieces.Pieces("equal-time", asdict(budget), make, folder), suited()
    return [
        made.row(
            {"contender": name, "steps": steps[name]}
            | {"learning_rate": rate[name], "seed": seed}
        )
        for seed in seeds
        for name in steps
    ]


def main():
    if measure.tiny(__doc__):
        rows(steps={"rwkv": 3, "lstm": 5}, seeds=SEEDS[:1])
    else:
        measure.record("equal-time", "cpu", rows(), command=COMMAND)


if __name__ == "__main__":
    main()
