"""Does an LSTM judge film reviews better than a bag of words?

    python benchmarks/lstm_against_bag.py [--budget tiny|seconds|minutes]

All contenders read the same words of the same reviews: the last 80 (or 200), and one
sign in place of each that is not among the 6,000 (or 10,000) most frequent. Every knob
of each is chosen on the validation part, one knob after another: it is moved until the
next value on either side is no better. An LSTM's are learning rate, passes and dropout,
tried from a seed that is not used again; a bag's are the strength of its regression and
whether counts enter as they are or as logarithms. What was chosen is trained anew, an
LSTM from several seeds, and asked for its verdicts on the test part, which are recorded
bit by bit (`right`, hexadecimal), so that whoever reads the record can compare any two
on pairs of reviews.

Every fit is a file in runs/lstm-against-bag: a command that was interrupted goes on
after the last of them. Without --budget both are run, some fifty minutes of one core.
Seconds are those of one core, whatever else the machine does.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from functools import partial

import measure
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import dropout

from rwkv_book import rnn
from rwkv_book.folders import write_text
from rwkv_book.text import reviews

RUNS = measure.ROOT / "runs" / "lstm-against-bag"
SEARCH_SEED = 1000  # not one of those that are compared


@dataclass(frozen=True)
class Bag:
    """TF-IDF of runs of up to `longest` words, and a logistic regression."""

    words: int
    vocabulary: int
    longest: int
    strength: float = 3
    logarithm: bool = True

    @property
    def name(self):
        return ("bag of words", "bag of words and pairs")[self.longest - 1]

    @property
    def knobs(self):
        strengths = 0.1, 0.3, 1, 3, 10, 30, 100
        return {"strength": strengths, "logarithm": (False, True)}

    def verdicts(self, split, seed):
        """Whether each review of validation and test is judged right: two tensors."""
        vocabulary = reviews.vocabulary_of(split.training, self.vocabulary)
        counts = TfidfVectorizer(
            analyzer=lambda review: reviews.runs_of(
                reviews.known_words(review, vocabulary, self.words), self.longest
            ),
            min_df=2,
            sublinear_tf=self.logarithm,
        )
        regression = LogisticRegression(C=self.strength, solver="liblinear")
        regression.fit(counts.fit_transform(split.training), labels_of(split.training))
        sides = split.validation, split.test
        return [
            right(torch.tensor(regression.predict_proba(counts.transform(s)))[:, 1], s)
            for s in sides
        ]


@dataclass(frozen=True)
class Lstm:
    """The chapter's classifier, with dropout; `mean` judges the mean of all states."""

    words: int
    vocabulary: int
    width: int
    mean: bool = False
    rate: float = 0.01
    passes: int = 2
    dropout: float = 0.3
    most_passes: int = 32

    @property
    def name(self):
        return "LSTM, mean state" if self.mean else "LSTM"

    @property
    def knobs(self):
        return {
            "rate": (0.001, 0.003, 0.01, 0.03, 0.1),
            "passes": tuple(n for n in (1, 2, 4, 8, 16, 32) if n <= self.most_passes),
            "dropout": (0.0, 0.3, 0.5, 0.7),
        }

    def verdicts(self, split, seed):
        """Whether each review of validation and test is judged right: two tensors."""
        vocabulary = reviews.vocabulary_of(split.training, self.vocabulary)
        torch.manual_seed(seed)
        judge = Judge(self, len(vocabulary))
        batches = reviews.batches_of(
            split.training, vocabulary, self.words, 64, self.passes, seed
        )
        reviews.train(judge, reviews.verdict_loss, batches, self.rate)
        judge.eval()
        sides = split.validation, split.test
        return [
            right(reviews.chance_of_positive(judge, s, vocabulary, self.words), s)
            for s in sides
        ]


class Judge(rnn.Classifier):
    """A classifier that leaves words and states out in training, as a setting says."""

    def __init__(self, setting, words):
        super().__init__(rnn.Config(words, 1, setting.width), classes=2)
        self.setting = setting

    def forward(self, tokens, lengths):
        outputs, _ = self.trunk.lstm(self.dropped(self.trunk.embedding(tokens)))
        if self.setting.mean:
            real = torch.arange(tokens.shape[1]) < lengths[:, None]
            seen = (outputs * real[..., None]).sum(1) / lengths[:, None]
        else:
            seen = outputs[torch.arange(len(tokens)), lengths - 1]
        return self.head(self.dropped(seen))

    def dropped(self, x):
        return dropout(x, self.setting.dropout, self.training)


