"""What can one linear map read off the state of a model that only predicted bytes?

    python benchmarks/state_probes.py [--tiny]

Whether a review is positive, from the last 200 bytes of chapter 1's reviews in its own
split, and which of four kinds of text 64 bytes are from, in lower-case words alone: the
three plays that the model never read, this book's prose, film reviews long and short.
There whole works take turns in being tested on. The book's RWKV-7 and RWKV-4 read, and
an RWKV-7 before training; the whole state is asked and each part of it alone. Beside
them are bags of bytes, of pairs of bytes and of words that read the same text, and true
states with labels that were shuffled. The strength of every probe and bag is chosen on
texts of their own. Three samples of the training reviews, three turns of works. It
needs a C++ compiler and some five minutes of a core, and goes on where it was
interrupted. --tiny asks few texts and records nothing.
"""

import argparse

import measure
import numpy as np
import pieces
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from rwkv_book import checkpoint, readers
from rwkv_book.labs import probing
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import END_OF_TEXT, corpora, reviews
from rwkv_book.training import fast_wkv, read_model

SIZES = {"training": 1000, "validation": 300, "test": 800}
LENGTH, SHORT = 200, 64  # bytes of a review, of a piece
SAMPLES, SHARE = 3, 0.8  # of the training reviews
KINDS = ("Shakespeare", "this book", "long reviews", "short reviews")
PER_KIND = 100  # pieces of each kind in each third
MODELS = {"RWKV-7": "shakespeare7", "RWKV-4": "shakespeare"}
REGRESSIONS = (1, 3, 10)  # the strengths of a bag's regression, as in chapter 1


def network(name, trained=True):
    """The book's model, or one of its shape that has learned nothing."""
    wkv = fast_wkv("7") if name == "RWKV-7" else wkv_fused
    model = read_model(checkpoint.shipped(MODELS[name]), wkv).requires_grad_(False)
    if trained:
        return model
    torch.manual_seed(0)
    fresh = type(model)(model.config)
    model.load_state_dict(fresh.state_dict())
    return model


def states_of(model, texts):
    """{(layer, part): (n, numbers)} after each text, read from its beginning."""
    tokens = [[END_OF_TEXT, *text] for text in texts]
    with torch.autocast("cpu", torch.bfloat16):  # tables stay in float32
        _, states = readers.read_each(model, tokens)
    return probing.parts_of(states, getattr(model.config, "heads", None))


def review_bytes(side, count, length=LENGTH):
    """The last bytes of the words of a review, and labels (n,)."""
    some = side[:count]
    texts = [" ".join(review.words).encode()[-length:] for review in some]
    return texts, torch.tensor([review.positive for review in some])


def kinds_in_thirds(split, per_kind):
    """Three lists of pieces and their labels; no work is in two of them."""
    plays = corpora.load("shakespeare").validation
    prose = corpora.prose()
    book = list((prose.training | prose.validation).items())
    thirds = []
    for n, play in enumerate(plays.values()):
        works = [{"": play}, dict(book[n::3])]
        for source in ("imdb", "rotten_tomatoes"):
            some = [r for r in split.training if r.source == source][n::3]
            some = some[: 4 * per_kind]
            works.append({"": b" ".join(" ".join(r.words).encode() for r in some)})
        texts, labels = [], []
        for kind, each in enumerate(works):
            plain = {
                name: " ".join(
                    reviews.words_of(text.decode("utf-8", "replace"))
                ).encode()
                for name, text in each.items()
            }
            texts += probing.pieces_of(plain, SHORT, per_kind)
            labels += [kind] * per_kind
        thirds.append((texts, torch.tensor(labels)))
    return thirds


def score(parts, labels, turns):
    """{part: [share right in each turn]}, of the whole state too, and shuffled.

    A turn is three lists of places: fitted on, chosen by, tested on.
    """
    found, shuffled = {}, []
    generator = torch.Generator().manual_seed(0)
    whole = torch.cat(list(parts.values()), dim=1)
    for name, x in {"whole": whole, **parts}.items():
        name = name if isinstance(name, str) else f"{name[0]} {name[1]}"
        found[name] = [share_right(x, labels, turn).tolist() for turn in turns]
    for turn in turns:
        mixed = labels[torch.randperm(len(labels), generator=generator)]
        shuffled.append(share_right(whole, mixed, turn).tolist())
    return {**found, "labels shuffled": shuffled}


