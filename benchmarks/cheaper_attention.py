"""What does a cheaper attention cost a network that never knew another?

    python benchmarks/cheaper_attention.py [--budget cpu|tiny] [--seeds 3]

A GPT of two layers is trained from nothing with each method that can be masked, all at
one number of parameters and on the same bytes, and reads the works that were held out.
Each has a search of its own for the learning rate, in runs of half the length, which
widens until the best one is not at an edge. `average` hears all tokens alike: what is
left when nothing is compared. Intervals are on the difference to softmax with the same
seed.

Every trial is kept in runs/ as it ends, so that an interrupted command goes on. It
takes about a quarter of an hour of one core.
"""

import argparse
import json
import statistics
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import measure
import torch

from rwkv_book import attention, training, transformer
from rwkv_book.folders import write_text
from rwkv_book.labs import contenders, swapping
from rwkv_book.labs.evaluation import windowed_loss
from rwkv_book.text import corpora

RUNS = measure.ROOT / "runs" / "cheaper-attention"
TUNING_SEED = 1000  # not one of those that are compared
# Student's t for a 95 % interval, by the number of seeds
STUDENT = {2: 12.7062, 3: 4.3027, 4: 3.1824, 5: 2.7764, 6: 2.5706, 7: 2.4469, 8: 2.3646}


@dataclass(frozen=True)
class Budget:
    """What is spent on every method alike."""

    teacher: training.Run = training.QUICK_GPT
    length: int = 128
    steps: int = 300  # of training from nothing
    tuning_steps: int = 150  # of a run that tries a rate
    batch: int = 16
    window: int = 32
    features: int = 32
    rates: tuple = (4e-3, 8e-3, 1.6e-2)
    held_out: int = 16_384  # bytes of each held-out work
    widest: int = 4  # how often a search may widen


TINY = Budget(
    teacher=replace(training.QUICK_GPT, steps=25, batch=2, length=64),
    length=32,
    steps=25,
    tuning_steps=21,
    batch=2,
    window=8,
    features=8,
    held_out=256,
    widest=1,
)
BUDGETS = {"cpu": Budget(), "tiny": TINY}


class Pieces:
    """Trials of one budget, each done once: its file holds what was found."""

    def __init__(self, budget, folder, corpus):
        self.budget, self.folder, self.corpus = budget, Path(folder), corpus
        self.data = training.join(corpus.training)
        self.folder.mkdir(parents=True, exist_ok=True)

    def once(self, trial, work, *arguments):
        """What `work(*arguments)` gives, or gave to an earlier command."""
        path = self.folder / f"{trial}.json"
        asked = json.loads(json.dumps(asdict(self.budget)))
        if not path.exists():
            done = {"budget": asked, "found": work(*arguments)}
            write_text(path, json.dumps(done, indent=1) + "\n")
        done = json.loads(path.read_text())
        if done["budget"] != asked:
            raise SystemExit(f"{path} is of another budget: delete {self.folder}")
        return done["found"]

    def search(self, name, rates, factor, work):
        """{rate: loss} around an optimum: rates are added at the edge that is best."""
        tried = {}
        for _ in range(self.budget.widest + 1):
            for rate in rates:
                label = f"{name}-{rate:.3g}"
                tried[rate] = self.once(f"tuning-{label}", work, rate, TUNING_SEED)
            best = min(tried, key=tried.get)
            if best == min(tried):
                rates = [best / factor]
            elif best == max(tried):
                rates = [best * factor]
            else:
                break
        return dict(sorted(tried.items()))

    def row(self, name, seeds, rates, factor, work):
        """A method's search, and what its best rate gives for every seed."""
        tried = self.search(name, rates, factor, work)
        best = min(tried, key=tried.get)
        found = [self.once(f"{name}-{seed}", work, best, seed) for seed in range(seeds)]
        inside = min(tried) < best < max(tried)
        tried = {f"{rate:.3g}": round(loss, 4) for rate, loss in tried.items()}
        return {"rate": best, "inside": inside, "tuning": tried, "seeds": found}


