"""What can a state hold? Eight networks of one size, nine tasks, accuracy by length.

    python benchmarks/state_labs.py [--budget tiny|cpu] [--tasks parity,recall] [--ship]

The networks of `rwkv_book.labs.bench` learn the tasks of `rwkv_book.labs.tasks`:
parameters equal within 5 %, the same texts in the same order for seeds of one number,
one optimizer and schedule, a fixed number of steps. Each network gets, for each task,
the learning rate with which it does best for seed 0 on texts of the sizes of training;
while that is the lowest or the highest of those tried, more are tried beyond it, up to
six in all; where the best is at the edge even so, the row says that it isn't interior.
Then it is trained with other seeds, and all are tested at sizes beyond those of
training, where a task has them two to sixteen times as large.
One seed of what may only need time is trained for longer, beside the comparison.

Every run is a line of a file in runs/, so that a command that was interrupted goes on
after the last of them. The record has the tasks that were asked for, and how many
tokens a second each network reads in training, measured in turns.

    tiny   about two minutes: one seed, one rate, few steps; the order shows, and
           nothing is recorded
    cpu    about two hours of one core, a quarter of one a task at the most

With --ship the networks that the chapter asks are put into the book.
"""

import argparse
import json
import statistics
from dataclasses import replace

import measure
import pieces
import torch

from rwkv_book.family.fused import table_fused
from rwkv_book.folders import whole
from rwkv_book.labs import bench
from rwkv_book.labs.tasks import BATCH_TOKENS, TEST_SEED, TESTED_TEXTS, tasks
from rwkv_book.rwkv4.fused import wkv_fused

RATES = (3e-3, 9e-3)
MOST_RATES = 6
SEEDS = 3
LONGER = {  # times the steps, for what may only need time
    ("overwriting", "attention"): 4,
    ("recall", "attention"): 4,
}
TINY = {
    "overwriting": ("RWKV-4", "RWKV-6", "RWKV-7"),
    "parity": ("LSTM", "attention", "RWKV-7", "RWKV-7 twice"),
    "cups-3": ("LSTM", "RWKV-7", "RWKV-7 twice"),
}
TINY_STEPS, TINY_RATE = {"overwriting": 400, "parity": 300, "cups-3": 300}, 9e-3
FORMS = {"averages": wkv_fused, "table": table_fused}
FOLDER = pieces.RUNS / "state-labs"
COMMAND = "python benchmarks/state_labs.py --ship"
SHIPPED = (
    ("parity", "LSTM"),
    ("parity", "RWKV-7"),
    ("parity", "RWKV-7 twice"),
    ("overwriting", "RWKV-5"),
    ("overwriting", "RWKV-7"),
    ("cups-3", "RWKV-7"),
    ("cups-3", "RWKV-7 twice"),
)


def row(job, weights=FOLDER):
    """Train one network, keep its weights, and say how it did."""
    task = tasks()[job["task"]]
    network, found = bench.run(
        job["name"], task, job["learning_rate"], job["seed"], job["steps"], **FORMS
    )
    weights.mkdir(parents=True, exist_ok=True)
    with whole(weights / file_name(job)) as part:
        torch.save(network.state_dict(), part)
    return found


def file_name(job):
    return "-".join(map(str, job.values())) + ".pt"


def made_pieces(make=row, folder=pieces.RUNS):
    """The file of finished runs: a changed test or batch begins a new one."""
    settings = {
        "batch_tokens": BATCH_TOKENS,
        "test": [TEST_SEED, TESTED_TEXTS, [task.tested for task in tasks().values()]],
        "network": [bench.WIDTH, bench.HEAD_SIZE, bench.HIDDEN, bench.RANK],
    }
    return pieces.Pieces("state-labs", settings, make, folder)


def compare(made, task, name):
    """Rows of one network on one task: several rates, then seeds at the best."""
    arm = {"task": task.name, "name": name, "steps": task.steps}
    return pieces.marked(made.compare([arm], RATES, SEEDS, "loss", MOST_RATES), "loss")