def share_right(x, labels, turn):
    """1 where the probe that was chosen is right, (n,) of what it is tested on."""
    fitted, chosen, tested = turn
    probe = probing.choose(x[fitted], labels[fitted], x[chosen], labels[chosen])
    return probing.right(probe, x[tested], labels[tested]).int()


def score_bag(texts, labels, turns, longest):
    """The same for a bag of words, or of words and pairs, as in chapter 1."""
    found = []
    for turn in turns:
        words = [[texts[n].decode().split() for n in places] for places in turn]
        fitted, chosen, tested = (labels[places].numpy() for places in turn)
        counts = TfidfVectorizer(
            analyzer=lambda each: reviews.runs_of(each, longest),
            min_df=2,
            sublinear_tf=True,
        )
        x = counts.fit_transform(words[0])
        chosen_x, tested_x = (counts.transform(some) for some in words[1:])
        fits = [
            LogisticRegression(C=c, max_iter=1000).fit(x, fitted) for c in REGRESSIONS
        ]
        best = max(fits, key=lambda fit: fit.score(chosen_x, chosen))
        found.append((best.predict(tested_x) == tested).astype(int).tolist())
    return found


def tasks(split, tiny=False):
    """{task: (texts, labels, turns)}, with reviews from a Split."""
    scale = 20 if tiny else 1
    texts, labels, places = [], [], []
    for side, count in SIZES.items():
        some, right = review_bytes(getattr(split, side), count // scale)
        places.append(torch.arange(len(texts), len(texts) + len(some)))
        texts, labels = texts + some, [*labels, right]
    turns = []
    for seed in range(1 if tiny else SAMPLES):
        order = torch.randperm(
            len(places[0]), generator=torch.Generator().manual_seed(seed)
        )
        turns.append((order[: int(SHARE * len(order))], *places[1:]))
    verdict = texts, torch.cat(labels), turns
    thirds = kinds_in_thirds(split, PER_KIND // scale)
    size = len(thirds[0][0])
    blocks = torch.arange(3 * size).view(3, size)
    turns = []
    for n in range(3):
        others = torch.cat([blocks[n - 1], blocks[n - 2]])
        others = others[
            torch.randperm(2 * size, generator=torch.Generator().manual_seed(n))
        ]
        turns.append((others[size // 2 :], others[: size // 2], blocks[n]))
    texts = [text for third, _ in thirds for text in third]
    kind = texts, torch.cat([labels for _, labels in thirds]), turns
    return {"verdict": verdict, "kind": kind}


def row(job, known):
    """What one reader makes of one task: what is right, text by text."""
    texts, labels, turns = known[job["task"]]
    reader = job["reader"]
    if reader.startswith("bag of words"):
        right = {"whole": score_bag(texts, labels, turns, 1 + ("pairs" in reader))}
    elif reader.startswith("bag of bytes"):
        x = probing.letters(texts, pairs="pairs" in reader)
        right = {"whole": [share_right(x, labels, t).tolist() for t in turns]}
    else:
        parts = states_of(network(reader[:6], "untrained" not in reader), texts)
        right = score(parts, labels, turns)
    means = {
        name: [round(float(np.mean(turn)), 4) for turn in each]
        for name, each in right.items()
    }
    whole = np.array(right["whole"])  # (turns, texts)
    whole = whole.sum(0) if job["task"] == "verdict" else whole.flatten()
    return {"right": means, "each": "".join(map(str, whole))}


READERS = (
    "bag of bytes", "bag of bytes and pairs", "bag of words", "bag of words and pairs",
    "RWKV-7", "RWKV-7 untrained", "RWKV-4",
)  # fmt: skip


def rows(tiny=False):
    """All readers at both tasks."""
    known = tasks(reviews.load(), tiny)
    settings = {
        "sizes": SIZES, "lengths": (LENGTH, SHORT), "samples": (SAMPLES, SHARE),
        "per_kind": PER_KIND, "tiny": tiny,
        "weights": {
            name: checkpoint.metadata(checkpoint.shipped(file))
            for name, file in MODELS.items()
        },
    }  # fmt: skip
    made = pieces.Pieces("state-probes", settings, lambda job: row(job, known))
    return [
        made.row({"task": task, "reader": reader}) for task in known
        for reader in READERS
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found = rows(chosen.tiny)
    if not chosen.tiny:
        measure.record(
            "state-probes",
            "cpu",
            found,
            sizes=SIZES,
            lengths=(LENGTH, SHORT),
            samples=SAMPLES,
            kinds=KINDS,
            per_kind=PER_KIND,
        )


if __name__ == "__main__":
    main()
