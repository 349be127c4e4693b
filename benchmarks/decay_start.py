"""Does it matter at which half-lives the training of a small RWKV begins?

    python benchmarks/decay_start.py [--tiny]

Two tasks: a letter is said and asked for 2 to 200 tokens later
(`rwkv_book.labs.remembering`), and the prose of this book in windows of 512 bytes.
Recall is learned from five starts: half-lives of all kinds, as RWKV begins; drawn by
chance from the same range; all 1 token, all 10, all 100. Text from the same five. Each
gets the learning rate with which it does best for seed 0; whoever reads the record
compares the other seeds, since a choice can flatter what it was made with. Runs with
one seed read the same text. No times are recorded. It takes a quarter of an hour of a
core, and goes on where it was interrupted. --tiny runs a few steps of each and records
nothing.
"""

import argparse
import math
from dataclasses import asdict, replace
from functools import partial

import measure
import pieces
import torch

from rwkv_book.labs import remembering
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import corpora
from rwkv_book.training import ablations, fit, held_out_loss, join

RECALL = remembering.SMALL
TEXT = replace(ablations.SMALL, steps=300, batch=1, length=512, warm_up=15)
RATES = {"recall": (0.01, 0.02), "text": (0.008, 0.016)}
SEEDS = {"recall": 6, "text": 5}  # the first chooses a rate, the others are compared
SPANS = ((2, 8), (8, 32), (32, 128), (128, 201))  # of distances, the last not included
ASKED = 256  # texts of new questions


def at_rate(run, job):
    rate = job["learning_rate"]
    return replace(
        run, learning_rate=rate, final_learning_rate=rate / 20, seed=job["seed"]
    )


def recall_row(job, run):
    """What is answered of new questions, near and far, and by which half-lives."""
    start = remembering.STARTS[job["start"]]
    model, _ = remembering.learn(start, at_rate(run, job), wkv_fused)
    asked = remembering.questions(10**6 + job["seed"], ASKED, run.length)
    distances, nats, right = remembering.answers(model, asked)
    within = [(low <= distances) & (distances < high) for low, high in SPANS]
    return {
        "loss": round(nats.mean().item(), 4),
        "right": [round(right[span].float().mean().item(), 4) for span in within],
        "longest_half_life": round(longest(model), 1),
        "reach": round(remembering.reach(model, asked).max().item()),
    }


def text_row(job, run):
    """The loss on held-out sections, each read with the state of all before it."""
    run = at_rate(run, job)
    model = ablations.first_model(run, wkv=wkv_fused)
    remembering.STARTS[job["start"]](model, run.seed)
    corpus = corpora.load(run.corpus)
    for _ in fit(model, run, join(corpus.training)):
        pass
    loss, _ = held_out_loss(model, corpus.validation)
    return {"loss": round(loss, 4), "longest_half_life": round(longest(model), 1)}


def longest(model):
    rates = [block.time_mix.log_decay_rate.exp().min().item() for block in model.blocks]
    return math.log(2) / min(rates)


MAKE = {"recall": recall_row, "text": text_row}


def rows(runs, seeds=SEEDS):
    """All starts on both tasks, each at its best learning rate."""
    found = []
    for task, run in runs.items():
        made = pieces.Pieces(
            f"decay-start-{task}", asdict(run), partial(MAKE[task], run=run)
        )
        arms = [{"task": task, "start": start} for start in remembering.STARTS]
        found += made.compare(arms, RATES[task], seeds[task], loss="loss")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    runs = {"recall": RECALL, "text": TEXT}
    if tiny:
        runs = {
            task: replace(run, steps=3, warm_up=1, width=8)
            for task, run in runs.items()
        }
        rows(runs, dict.fromkeys(runs, 2))
        return
    found = rows(runs)
    settings = {task: asdict(run) for task, run in runs.items()}
    measure.record("decay-start", "cpu", found, runs=settings, spans=SPANS)


if __name__ == "__main__":
    main()