class Trained(Pieces):
    """A small GPT trained from nothing with every method that can be masked."""

    @property
    def methods(self):
        budget = self.budget
        generator = torch.Generator().manual_seed(0)
        random = attention.orthogonal_projection(budget.features, 16, generator)
        return {
            "softmax": attention.fused_attention,
            "longformer": partial(attention.longformer, window=budget.window - 1),
            "linear": attention.linear_attention_pairs,
            "performer": partial(attention.performer_pairs, projection=random),
            "aft local": None,  # has positions of its own
            "average": swapping.average,
        }

    def network(self, name):
        """Two layers, 4 heads of 16 channels, rotary positions; as many parameters."""
        shape = transformer.Config(training.VOCABULARY, 2, 64, 4)
        if name != "aft local":
            return transformer.GPT(shape, self.methods[name])
        config = contenders.nearest(
            contenders.parameters_of("gpt-rotary", shape),
            partial(contenders.parameters_of, "aft"),
            lambda hidden: replace(shape, heads=1, hidden=hidden),
        )
        return contenders.AFT(config)

    def losses(self, name, rate, seed):
        """Nats per byte: late in training, and of held-out works in whole windows."""
        budget = self.budget
        run = replace(
            budget.teacher,
            steps=budget.tuning_steps if seed == TUNING_SEED else budget.steps,
            batch=budget.batch,
            length=budget.length,
            learning_rate=rate,
            final_learning_rate=rate / 20,
            seed=seed,
        )
        torch.manual_seed(seed)
        network = self.network(name)
        losses = [x.item() for x in training.fit(network, run, self.data)]
        if seed == TUNING_SEED:
            return statistics.mean(losses[-(run.steps // 5) :])
        works = {
            key: text[: budget.held_out] for key, text in self.corpus.validation.items()
        }
        return windowed_loss(network, works, budget.length)[0]

    def rows(self, seeds):
        budget, exact = self.budget, None
        for name in self.methods:
            work = partial(self.losses, name)
            row = self.row(f"trained-{name}", seeds, budget.rates, 2, work)
            losses = row.pop("seeds")
            exact = exact or losses
            plain = {"method": name, "loss": losses}
            parameters = contenders.parameters(self.network(name))
            yield {
                **plain,
                "more than softmax": interval(losses, exact),
                "parameters": parameters,
                **row,
            }


def interval(losses, others):
    """Losses of the same seeds: the mean difference, and half of its 95 % interval."""
    differences = [a - b for a, b in zip(losses, others, strict=True)]
    count = len(differences)
    error = statistics.stdev(differences) / count**0.5 if count > 1 else 0.0
    half = STUDENT[count] * error if count > 1 else 0.0
    return [statistics.mean(differences), half]


def table(rows):
    """What is printed of the rows."""
    for row in rows:
        mean, half = row["more than softmax"]
        edge = "" if row["inside"] else ", at the edge"
        yield {
            "method": row["method"],
            "parameters": row["parameters"],
            "rate": f"{row['rate']:.3g}{edge}",
            "nats/byte": f"{statistics.mean(row['loss']):.3f}",
            "more than softmax": f"{mean:+.3f} ± {half:.3f}",
        }


def main(budget, seeds, folder, corpus):
    """The rows of all methods; printed as they come."""
    rows = []
    for row in Trained(budget, folder, corpus).rows(seeds):
        rows.append(row)
        print(next(table([row])), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", choices=BUDGETS, default="cpu")
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 9))
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen, name = BUDGETS[options.budget], options.budget
    corpus = corpora.load("shakespeare")
    rows = main(chosen, options.seeds, RUNS / name, corpus)
    measure.print_table(list(table(rows)))
    if name != "tiny":
        measure.record("cheaper-attention", "cpu", rows, plan=asdict(chosen))
