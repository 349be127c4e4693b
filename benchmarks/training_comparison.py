"""Which network learns most from the same text, at the same size?

    python benchmarks/training_comparison.py [--budget tiny|cpu|gpu] [--ship]

RWKV-4, an LSTM, GPTs with learned and with rotary positions and AFT, and three that say
what a part is worth (`rwkv_book.labs.contenders`), are trained from nothing on
Shakespeare: parameters equal within 2 %, the same windows of the same bytes in the same
order, one optimizer and schedule, which are those of GPT (AdamW, betas 0.9 and 0.95,
weight decay of matrices 0.1, warm-up, a cosine, gradients clipped at 1, no dropout:
no run reads more than about the text once). Each gets the same tuning: a short run for
each of several learning rates, judged by the loss on its last fifth, of text that was
nearly all new to it; no held-out byte is used. While the best rate of any contender is
the lowest or the highest, the grid is widened, for all. Then all are trained from
several seeds and read by the same rules: the loss on three works that nobody trained
on, and the loss by position. The LSTM is also trained on what it can read in the time
that RWKV takes. Beside them stands the loss of counting which byte follows which.

Every finished run is a file in runs/comparison/<budget>. A command that was interrupted
goes on after the last of them; to begin again, delete the folder. With --minutes it
stops after so many, and records what is there. A table is printed at the end, and the
record goes to results/training-comparison-<device>.json.

    tiny   about two minutes: does it work, and what order comes out? (not recorded)
    cpu    about half an hour of one quiet core
    gpu    larger networks, in bfloat16 (has not been run yet)

With --ship the networks of the first seed replace those that come with the book.
"""

import argparse
import json
import math
import statistics
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import measure
import numpy as np
import torch
from tqdm import tqdm

from rwkv_book import checkpoint
from rwkv_book.folders import write_text
from rwkv_book.labs import contenders, evaluation
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.model import Config
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.text import corpora
from rwkv_book.training import (
    VOCABULARY,
    Run,
    check_loss,
    fit,
    join,
    make_optimizer,
    training_step,
    windows,
)

RUNS = measure.ROOT / "runs" / "comparison"
TUNING_SEED = 1000  # not one of those that are compared
OPERATORS = {"fused": wkv_fused, "chunked": wkv_chunked}
BETAS = (0.9, 0.95)  # of Adam's averages, as for GPT-3
TUNED_ONLY = ("gpt-usual",)  # what ends with its tuning
LONGER = ("lstm",)  # what reads more in the time that RWKV takes
WIDEST = 8  # rates, after which a grid is not widened any more


@dataclass(frozen=True)
class Budget:
    """What is spent on every contender alike."""

    layers: int  # of the RWKV that all are as large as
    width: int
    batch: int
    length: int
    steps: dict  # name of a length: steps of a run
    rates: tuple = (4e-3, 8e-3, 1.6e-2, 3.2e-2)
    tuning_steps: int = 160
    seeds: int = 3
    longer_seeds: int = 3
    longest: int = 8192  # where the loss by position ends
    stretches: int = 6  # of held-out text, over which it is a mean
    held_out: int | None = 24_576  # bytes of each held-out work; None: all
    bfloat16: bool = False
    device: str = "cpu"

    def run(self, steps, rate, seed):
        """What a contender goes through, as `training` has it."""
        return Run(
            layers=self.layers,
            width=self.width,
            steps=steps,
            batch=self.batch,
            length=self.length,
            learning_rate=rate,
            final_learning_rate=rate / 20,
            warm_up=steps // 10,
            seed=seed,
            bfloat16=self.bfloat16,
        )


BUDGETS = {
    "tiny": Budget(
        layers=2,
        width=32,
        batch=4,
        length=64,
        steps={"short": 120, "long": 240},
        rates=(4e-3, 8e-3, 1.6e-2),
        tuning_steps=40,
        seeds=2,
        longest=1024,
        stretches=4,
        held_out=8_192,
    ),
    "cpu": Budget(
        layers=3, width=64, batch=4, length=256, steps={"short": 400, "long": 1000}
    ),
    "gpu": Budget(
        layers=6,
        width=512,
        batch=8,
        length=512,
        steps={"short": 280, "long": 1120},
        rates=(5e-4, 1e-3, 2e-3, 4e-3),
        bfloat16=True,
        device="cuda",
    ),
}


