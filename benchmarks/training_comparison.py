"""Which network learns most from the same text, at the same size?

    python benchmarks/training_comparison.py [--budget tiny|cpu|gpu] [--ship]

RWKV-4, an LSTM, a GPT with learned and one with rotary positions and AFT
(`rwkv_book.labs.contenders`) are trained from nothing on Shakespeare, at two sizes and
from three seeds: parameters equal within 2 %, the same windows of the same bytes in the
same order, the same optimizer and schedule. Each gets the same tuning: a short run at
the smaller size for each of four learning rates, judged by the loss on its last fifth,
of text that was nearly all new to it; no held-out byte is used. Then all are read by
the same rules: the loss on three works that nobody trained on, and the loss by
position. Beside them stands the loss of counting which byte follows which.

Every finished run is a file in runs/comparison/<budget>. A command that was interrupted
goes on after the last of them; to begin again, delete the folder. A table is printed at
the end, and the record goes to results/training-comparison-<device>.json.

    tiny   about two minutes: does it work, and what order comes out? (not recorded)
    cpu    about 75 minutes of one core
    gpu    larger networks, in bfloat16 (has not been run yet)

With --ship the larger networks of the first seed replace those that come with the book.
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass, replace
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
    held_out_loss,
    join,
    make_optimizer,
    training_step,
    windows,
)

RUNS = measure.ROOT / "runs" / "comparison"
TUNING_SEED = 1000  # not one of those that are compared
OPERATORS = {"fused": wkv_fused, "chunked": wkv_chunked}
STREAMS = ("rwkv", "lstm", "aft")  # with a state that does not grow


@dataclass(frozen=True)
class Budget:
    """What is spent on every contender alike."""

    sizes: dict  # name: layers and width of the RWKV that all are as large as
    steps: int
    batch: int
    length: int
    rates: tuple = (2e-3, 4e-3, 8e-3, 1.6e-2)
    tuning_steps: int = 250
    seeds: int = 3
    longest: int = 8192  # where the loss by position ends
    stretches: int = 16  # of held-out text, over which it is a mean
    held_out: int | None = None  # bytes of each held-out work; None: all
    bfloat16: bool = False
    device: str = "cpu"

    def run(self, size, rate, seed):
        """What a contender goes through, as `training` has it."""
        layers, width = self.sizes[size]
        return Run(
            layers=layers,
            width=width,
            steps=self.steps,
            batch=self.batch,
            length=self.length,
            learning_rate=rate,
            final_learning_rate=rate / 20,
            warm_up=self.steps // 10,
            seed=seed,
            bfloat16=self.bfloat16,
        )

    @property
    def largest(self):
        return list(self.sizes)[-1]

    def tuning_run(self, rate):
        shorter = replace(self, steps=self.tuning_steps)
        return shorter.run(next(iter(self.sizes)), rate, TUNING_SEED)


BUDGETS = {
    "tiny": Budget(
        sizes={"smaller": (2, 32), "larger": (2, 64)},
        steps=240,
        batch=4,
        length=64,
        rates=(4e-3, 1.6e-2),
        tuning_steps=80,
        longest=1024,
        stretches=4,
        held_out=8_192,
    ),
    "cpu": Budget(
        sizes={"smaller": (4, 64), "larger": (4, 128)}, steps=640, batch=8, length=256
    ),
    "gpu": Budget(
        sizes={"smaller": (4, 256), "larger": (6, 512)},
        steps=1000,
        batch=32,
        length=512,
        bfloat16=True,
        device="cuda",
    ),
}


def build(name, run, wkv, device):
    """A contender before its first step: the same one for the same seed."""
    torch.manual_seed(run.seed)
    size = Config(VOCABULARY, run.layers, run.width)
    return contenders.build(name, size, context=run.length, wkv=wkv).to(device)


def train(name, run, data, wkv, device):
    """A trained contender and the loss of every step before it."""
    network = build(name, run, wkv, device)
    title, losses = f"{name}, {run.width}, {run.learning_rate}, seed {run.seed}", []
    steps = tqdm(fit(network, run, data), title, run.steps, leave=False)
    for step, loss in enumerate(steps):
        losses.append(loss)
        if step % 20 == 0 or step == run.steps - 1:
            check_loss(losses[-1].item(), step, run)
    return network, torch.stack(losses).tolist()


def thinned(losses, points=20):
    """The mean loss of every so many steps."""
    every = max(1, len(losses) // points)
    starts = range(0, len(losses) - every + 1, every)
    means = [statistics.mean(losses[start : start + every]) for start in starts]
    return {"every": every, "loss": [round(mean, 4) for mean in means]}


class Comparison:
    """The units of one budget. Each is done once: its file holds what was found."""

    def __init__(self, budget, folder, corpus, wkv=wkv_fused):
        self.budget, self.folder, self.wkv = budget, Path(folder), wkv
        self.data = join(corpus.training)
        self.held_out = {
            name: text[: budget.held_out] for name, text in corpus.validation.items()
        }
        self.folder.mkdir(parents=True, exist_ok=True)

    def once(self, unit, work, *arguments):
        """What `work(*arguments)` gives, or gave to an earlier command."""
        path = self.folder / f"{unit}.json"
        asked = json.loads(json.dumps(asdict(self.budget)))
        if not path.exists():
            start = time.perf_counter()
            found = work(*arguments)
            seconds = round(time.perf_counter() - start, 1)
            done = {"budget": asked, "commit": measure.commit(), "seconds": seconds}
            write_text(path, json.dumps({**done, "found": found}, indent=1) + "\n")
        done = json.loads(path.read_text())
        if done["budget"] != asked:
            raise SystemExit(f"{path} is of another budget: delete {self.folder}")
        return done["found"]

    def tune(self, name):
        """{learning rate: loss on the last fifth of a short run}"""
        return {
            rate: self.once(f"tuning-{name}-{rate}", self.try_rate, name, rate)
            for rate in self.budget.rates
        }

    def try_rate(self, name, rate):
        run = self.budget.tuning_run(rate)
        _, losses = train(name, run, self.data, self.wkv, self.budget.device)
        return statistics.mean(losses[-(run.steps // 5) :])

    def compare(self, size, name, rate, seed):
        """Train a contender and read the held-out works with it."""
        budget, run = self.budget, self.budget.run(size, rate, seed)
        start = time.perf_counter()
        network, losses = train(name, run, self.data, self.wkv, budget.device)
        seconds = time.perf_counter() - start
        loss, works = evaluation.windowed_loss(network, self.held_out, run.length)
        found = {
            "parameters": contenders.parameters(network),
            "shape": asdict(network.config),
            "learning_rate": rate,
            "training_seconds": round(seconds, 1),
            "training_loss": thinned(losses),
            "held_out_loss": loss,
            "held_out_works": works,
        }
        if size == budget.largest and name in STREAMS:
            found["stream_loss"], _ = held_out_loss(network, self.held_out)
        if size == budget.largest:
            buckets = evaluation.loss_by_position(
                network, self.held_out, budget.longest, budget.stretches
            )
            found["by_position"] = {
                key: [getattr(bucket, key) for bucket in buckets]
                for key in evaluation.Bucket._fields
            }
        if size == budget.largest and seed == 0:
            metadata = {
                "corpus": run.corpus,
                "held-out works": ", ".join(self.held_out),
                "held-out loss": f"{loss:.4f} nats per byte in windows of {run.length}",
                "run": json.dumps(asdict(run)),
                "command": "python benchmarks/training_comparison.py",
            }
            contenders.save(network, name, self.weights(name), metadata)
        return found

    def weights(self, name):
        return self.folder / f"{self.budget.largest}-{name}-0.safetensors"

    def speeds(self, size, rounds=5):
        """Tokens a second of each contender, and its time beside RWKV's, in rounds in
        which all take turns: training on a batch, and writing half a window byte by
        byte, after a prompt of the other half."""
        training, writing = {}, {}
        for name in contenders.NAMES:
            run = self.budget.run(size, self.budget.rates[0], TUNING_SEED)
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
        optimizer = make_optimizer(network, run)
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
        tuned = {name: self.tune(name) for name in contenders.NAMES}
        speeds = {
            size: self.once(f"speed-{size}", self.speeds, size)
            for size in self.budget.sizes
        }
        found = {}
        for seed, size, name in product(
            range(self.budget.seeds), self.budget.sizes, contenders.NAMES
        ):
            rate = min(tuned[name], key=tuned[name].get)
            unit = self.once(
                f"{size}-{name}-{seed}", self.compare, size, name, rate, seed
            )
            found.setdefault((size, name), []).append(unit)
            yield (
                tuned,
                [
                    row(*key, units, speeds[key[0]][key[1]])
                    for key, units in found.items()
                ],
            )


def row(size, name, units, speed):
    """What the seeds of a contender found, side by side."""
    first = units[0]
    return {
        "size": size,
        "contender": name,
        **{key: first[key] for key in ("parameters", "shape", "learning_rate")},
        "held_out_loss": over_seeds([unit["held_out_loss"] for unit in units]),
        "stream_loss": over_seeds([unit.get("stream_loss") for unit in units]),
        **speed,
        "training_seconds": [unit["training_seconds"] for unit in units],
        "training_loss": [unit["training_loss"] for unit in units],
        "by_position": [unit.get("by_position") for unit in units],
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
    """All of them, their mean and its standard error; None where there are none."""
    if None in losses:
        return None
    error = statistics.stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else None
    return {"seeds": losses, "mean": statistics.mean(losses), "standard_error": error}


def table(rows):
    """The rows, best first at each size, as they are printed."""
    ordered = sorted(rows, key=lambda row: row["held_out_loss"]["mean"])
    return [
        {
            "size": row["size"],
            "contender": row["contender"],
            "parameters": row["parameters"],
            "rate": row["learning_rate"],
            "nats/byte": f"{row['held_out_loss']['mean']:.4f}",
            "± s.e.": f"{row['held_out_loss']['standard_error'] or 0:.4f}",
            "as a stream": f"{row['stream_loss']['mean']:.4f}"
            if row["stream_loss"]
            else "",
            "training tokens/s": row["training_tokens_per_second"],
            "writing tokens/s": row["writing_tokens_per_second"],
        }
        for size in dict.fromkeys(row["size"] for row in rows)
        for row in ordered
        if row["size"] == size
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
    parser.add_argument("--ship", action="store_true", help="see above; cpu only")
    options = parser.parse_args()
    if options.ship and options.budget != "cpu":
        parser.error("--ship goes with --budget cpu: the book's files are small")
    budget = BUDGETS[options.budget]
    wkv = {"fused": wkv_fused, "chunked": wkv_chunked}[options.wkv]
    comparison = Comparison(
        budget, RUNS / options.budget, corpora.load("shakespeare"), wkv
    )
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
            tuning=tuned,
            counting={
                before: counting_loss(comparison.data, comparison.held_out, before)
                for before in range(3)
            },
        )
    if options.ship:
        for name in contenders.NAMES:
            ship(comparison.weights(name), name, comparison.held_out)
