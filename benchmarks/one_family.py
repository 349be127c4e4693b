"""Does the rule of the table matter? Six members of the family, on text and three labs.

    python benchmarks/one_family.py [--tiny]

The networks of `rwkv_book.labs.one_body` differ in the rule alone: how the table fades,
what is taken out of it, and at which rate. Parameters are equal within 1 %. On text all
are trained from nothing on the same windows of Shakespeare in the same order, as the
networks of version_comparison.py are, and judged by the loss on the beginnings of three
works that none has read. In the labs (overwriting, parity, cups) they are trained as
those of state_labs.py are, and judged by the share of right answers, by length. Each
gets, for each of the four, the learning rate with which it does best for seed 0, with a
worse one on each side of it; in the labs up to four are tried, since an arm that only
guesses has no best. Then it is trained with other seeds. Seeds of one number read the
same texts. It takes about an hour of a core, and goes on where it was interrupted.
--tiny trains a few steps of each and records nothing.
"""

import statistics
from dataclasses import asdict, replace

import measure
import pieces
import torch
from torch import nn
from version_comparison import HELD_OUT, RUN

from rwkv_book.family.fused import table_fused
from rwkv_book.labs import bench, evaluation
from rwkv_book.labs.contenders import parameters
from rwkv_book.labs.one_body import RULES, OneBody, config_of
from rwkv_book.labs.tasks import TEST_SEED, TESTED_TEXTS, tasks
from rwkv_book.text import corpora
from rwkv_book.training import VOCABULARY, fit, join

TEXT, LABS = "text", ("overwriting", "parity", "cups-3")
RATES = (8e-3, 1.6e-2)
LAB_RATES, MOST_RATES = (3e-3, 9e-3), 4
SEEDS = 3
COMMAND = "python benchmarks/one_family.py"


def row(job, run):
    """Train one network on text, or on a lab."""
    if job["task"] == TEXT:
        return on_text(job, run)
    task = tasks()[job["task"]]
    network = for_a_lab(task, job["rule"], job["seed"])
    found = bench.taught(network, task, job["learning_rate"], job["seed"], job["steps"])
    return {**found, "hidden": network.config.hidden}


def for_a_lab(task, rule, seed, keeps=0.0):
    """An untrained network; `keeps` is what each token leaves of a channel at least."""
    config = config_of(rule, task.vocabulary, 1, bench.WIDTH, bench.HEAD_SIZE)
    torch.manual_seed(seed)
    network = OneBody(replace(config, keeps=keeps), table_fused)
    nn.init.normal_(network.embedding.weight)
    return network


def on_text(job, run):
    """What is lost on held-out text, before and after, in nats per byte."""
    rate = job["learning_rate"]
    run = replace(
        run, learning_rate=rate, final_learning_rate=rate / 20, seed=job["seed"]
    )
    config = config_of(job["rule"], VOCABULARY, run.layers, run.width, run.head_size)
    corpus = corpora.load(run.corpus)
    works = {name: text[:HELD_OUT] for name, text in corpus.validation.items()}
    torch.manual_seed(run.seed)
    network = OneBody(config, table_fused)
    untrained, _ = evaluation.windowed_loss(network, works, run.length)
    torch.manual_seed(run.seed)
    losses = [loss.item() for loss in fit(network, run, join(corpus.training))]
    loss, per_work = evaluation.windowed_loss(network, works, run.length)
    every = max(1, len(losses) // 40)
    starts = range(0, len(losses) - every + 1, every)
    return {
        "loss": round(loss, 4),
        "works": {name: round(nats, 4) for name, nats in per_work.items()},
        "untrained_loss": round(untrained, 4),
        "parameters": parameters(network),
        "hidden": config.hidden,
        "every": every,
        "training_loss": [
            round(statistics.mean(losses[start:][:every]), 4) for start in starts
        ],
    }


def rows(run, steps=None, rules=RULES, labs=LABS, folder=pieces.RUNS):
    """All rules on text and in the labs, each at its best learning rate.

    With a number of `steps` in a lab one seed is trained, at one rate.
    """
    settings = {
        **asdict(run),
        "held_out": HELD_OUT,
        "test": [TEST_SEED, TESTED_TEXTS],
        "labs": steps or [tasks()[lab].steps for lab in labs],
    }
    made = pieces.Pieces("one-family", settings, lambda job: row(job, run), folder)
    found = []
    for task in (TEXT, *labs):
        rates, most = (RATES, None) if task == TEXT else (LAB_RATES, MOST_RATES)
        for rule in rules:
            arm = {"task": task, "rule": rule}
            arm["steps"] = run.steps if task == TEXT else steps or tasks()[task].steps
            if steps:
                found.append(made.row({**arm, "learning_rate": rates[0], "seed": 0}))
            else:
                tried = made.compare([arm], rates, SEEDS, "loss", most)
                found += pieces.marked(tried, "loss")
    return found


def main():
    if measure.tiny(__doc__):
        tiny = {"steps": 3, "warm_up": 1, "width": 16, "length": 32, "head_size": 8}
        rows(replace(RUN, **tiny), steps=3)
        return
    found = rows(RUN)
    measure.record("one-family", "cpu", found, command=COMMAND)


if __name__ == "__main__":
    main()
