"""What are long texts worth to networks that were trained on short ones?

    python benchmarks/context_length.py [--tiny]

RWKV, an LSTM and a GPT with rotary positions are trained from three seeds as the
contenders of training_comparison.py are, with its budget "cpu" and the rates that it
found: in windows of 256 bytes. Then each predicts the last 64 bytes of windows of 128
to 2,048 bytes, from an empty state: the same bytes at the same 24 places of works that
nobody trained on. The GPT is also read with an attention that sees the nearest 256
tokens alone. A row has the loss at each place, so that whoever reads the record takes
differences there, and means over places and seeds afterwards. No times are recorded. It
takes ten minutes of a core, and goes on where it was interrupted. --tiny trains a few
steps of each and records nothing.
"""

from dataclasses import asdict, replace
from functools import partial

import measure
import pieces
from longer_runs import suited
from training_comparison import BUDGETS, train

from rwkv_book.labs import context
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import corpora
from rwkv_book.training import join

BUDGET = BUDGETS["cpu"]
CONTENDERS = ("rwkv", "lstm", "gpt-rotary")
WINDOWS = (128, 256, 512, 1024, 2048)
JUDGED, PLACES, SEEDS = 64, 24, 3


def row(job, budget, corpus):
    """Nats per byte at each place, {window: list}, read freely and with blinkers."""
    name, rate = job["contender"], suited()[job["contender"]]
    run = budget.run(budget.steps["short"], rate, job["seed"])
    network, _ = train(name, run, join(corpus.training), wkv_fused, "cpu")
    found = {"learning_rate": rate, "loss": losses(network, corpus)}
    if name == "gpt-rotary":
        network.attention = partial(context.nearest, count=run.length)
        found["loss_of_nearest"] = losses(network, corpus)
    return found


def losses(network, corpus):
    places = context.passages(corpus.validation, max(WINDOWS), JUDGED, PLACES)
    found = context.nats_in_window(network, places, WINDOWS, JUDGED)
    return {
        str(window): [round(nats, 4) for nats in each.mean(1).tolist()]
        for window, each in found.items()
    }


def rows(budget=BUDGET, seeds=SEEDS):
    """A row for each contender and seed."""
    make = partial(row, budget=budget, corpus=corpora.load("shakespeare"))
    made = pieces.Pieces("context-length", asdict(budget), make)
    jobs = [{"contender": name, "seed": n} for n in range(seeds) for name in CONTENDERS]
    return [made.row(job) for job in jobs]


def main():
    if measure.tiny(__doc__):
        rows(replace(BUDGET, steps={"short": 10}), seeds=1)
        return
    plan = {"trained_on": BUDGET.length, "judged": JUDGED, "places": PLACES}
    measure.record("context-length", "cpu", rows(), **plan)


if __name__ == "__main__":
    main()
