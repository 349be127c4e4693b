"""What does a cheaper attention cost, swapped into a trained layer and trained with?

    python benchmarks/cheaper_attention.py [--budget cpu|tiny] [--seeds 3]

Both halves give every method the same data, the same steps and a search of its own for
the learning rate, which widens until the best one is not at an edge.

`swapped`: the second layer of chapter 3's small GPT, trained anew for every seed. Each
method copies the output of softmax there, as it is and after lessons in which it learns
a matrix for the queries, one for the keys and one for the values of each head, and what
it has to learn of its own (Linformer's sums, AFT's table). Those that can be masked are
compared with masked softmax, all others, and two as a yardstick, without the mask.

`trained`: a GPT of two layers is trained from nothing with each method that can be
masked, all at one number of parameters, and reads the works that were held out.

Every trial is kept in runs/ as it ends, so that an interrupted command goes on. It
takes about 20 minutes of one core.
"""

import argparse
import json
import statistics
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import measure
import torch
from scipy.stats import t as student_t

from rwkv_book import attention, training, transformer
from rwkv_book.folders import write_text
from rwkv_book.labs import contenders
from rwkv_book.labs.evaluation import windowed_loss
from rwkv_book.text import corpora

RUNS = measure.ROOT / "runs" / "cheaper-attention"
TUNING_SEED = 1000  # not one of those that are compared


@dataclass(frozen=True)
class Budget:
    """What is spent on every method alike."""

    teacher: training.Run = training.QUICK_GPT
    size: int = 16  # what a swapped method may keep: tokens, sums, features
    length: int = 128
    lessons: int = 100  # steps, of four texts each
    texts: int = 32  # held-out texts on which a swap is judged, and as many to tune
    rates_swapped: tuple = (0.003, 0.01, 0.03)
    steps: int = 300  # of training from nothing
    tuning_steps: int = 150  # of a run that tries a rate
    batch: int = 16
    window: int = 32
    features: int = 32
    rates_trained: tuple = (4e-3, 8e-3, 1.6e-2)
    held_out: int = 16_384  # bytes of each held-out work
    widest: int = 4  # how often a search may widen


TINY = Budget(
    teacher=replace(training.QUICK_GPT, steps=25, batch=2, length=64),
    length=32,
    lessons=3,
    texts=4,
    steps=25,
    tuning_steps=21,
    batch=2,
    window=8,
    features=8,
    held_out=256,
    widest=1,
)
BUDGETS = {"cpu": Budget(), "tiny": TINY}


def average(query, key, value, causal=False):
    """All tokens alike: what is left of attention when nothing is compared."""
    return attention.softmax_attention(0 * query, key, value, causal)


def aft_full(query, key, value, table, causal=False):
    """`attention.aft_full` as products of matrices, which is much faster here."""
    if causal:
        seen = attention.visible(*table.shape[-2:])
        table = table.masked_fill(~seen, -torch.inf)
    by_place = (table - table.amax(-1, keepdim=True)).exp()
    by_key = (key - key.amax(-2, keepdim=True)).exp()
    return query.sigmoid() * (by_place @ (by_key * value)) / (by_place @ by_key)


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


class Swapped(Pieces):
    """Every method in place of softmax in a layer that was trained with softmax."""

    @cache  # noqa: B019, a command has one of these
    def teacher(self, seed):
        """Queries, keys and values of lessons and of held-out texts: three of each."""
        budget = self.budget
        run = replace(budget.teacher, corpus=self.corpus.name, seed=seed)
        model, _ = training.quick_gpt(run, corpus=self.corpus)
        held_out = training.join(self.corpus.validation)
        few = {"length": budget.length, "seed": seed}
        lessons = replace(run, batch=4 * budget.lessons, **few)
        judged = replace(run, batch=2 * budget.texts, **few)
        return [
            model.heads(training.windows(data, wanted, step=0)[0])[1]
            for data, wanted in ((self.data, lessons), (held_out, judged))
        ]

    def methods(self, seed, heads):
        """{name: (method, what it learns of its own, masked)}"""
        budget, (query, key, _) = self.budget, heads
        size, channels = budget.size, query.shape[-1]
        generator = torch.Generator().manual_seed(seed)
        random = attention.orthogonal_projection(size, channels, generator)
        sums = attention.segment_means(torch.eye(budget.length), size).T.contiguous()
        table = attention.mean_scores(query, key)
        linear, linformer = attention.linear_attention_pairs, attention.linformer
        masked = {
            "longformer": (partial(attention.longformer, window=size - 1), []),
            "linear": (linear, []),
            "performer": (partial(attention.performer_pairs, projection=random), []),
            "aft full": (aft_full, [table]),
            "average": (average, []),
        }
        unmasked = {
            "linformer": (linformer, [sums, sums]),
            "nystromformer": (partial(attention.nystromformer, landmarks=size), []),
            "linear, unmasked": (linear, []),
            "average, unmasked": (average, []),
        }
        masked = {name: (partial(f, causal=True), p) for name, (f, p) in masked.items()}
        both = masked | unmasked
        return {name: (*parts, name in masked) for name, parts in both.items()}

    def errors(self, name, rate, seed):
        """The error on held-out texts before and after lessons: on those that a rate is
        chosen by, and on those that count."""
        lessons, held_out = self.teacher(seed)
        method, own, masked = self.methods(seed, lessons)[name]
        heads, channels = lessons[0].shape[1], lessons[0].shape[-1]
        one = torch.eye(channels).repeat(heads, 1, 1)
        params = [x.clone().requires_grad_() for x in (one, one, one, *own)]
        wanted = partial(attention.softmax_attention, causal=masked)

        def error(texts):
            asked = [x @ matrix for x, matrix in zip(texts, params, strict=False)]
            out, exact = method(*asked, *params[3:]), wanted(*texts)
            return (out - exact).norm() / exact.norm()

        def judged():
            with torch.no_grad():
                halves = zip(*(x.chunk(2) for x in held_out), strict=True)
                return [error(half).item() for half in halves]

        before, optimizer = judged(), torch.optim.Adam(params, rate)
        for texts in zip(*(x.split(4) for x in lessons), strict=True):
            loss = error(texts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"before": before, "after": judged()}

    def rows(self, seeds):
        budget = self.budget
        lessons = [torch.zeros(1, 1, budget.length, 16)] * 3
        for name in self.methods(0, lessons):

            def work(rate, seed, name=name):
                found = self.errors(name, rate, seed)
                if seed == TUNING_SEED:
                    return found["after"][0]
                return [found["before"][1], found["after"][1]]

            row = self.row(
                f"swapped-{name}", seeds, budget.rates_swapped, 10**0.5, work
            )
            before, after = zip(*row.pop("seeds"), strict=True)
            masked = self.methods(0, lessons)[name][2]
            plain = {"part": "swapped", "method": name, "masked": masked}
            yield {**plain, "before": before, "after": after, **row}