def build(name, run, wkv, device):
    """A contender before its first step: the same one for the same seed."""
    torch.manual_seed(run.seed)
    size = Config(VOCABULARY, run.layers, run.width)
    return contenders.build(name, size, context=run.length, wkv=wkv).to(device)


def optimizer_of(network, run):
    """That of `training`, with GPT's betas."""
    optimizer = make_optimizer(network, run)
    for group in optimizer.param_groups:
        group["betas"] = BETAS
    return optimizer


def recipe(run):
    """What is the same for all, but for the rate; warm-up as a share of the steps."""
    return {
        "betas": BETAS,
        "weight_decay": run.weight_decay,
        "clip": run.clip,
        "warm_up": run.warm_up / run.steps,
        "final_rate": run.final_learning_rate / run.learning_rate,
        "dropout": 0.0,
    }


def train(name, run, data, wkv, device):
    """A trained contender and the loss of every step before it."""
    network = build(name, run, wkv, device)
    title, losses = f"{name}, {run.learning_rate}, seed {run.seed}", []
    steps = fit(network, run, data, optimizer_of(network, run))
    steps = tqdm(steps, title, run.steps, leave=False)
    for step, loss in enumerate(steps):
        losses.append(loss)
        if step % 20 == 0 or step == run.steps - 1:
            check_loss(losses[-1].item(), step, run)
    return network, torch.stack(losses).tolist()


