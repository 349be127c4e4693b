"""Does an LSTM judge film reviews better than a bag of words when it has minutes?

    python benchmarks/lstm_against_bag.py [--seeds 0 1 2]

Chapter 1 trains one for some seconds, on the last 80 words, and a bag of words wins.
Here the LSTM has twice the width, 200 words, more of the vocabulary, dropout and more
passes, with the verdict read off its final state, and off the mean of its states. The
bags read as many words; the strength of their regression is chosen on validation, as
the settings of the LSTMs were, from a few tries. Accuracies are parts of 4000 test
reviews; `ahead` is the accuracy of an LSTM less that of the bag of words and pairs that
reads as much, with a 95 % interval from review by review. Seconds are those of one
core, whatever else the machine does.
"""

import argparse
import time
from dataclasses import dataclass

import measure
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import dropout

from rwkv_book import rnn
from rwkv_book.text import reviews


@dataclass(frozen=True)
class Setting:
    """How an LSTM is built and trained."""

    name: str
    words: int
    vocabulary: int
    width: int
    passes: int
    learning_rate: float
    dropout: float = 0.0
    of_all: bool = False  # judge the mean of all states, not the last one


SETTINGS = [
    Setting("as in chapter 1", 80, 6000, 32, 2, 0.01),
    Setting("final state", 200, 10_000, 64, 6, 0.005, 0.3),
    Setting("mean of states", 200, 10_000, 64, 4, 0.005, 0.3, of_all=True),
]


class Judge(rnn.Classifier):
    """The chapter's classifier, with dropout, and a mean of the states if asked."""

    def __init__(self, setting):
        super().__init__(rnn.Config(setting.vocabulary, 1, setting.width), classes=2)
        self.setting = setting

    def forward(self, tokens, lengths):
        x = self.dropped(self.trunk.embedding(tokens))
        outputs, _ = self.trunk.lstm(x)  # (B,T,C)
        if self.setting.of_all:
            real = torch.arange(tokens.shape[1]) < lengths[:, None]
            seen = (outputs * real[..., None]).sum(1) / lengths[:, None]
        else:
            seen = outputs[torch.arange(len(tokens)), lengths - 1]
        return self.head(self.dropped(seen))

    def dropped(self, x):
        return dropout(x, self.setting.dropout, self.training)


def trained(setting, split, seed):
    """The chances on validation and test, and the seconds of a core it took."""
    vocabulary = reviews.vocabulary_of(split.training, setting.vocabulary)
    torch.manual_seed(seed)
    judge = Judge(setting)
    start = time.process_time()
    batches = reviews.batches_of(
        split.training, vocabulary, setting.words, 64, setting.passes, seed
    )
    reviews.train(judge, reviews.verdict_loss, batches, setting.learning_rate)
    seconds = time.process_time() - start
    judge.eval()
    chances = [
        reviews.chance_of_positive(judge, side, vocabulary, setting.words)
        for side in (split.validation, split.test)
    ]
    return *chances, seconds


def bag(split, words, longest, strengths=(1, 3, 10)):
    """As `trained`, for TF-IDF of runs of up to `longest` of the last `words` words."""
    counts = TfidfVectorizer(
        preprocessor=lambda review: " ".join(review.words[-words:]),
        token_pattern=r"\S+",
        ngram_range=(1, longest),
        min_df=2,
        sublinear_tf=True,
    )
    start = time.process_time()
    x, labels = counts.fit_transform(split.training), labels_of(split.training)
    sides = [counts.transform(side) for side in (split.validation, split.test)]
    fits = []
    for strength in strengths:
        regression = LogisticRegression(C=strength, solver="liblinear").fit(x, labels)
        chances = [torch.tensor(regression.predict_proba(side)[:, 1]) for side in sides]
        fits.append((*chances, (time.process_time() - start) / len(strengths)))
    return max(fits, key=lambda fit: right(fit[0], split.validation).mean())


def labels_of(side):
    return torch.tensor([review.positive for review in side])


def right(chance, side):
    """1 for each review that is judged as its label says, else 0."""
    return ((chance > 0.5) == labels_of(side)).double()


def row_of(name, words, seed, found, split, rival=None):
    """What is recorded of one model; `rival` is the bag that it is compared with."""
    validation, test, seconds = found
    verdicts = right(test, split.test)
    row = {"model": name, "words": words, "seed": seed, "core seconds": seconds}
    row["validation"] = right(validation, split.validation).mean().item()
    row["test"] = verdicts.mean().item()
    for source in ("imdb", "rotten_tomatoes"):
        of_source = torch.tensor([review.source == source for review in split.test])
        row[source] = verdicts[of_source].mean().item()
    if rival is not None:
        difference = verdicts - right(rival[1], split.test)
        error = 1.96 * difference.std().item() / len(difference) ** 0.5
        mean = difference.mean().item()
        row |= {"ahead": mean, "low": mean - error, "high": mean + error}
    return row


def rows_for(split, settings, seeds):
    """A row for each bag, then for each seed and setting, as soon as it is there."""
    rivals = {}
    for words in sorted({setting.words for setting in settings}):
        for name, longest in (("bag of words", 1), ("bag of words and pairs", 2)):
            rivals[words] = bag(split, words, longest)
            yield row_of(name, words, None, rivals[words], split)
    for seed in seeds:
        for setting in settings:
            found = trained(setting, split, seed)
            name, rival = f"LSTM, {setting.name}", rivals[setting.words]
            yield row_of(name, setting.words, seed, found, split, rival)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = {setting.name: vars(setting) for setting in SETTINGS}
    rows = []
    for row in rows_for(reviews.load(), SETTINGS, options.seeds):
        rows.append(row)  # recorded at once, so that a run can be cut short
        measure.record("lstm-against-bag", "cpu", rows, settings=settings)
    columns = ("model", "words", "seed", "core seconds", "validation", "test")
    measure.print_table([{name: row[name] for name in columns} for row in rows])