class Trained(Pieces):
    """A small GPT trained from nothing with every method that can be masked."""

    @property
    def methods(self):
        budget = self.budget
        generator = torch.Generator().manual_seed(0)
        random = attention.orthogonal_projection(budget.features, 16, generator)
        linear = attention.linear_attention_pairs
        return {
            "softmax": attention.fused_attention,
            "longformer": partial(attention.longformer, window=budget.window - 1),
            "linear": linear,
            "performer": partial(attention.performer_pairs, projection=random),
            "aft local": None,  # has positions of its own
            "linear, learned positions": linear,
            "average": average,
        }

    def network(self, name):
        """Two layers, 4 heads of 16 channels; rotary positions unless the name says
        otherwise. What positions add is taken from the hidden channels."""
        shape = transformer.Config(training.VOCABULARY, 2, 64, 4)
        kind, config = "gpt-rotary", shape
        if name == "aft local":
            kind, config = "aft", replace(shape, heads=1)
        if name.endswith("learned positions"):
            kind, config = "gpt-learned", replace(shape, context=self.budget.length)
        config = contenders.nearest(
            contenders.parameters_of("gpt-rotary", shape),
            partial(contenders.parameters_of, kind),
            lambda hidden: replace(config, hidden=hidden),
        )
        if kind == "aft":
            return contenders.AFT(config)
        return transformer.GPT(config, self.methods[name])

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
            row = self.row(f"trained-{name}", seeds, budget.rates_trained, 2, work)
            losses = row.pop("seeds")
            exact = exact or losses
            plain = {"part": "trained", "method": name, "loss": losses}
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
    half = student_t.ppf(0.975, count - 1).item() * error if error else 0.0
    return [statistics.mean(differences), half]


def table(rows):
    """What is printed of a row."""
    for row in rows:
        if row["part"] == "swapped":
            before, after = (statistics.mean(row[key]) for key in ("before", "after"))
            result = f"error {before:.2f}, after lessons {after:.2f}"
        else:
            mean, half = row["more than softmax"]
            loss = statistics.mean(row["loss"])
            result = f"{loss:.3f} nats, {mean:+.3f} ± {half:.3f} beside softmax"
        yield {
            "part": row["part"],
            "method": row["method"],
            "rate": f"{row['rate']:.3g}" + ("" if row["inside"] else ", at the edge"),
            "result": result,
        }


PARTS = {"swapped": Swapped, "trained": Trained}


def main(budget, seeds, parts, folder, corpus):
    """The rows of the parts; printed as they come."""
    rows = []
    for part in parts:
        for row in PARTS[part](budget, folder, corpus).rows(seeds):
            rows.append(row)
            print(next(table([row])), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", choices=BUDGETS, default="cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=PARTS, help="one half alone, not recorded")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen, name = BUDGETS[options.budget], options.budget
    parts = [options.part] if options.part else list(PARTS)
    corpus = corpora.load("shakespeare")
    rows = main(chosen, options.seeds, parts, RUNS / name, corpus)
    measure.print_table(list(table(rows)))
    if name != "tiny" and not options.part:
        measure.record("cheaper-attention", "cpu", rows, plan=asdict(chosen))
