"""Is weight decay worth anything when a small RWKV reads the same text again and again?

    python benchmarks/weight_decay.py [--tiny]

A part of this book's prose, read six times, with a weight decay of 0, of 0.1 and of 1.
Each gets the learning rate with which it does best for the first of six seeds, on
every second of the sections that were held out; they are judged on the others. Runs
with one seed read the same windows. For each the loss on what was read and on both
halves of the sections. No times are recorded. It takes five minutes of a core, and goes
on where it was interrupted. --tiny runs a few steps and records nothing.
"""

from dataclasses import asdict, replace
from functools import partial

import measure
import pieces

from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import corpora
from rwkv_book.training import ablations, fit, held_out_loss, join

READ = 32_000  # bytes of the prose
RUN = replace(ablations.SMALL, steps=400, warm_up=20)
DECAYS = (0.0, 0.1, 1.0)
RATES = (0.004, 0.008)
SEEDS = 6


def row_for(job, run):
    rate = job["learning_rate"]
    run = replace(run, **job, final_learning_rate=rate / 20)
    model = ablations.first_model(run, wkv=wkv_fused)
    corpus = corpora.load(run.corpus)
    data = join(corpus.training)[:READ]
    for _ in fit(model, run, data):
        pass
    sections = list(corpus.validation.items())
    texts = {
        "read_loss": {"read": data.tobytes()},
        "tuning_loss": dict(sections[::2]),
        "held_out_loss": dict(sections[1::2]),
    }
    return {
        name: round(held_out_loss(model, text)[0], 4) for name, text in texts.items()
    }


def rows(run=RUN, seeds=SEEDS):
    """All weight decays, each at its best learning rate."""
    settings = {**asdict(run), "read": READ}
    made = pieces.Pieces("weight-decay", settings, partial(row_for, run=run))
    arms = [{"weight_decay": decay} for decay in DECAYS]
    found = [made.compare([arm], RATES, seeds, loss="tuning_loss") for arm in arms]
    return [row for tried in found for row in pieces.marked(tried, "tuning_loss")]


def main():
    if measure.tiny(__doc__):
        rows(replace(RUN, steps=3, warm_up=1, width=8), seeds=1)
        return
    measure.record("weight-decay", "cpu", rows(), run=asdict(RUN), read=READ)


if __name__ == "__main__":
    main()
