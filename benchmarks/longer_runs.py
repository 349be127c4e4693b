"""Does a transformer, or an LSTM, catch up with RWKV when there is more to read?

    python benchmarks/longer_runs.py [--tiny]

Networks, text and recipe are those of training_comparison.py with its budget "cpu"; the
runs are five times as long, 2 million bytes of a text of 4.7. A rate that suits a short
run may be too high for a long one, so each is tuned again, at the full length: seed 0
at the rate of its short runs, at half of that and at twice, and further until the best
has a worse one on each side, judged by the loss on the last fifth of the run. At the
best rate it is then trained with two more seeds. Beside the loss on works that nobody
trained on, the record keeps the training loss over the run, so that one sees whether
the curves meet.
It takes forty minutes of a quiet core, and goes on where it was interrupted. --tiny
trains a few steps of each and records nothing.
"""

import statistics
from dataclasses import asdict
from functools import partial

import measure
import pieces
from training_comparison import BUDGETS, thinned, train

from rwkv_book import results
from rwkv_book.labs import evaluation
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import corpora
from rwkv_book.training import join

BUDGET = BUDGETS["cpu"]
CONTENDERS = ("rwkv", "gpt-rotary", "lstm")
STEPS, SEEDS, POINTS = 2000, 3, 40
COMMAND = "python benchmarks/longer_runs.py"


def row(job, budget, data, works):
    run = budget.run(job["steps"], job["learning_rate"], job["seed"])
    network, losses = train(job["contender"], run, data, wkv_fused, "cpu")
    held_out, _ = evaluation.windowed_loss(network, works, run.length)
    return {
        "late_loss": round(statistics.mean(losses[-max(1, run.steps // 5) :]), 4),
        "held_out_loss": round(held_out, 4),
        "training_loss": thinned(losses, POINTS),
    }


def suited():
    """{contender: its best learning rate in the short runs}, from their record."""
    recorded = results.of("training-comparison")
    tuning = next(each for each in recorded if each["budget"] == "cpu")["tuning"]
    return {name: float(min(tuning[name], key=tuning[name].get)) for name in tuning}


def rows(
    budget=BUDGET, corpus="shakespeare", steps=STEPS, seeds=SEEDS, most=None,
    folder=pieces.RUNS,
):  # fmt: skip
    corpus = corpora.load(corpus)
    data = join(corpus.training)
    works = {name: text[: budget.held_out] for name, text in corpus.validation.items()}
    make = partial(row, budget=budget, data=data, works=works)
    made = pieces.Pieces("longer-runs", asdict(budget), make, folder)
    found = []
    for name in CONTENDERS:
        rate, arm = suited()[name], {"contender": name, "steps": steps}
        rates = (rate / 2, rate, 2 * rate)[:most]
        tried = made.compare([arm], rates, seeds, "late_loss", most)
        found += pieces.marked(tried, "late_loss")
    return found


def main():
    if measure.tiny(__doc__):
        rows(steps=3, seeds=1, most=2)
    else:
        measure.record("longer-runs", "cpu", rows(), command=COMMAND)


if __name__ == "__main__":
    main()