def longer(made, task, rows):
    """A row of seed 0 for each network in LONGER, at the rate that suits it."""
    for (label, name), times in LONGER.items():
        if label != task.name:
            continue
        rate = bench.chosen(rows, task, name)[0]["learning_rate"]
        arm = {"task": label, "name": name, "steps": times * task.steps}
        row = made.row({**arm, "learning_rate": rate, "seed": pieces.TUNING_SEED})
        yield {**row, "best": False, "interior": False}


def speeds(task, rounds=5, steps=10):
    """{name: tokens a second in training}: some steps of each in turn, the median."""
    jobs, tokens = training(task, steps)
    seconds = measure.time_in_rounds(jobs, rounds)
    return {
        name: round(tokens / statistics.median(each)) for name, each in seconds.items()
    }


def training(task, steps):
    """{name: function that trains it some steps}, and how many tokens it reads."""
    generator = torch.Generator().manual_seed(0)
    tokens = steps * task.draw(1, task.trained[-1], generator)[0].numel()
    tokens *= task.batch_tokens // task.tokens(task.trained[-1])
    task = replace(task, trained=task.trained[-1:], steps=steps)
    jobs = {}
    for name in bench.NAMES:
        network = bench.build(name, task, **FORMS)
        jobs[name] = lambda network=network: list(bench.fit(network, task, 1e-3))
    return jobs, tokens


def print_task(task, rows):
    """A line for each network: the mean over seeds at every size, and the lowest."""
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        chosen = [row for row in rows if row["name"] == name and row["best"]]
        line = {task.name: name, "rate": chosen[0]["learning_rate"]}
        for size in task.tested:
            shares = [by_number(row["accuracy"])[size] for row in chosen]
            line[str(size)] = f"{statistics.mean(shares):.2f} ({min(shares):.2f})"
        lines.append(line)
    measure.print_table(lines)


def by_number(shares):
    """{size: share}: JSON has made texts of the sizes."""
    return {int(size): share for size, share in shares.items()}


def tiny():
    """One seed and one rate, of the networks that tell the most."""
    for label, names in TINY.items():
        task, rows = tasks()[label], []
        for name in names:
            _, found = bench.run(name, task, TINY_RATE, 0, TINY_STEPS[label], **FORMS)
            told = {"name": name, "learning_rate": TINY_RATE, "best": True}
            rows.append({**told, **found})
        print_task(task, rows)


def ship(rows, weights=FOLDER, to=bench.SHIPPED):
    """Of each network in SHIPPED the seed that ranks in the middle, in float16."""
    for label, name in SHIPPED:
        chosen = [
            row
            for row in rows
            if (row["task"], row["name"]) == (label, name) and row["best"]
        ]
        if not chosen:
            continue
        task = tasks()[label]
        middle = sorted(chosen, key=lambda row: row["loss"])[len(chosen) // 2]
        job = {
            key: middle[key]
            for key in ("task", "name", "steps", "learning_rate", "seed")
        }
        network = bench.build(name, task, **FORMS)
        network.load_state_dict(torch.load(weights / file_name(job), weights_only=True))
        path = bench.file_of(name, task, to)
        path.parent.mkdir(exist_ok=True)
        known = {"run": json.dumps(job), "command": COMMAND}
        bench.save(network, name, task, path, known)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", choices=("tiny", "cpu"), default="cpu")
    parser.add_argument("--tasks", default=",".join(tasks()))
    parser.add_argument("--ship", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.budget == "tiny":
        tiny()
        return
    wanted, made, rows = chosen.tasks.split(","), made_pieces(), []
    unknown = set(wanted) - tasks().keys()
    if unknown:
        parser.error(f"no task is called {sorted(unknown)}: there are {list(tasks())}")
    for label in wanted:
        task = tasks()[label]
        found = [each for name in bench.NAMES for each in compare(made, task, name)]
        print_task(task, found)
        rows += [*found, *longer(made, task, found)]
    fast = speeds(tasks()["overwriting"])
    context = {"command": COMMAND, "tasks": wanted, "tokens_per_second": fast}
    measure.record("state-labs", "cpu", rows, **context)
    if chosen.ship:
        ship(rows)


if __name__ == "__main__":
    main()