def thinned(losses, points=32):
    """The mean loss of every so many steps."""
    every = max(1, len(losses) // points)
    starts = range(0, len(losses) - every + 1, every)
    means = [statistics.mean(losses[start : start + every]) for start in starts]
    return {"every": every, "loss": [round(mean, 4) for mean in means]}


class OutOfTime(Exception):
    """No further run is begun."""


class Comparison:
    """The units of one budget. Each is done once: its file holds what was found.

    Where `minutes` have passed, OutOfTime is raised in place of a run.
    """

    def __init__(self, budget, folder, corpus, wkv=wkv_fused, minutes=math.inf):
        self.budget, self.folder, self.wkv = budget, Path(folder), wkv
        self.end = time.perf_counter() + 60 * minutes
        self.data = join(corpus.training)
        self.held_out = {
            name: text[: budget.held_out] for name, text in corpus.validation.items()
        }
        self.folder.mkdir(parents=True, exist_ok=True)

    def once(self, unit, work, *arguments):
        """What `work(*arguments)` gives, or gave to an earlier command."""
        path = self.folder / f"{unit}.json"
        asked = json.loads(json.dumps(asdict(self.budget)))
        del asked["seeds"], asked["longer_seeds"]  # there may be more later
        if not path.exists():
            if time.perf_counter() > self.end:
                raise OutOfTime
            start = time.perf_counter()
            found = work(*arguments)
            seconds = round(time.perf_counter() - start, 1)
            done = {"budget": asked, "commit": measure.commit(), "seconds": seconds}
            write_text(path, json.dumps({**done, "found": found}, indent=1) + "\n")
        done = json.loads(path.read_text())
        if done["budget"] != asked:
            raise SystemExit(f"{path} is of another budget: delete {self.folder}")
        return done["found"]

    def tune(self):
        """{contender: {learning rate: loss}}, on a grid that has no best at an edge."""
        rates = sorted(self.budget.rates)
        while True:
            tuned = {name: self.try_rates(name, rates) for name in contenders.NAMES}
            best = {min(tried, key=tried.get) for tried in tuned.values()}
            if rates[0] in best and len(rates) < WIDEST:
                rates = [rates[0] / 2, *rates]
            elif rates[-1] in best and len(rates) < WIDEST:
                rates = [*rates, rates[-1] * 2]
            else:
                return tuned

    def try_rates(self, name, rates):
        """{learning rate: loss on the last fifth of a short run}"""
        return {
            rate: self.once(f"tuning-{name}-{rate:g}", self.try_rate, name, rate)
            for rate in rates
        }

    def try_rate(self, name, rate):
        run = self.budget.run(self.budget.tuning_steps, rate, TUNING_SEED)
        try:
            _, losses = train(name, run, self.data, self.wkv, self.budget.device)
        except FloatingPointError:  # too high a rate for this one
            return 99.0
        return statistics.mean(losses[-(run.steps // 5) :])

    def compare(self, length, name, rate, seed):
        """Train a contender and read the held-out works with it."""
        budget = self.budget
        run = budget.run(budget.steps[length], rate, seed)
        start = time.perf_counter()
        network, losses = train(name, run, self.data, self.wkv, budget.device)
        seconds = time.perf_counter() - start
        loss, works = evaluation.windowed_loss(network, self.held_out, run.length)
        ships = length == "short" and name in contenders.SHIPPED
        by_position = self.by_position(network) if ships else None
        if ships and seed == 0:
            metadata = {
                "corpus": run.corpus,
                "held-out works": ", ".join(self.held_out),
                "held-out loss": f"{loss:.4f} nats per byte in windows of {run.length}",
                "run": json.dumps(asdict(run)),
                "command": "python benchmarks/training_comparison.py",
            }
            contenders.save(network, name, self.weights(name), metadata)
        return {
            "parameters": contenders.parameters(network),
            "shape": asdict(network.config),
            "learning_rate": rate,
            "training_seconds": round(seconds, 1),
            "training_loss": thinned(losses),
            "held_out_loss": loss,
            "held_out_works": works,
            "by_position": by_position,
        }

    def by_position(self, network):
        """The loss after 1 to 16 bytes were read, after 17 to 32, ...: {field: list}"""
        buckets = evaluation.loss_by_position(
            network, self.held_out, self.budget.longest, self.budget.stretches
        )
        return {
            key: [getattr(bucket, key) for bucket in buckets]
            for key in evaluation.Bucket._fields
        }

    def weights(self, name):
        return self.folder / f"{name}-0.safetensors"

    def speeds(self, rounds=7):
        """Tokens a second of each contender, and its time beside RWKV's, in rounds in
        which all take turns: training on a batch, and writing half a window byte by
        byte, after a prompt of the other half."""
        training, writing = {}, {}
        for name in contenders.NAMES:
            run = self.budget.run(10, self.budget.rates[0], TUNING_SEED)
            network = build(name, run, self.wkv, self.budget.device)
            training[name] = self.training_job(network, run)
            writing[name] = self.writing_job(network, run)
        tokens = {"training": run.batch * run.length, "writing": run.length // 2}
        found = {}
        for what, jobs in (("training", training), ("writing", writing)):
            seconds = measure.time_in_rounds(jobs, rounds, self.budget.device)
            for name, times in seconds.items():
                per_second = tokens[what] / statistics.median(times)
                ratio = measure.median_ratio(seconds, name, "rwkv")
                found.setdefault(name, {}).update(
                    {f"{what}_tokens_per_second": round(per_second)}
                    | {f"{what}_time_beside_rwkv": round(ratio, 3)}
                )
        return found

    def training_job(self, network, run):
        optimizer = optimizer_of(network, run)
        batch = [part.to(self.budget.device) for part in windows(self.data, run, 0)]
        return lambda: training_step(network, optimizer, *batch, run, 0)

    def writing_job(self, network, run):
        half = run.length // 2
        prompt = torch.from_numpy(self.data[:half]).long().to(self.budget.device)[None]

        @torch.no_grad()
        def write_on():
            logits, state = network(prompt)
            logits = logits[:, -1]
            for _ in range(half):
                logits, state = network.step(logits.argmax(-1), state)

        return write_on

    def all_units(self):
        """Everything, seed after seed: the rows so far, after each."""
        tuned = self.tune()
        speeds = self.once("speed", self.speeds)
        found = {}
        compared = [name for name in contenders.NAMES if name not in TUNED_ONLY]
        for length, seed, name in [
            *product(["short"], range(self.budget.seeds), compared),
            *product(["long"], range(self.budget.longer_seeds), LONGER),
        ]:
            rate = min(tuned[name], key=tuned[name].get)
            unit = self.once(
                f"{length}-{name}-{seed}", self.compare, length, name, rate, seed
            )
            found.setdefault((length, name), []).append(unit)
            yield (
                tuned,
                [row(*key, units, speeds[key[1]]) for key, units in found.items()],
            )


def row(length, name, units, speed):
    """What the seeds of a contender found, side by side."""
    first = units[0]
    return {
        "length": length,
        "contender": name,
        **{key: first[key] for key in ("parameters", "shape", "learning_rate")},
        "held_out_loss": over_seeds([unit["held_out_loss"] for unit in units]),
        **speed,
        "training_seconds": [unit["training_seconds"] for unit in units],
        "training_loss": [unit["training_loss"] for unit in units],
        "by_position": [unit["by_position"] for unit in units],
    }


def counting_loss(data, works, before):
    """Nats per byte for one who only counted, in the training text, which byte follows
    which `before` bytes; one more of each 256th keeps a new one possible."""

    def codes(data):  # of each byte with those before it
        places = range(before + 1)
        runs = (data[place : len(data) - before + place] for place in places)
        return sum(
            run.astype(np.int64) * 256 ** (before - i) for i, run in enumerate(runs)
        )

    counts = np.bincount(codes(data), minlength=256 ** (before + 1)).reshape(-1, 256)
    seen = np.concatenate([codes(join({name: works[name]})[:-1]) for name in works])
    likely = (counts.ravel()[seen] + 1 / 256) / (counts.sum(1)[seen // 256] + 1)
    return float(-np.log(likely).mean())


def over_seeds(losses):
    """All of them, their mean and its standard error."""
    error = statistics.stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else None
    return {"seeds": losses, "mean": statistics.mean(losses), "standard_error": error}


def table(rows):
    """The rows, best first at each length, as they are printed."""
    ordered = sorted(rows, key=lambda row: row["held_out_loss"]["mean"])
    return [
        {
            "length": row["length"],
            "contender": row["contender"],
            "parameters": row["parameters"],
            "rate": row["learning_rate"],
            "seeds": len(row["training_loss"]),
            "nats/byte": f"{row['held_out_loss']['mean']:.4f}",
            "± s.e.": f"{row['held_out_loss']['standard_error'] or 0:.4f}",
            "training tokens/s": row["training_tokens_per_second"],
            "writing tokens/s": row["writing_tokens_per_second"],
        }
        for length in dict.fromkeys(row["length"] for row in rows)
        for row in ordered
        if row["length"] == length
    ]


def ship(path, name, works, length=4096):
    """Put a file of weights into the book, with the loss of what is in it, rounded, on
    the beginning of a work."""
    network, (work, *_) = contenders.read(path, wkv_fused), works
    excerpt = {work: works[work][:length]}
    loss, _ = evaluation.windowed_loss(network, excerpt)
    known = checkpoint.metadata(path)
    known["excerpt"] = f"{loss:.5f} nats per byte, the first {length} of {work}"
    contenders.file_of(name).parent.mkdir(exist_ok=True)
    contenders.save(network, name, contenders.file_of(name), known)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", choices=BUDGETS, default="cpu")
    parser.add_argument(
        "--wkv",
        choices=OPERATORS,
        default="fused",
        help="RWKV's operator: chunked, which is slower, needs no compiler",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="begin no run after so many; 0: only record what is there",
    )
    parser.add_argument("--ship", action="store_true", help="see above; cpu only")
    options = parser.parse_args()
    if options.ship and options.budget != "cpu":
        parser.error("--ship goes with --budget cpu: the book's files are small")
    budget = BUDGETS[options.budget]
    wkv = {"fused": wkv_fused, "chunked": wkv_chunked}[options.wkv]
    comparison = Comparison(
        budget,
        RUNS / options.budget,
        corpora.load("shakespeare"),
        wkv,
        options.minutes,
    )
    with suppress(OutOfTime):
        for tuned, rows in comparison.all_units():
            summary = {"budget": asdict(budget), "tuning": tuned, "rows": rows}
            write_text(
                comparison.folder / "summary.json", json.dumps(summary, indent=1) + "\n"
            )
    measure.print_table(table(rows))
    if options.budget != "tiny":
        measure.record(
            "training-comparison",
            budget.device,
            rows,
            budget=options.budget,
            plan=asdict(budget),
            recipe=recipe(budget.run(100, 1.0, 0)),
            text_bytes=len(comparison.data),
            tuning=tuned,
            counting={
                before: counting_loss(comparison.data, comparison.held_out, before)
                for before in range(3)
            },
        )
    if options.ship:
        for name in contenders.SHIPPED:
            ship(comparison.weights(name), name, comparison.held_out)