def labels_of(side):
    return torch.tensor([review.positive for review in side])


def right(chance, side):
    """True for each review that is judged as its label says."""
    return (chance > 0.5) == labels_of(side)


def as_hexadecimal(bits):
    """Verdicts as text: review n is bit n, the first one to the left."""
    digits = "".join("01"[bit] for bit in bits.tolist())
    return f"{int(digits, 2):0{-(-len(digits) // 4)}x}"


@dataclass(frozen=True)
class Budget:
    """Who is compared, from how many seeds, on how many reviews of each part."""

    contenders: tuple
    seeds: int
    reviews: int | None = None


def contenders(words, vocabulary, width, most_passes, means=(False,)):
    networks = (
        Lstm(words, vocabulary, width, mean, most_passes=most_passes) for mean in means
    )
    return *(Bag(words, vocabulary, longest) for longest in (1, 2)), *networks


BUDGETS = {
    "tiny": Budget(contenders(20, 500, 4, 2, (False, True)), seeds=2, reviews=300),
    "seconds": Budget(contenders(80, 6000, 32, 32, (False, True)), seeds=5),
    "minutes": Budget(contenders(200, 10_000, 64, 32), seeds=3),
}


def fit(setting, split, seed, folder):
    """The row of one fit, from its file where there is one already."""
    values = [f"{name}-{value}" for name, value in asdict(setting).items()]
    path = folder / f"{type(setting).__name__}-{'-'.join(values)}-seed-{seed}.json"
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    start = time.process_time()
    validation, test = setting.verdicts(split, seed)
    row = {
        "model": setting.name,
        **asdict(setting),
        "seed": seed,
        "core seconds": round(time.process_time() - start, 1),
        "validation": round(validation.double().mean().item(), 5),
        "test": round(test.double().mean().item(), 5),
        "right": as_hexadecimal(test),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(row))
    print(setting, seed, row["validation"], row["core seconds"], flush=True)
    return row


def searched(setting, row_of):
    """The best setting on validation, and a row for each one that was tried."""
    tried = {}

    def judged(setting):
        tried[setting] = row_of(setting)
        return tried[setting]["validation"]

    for knob, values in setting.knobs.items():
        for step in (1, -1):
            place = values.index(getattr(setting, knob)) + step
            while 0 <= place < len(values):
                other = replace(setting, **{knob: values[place]})
                if judged(other) <= judged(setting):
                    break
                setting, place = other, place + step
    hidden = ("test", "right")  # nothing was chosen by them: not even shown
    rows = [{k: v for k, v in row.items() if k not in hidden} for row in tried.values()]
    return setting, rows


def compared(name, split, folder):
    """Rows of the search and rows of the result, contender by contender."""
    budget = BUDGETS[name]
    if budget.reviews:
        split = reviews.Split(*(side[: budget.reviews] for side in split))
    for start in budget.contenders:
        row_of = partial(fit, split=split, folder=folder / name)
        setting, search = searched(start, partial(row_of, seed=SEARCH_SEED))
        seeds = range(1, budget.seeds + 1) if isinstance(start, Lstm) else [SEARCH_SEED]
        found = [row_of(setting, seed=seed) for seed in seeds]
        yield [{"stage": "search", "budget": name, **row} for row in search]
        yield [{"stage": "result", "budget": name, **row} for row in found]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", choices=BUDGETS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    names = [options.budget] if options.budget else ["seconds", "minutes"]
    rows, split = [], reviews.load()
    for name in names:
        for part in compared(name, split, RUNS):
            rows += part
    results = [row for row in rows if row["stage"] == "result"]
    columns = ("model", "words", "seed", "core seconds", "validation", "test")
    measure.print_table([{name: row[name] for name in columns} for row in results])
    if options.budget is None:
        measure.record("lstm-against-bag", "cpu", rows)


if __name__ == "__main__":
    main()
