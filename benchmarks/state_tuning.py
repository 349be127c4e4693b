"""A model of Shakespeare is to write like this book: what has to be trained for that?

    python benchmarks/state_tuning.py [--tiny]

Four ways: read a prompt in the new manner and train nothing; train only the first state
of the book's own RWKV-7; train two thin matrices beside each matrix (LoRA), of a rank
that makes about as many numbers; train all weights. The text is the book's own prose,
whole sections of it apart: from some everything is learned, on others the length of the
prompt and each way's learning rate are chosen, and on the sections that the corpus
holds out each is judged, in windows as long as those of training, every one begun with
the first state, or where the prompt ends. All that is trained reads the same windows in
the same order, as many steps. The rate has a worse one on each side of it; at the best
one there are three seeds. Of what was learned before, the beginnings of three plays are
asked as well. Seconds are those of a core. It needs a C++ compiler and some ten
minutes, and goes on where it was interrupted.
--tiny does three steps of each.
"""

import argparse
import time
from dataclasses import asdict, replace
from itertools import pairwise

import measure
import pieces
import torch

from rwkv_book import checkpoint, readers
from rwkv_book.labs import context
from rwkv_book.rwkv7.model import RWKV
from rwkv_book.text import corpora
from rwkv_book.training import Run, fast_wkv, fit, join, tuning

RUN = Run(
    corpus="prose", layers=4, width=256, steps=40, batch=2, length=512, warm_up=4,
    bfloat16=True, version="7",
)  # fmt: skip
RANK = 4
SEEDS = 3
PREPARE = {
    "first state": tuning.first_state,
    "low rank": lambda model: tuning.low_rank(model, RANK),
    "whole": tuning.whole,
}
RATES = {"first state": (3.0, 10.0), "low rank": (1e-2, 3e-2), "whole": (1e-3, 3e-3)}
PROMPTS = (1024, 8192)  # bytes
OLD = 1024  # bytes of each held-out play
POSITIONS = (16, 64, 192, 512)  # where the stretches of a curve end, in bytes


def sections():
    """Three corpora of whole sections: to learn from, to choose by, to be judged on."""
    corpus = corpora.load("prose")
    choosing = list(corpus.training)[4::24]
    learned = {n: t for n, t in corpus.training.items() if n not in choosing}
    return learned, {n: corpus.training[n] for n in choosing}, corpus.validation


def shipped():
    return RWKV.load(checkpoint.shipped("shakespeare7"), fast_wkv("7"))


@torch.no_grad()
def nats_of(model, works, length, state=None, batch=8):
    """-ln p in windows of `length` bytes, each read on from a state: (windows,length)

    A window follows the other; the byte before it is read too. What does not fill a
    last one is left out.
    """
    tokens = torch.from_numpy(join(works)).long().unfold(0, length + 1, length)
    rows = [
        context.nats_after(
            model, None if state is None else readers.fork(state, len(some)), some
        )
        for some in tokens.split(batch)
    ]
    return torch.cat(rows)


def by_position(nats):
    """The mean of bytes 1 to 16 of a window, 17 to 64, ..."""
    pairs = pairwise((0, *POSITIONS))
    stretches = [nats[:, a:b] for a, b in pairs if a < nats.shape[1]]
    return [round(each.mean().item(), 4) for each in stretches]


def judge(model, length, state=None, small=False):
    """All that is recorded of a model, and of a state that it begins with."""
    _, choosing, held_out = sections()
    if small:
        choosing, held_out = (dict(list(x.items())[:1]) for x in (choosing, held_out))
    plays = corpora.load("shakespeare").validation
    old = {name: text[: 64 if small else OLD] for name, text in plays.items()}
    nats = nats_of(model, held_out, length, state)
    tuning, before = (
        nats_of(model, works, length, state).mean().item() for works in (choosing, old)
    )
    return {
        "loss": round(nats.mean().item(), 4),
        "tuning_loss": round(tuning, 4),
        "old_loss": round(before, 4),
        "windows": [round(each, 3) for each in nats.mean(1).tolist()],
        "by_position": by_position(nats),
    }


def trained(job, run):
    """A model after tuning, and the loss before each step."""
    rate = job["learning_rate"]
    run = replace(
        run, learning_rate=rate, final_learning_rate=rate / 20, seed=job["seed"]
    )
    torch.manual_seed(run.seed)
    model = PREPARE[job["arm"]](shipped())
    losses = fit(model, run, join(sections()[0]))
    return model, [loss.item() for loss in losses]


def row(job, run, small=False):
    """What came of one job."""
    started = time.process_time()
    if job["arm"] == "prompt":
        model, data = shipped(), join(sections()[0])
        start = job["seed"] * len(data) // SEEDS
        prompt = torch.from_numpy(data[start : start + job["bytes"]]).long()
        with torch.no_grad():
            _, state = model(prompt[None])
        seconds = time.process_time() - started
        return {
            "numbers": 0,
            "seconds": round(seconds, 1),
            **judge(model, run.length, state, small),
        }
    if job["arm"] == "nothing":
        return {
            "numbers": 0,
            "seconds": 0.0,
            **judge(shipped(), run.length, None, small),
        }
    model, losses = trained(job, run)
    seconds = time.process_time() - started
    return {
        "numbers": tuning.trained_numbers(model),
        "seconds": round(seconds, 1),
        **judge(model, run.length, None, small),
        "training_loss": [round(loss, 3) for loss in losses[::5]],
    }


def rows(run, tiny=False, folder=pieces.RUNS):
    """Nothing, what is trained at its best rate, and prompts of all lengths."""
    path = checkpoint.shipped("shakespeare7")
    settings = {
        **asdict(run), "rank": RANK, "weights": checkpoint.metadata(path), "tiny": tiny,
    }  # fmt: skip
    made = pieces.Pieces(
        "state-tuning", settings, lambda job: row(job, run, tiny), folder
    )
    found = [made.row({"arm": "nothing"})]
    for arm in PREPARE:
        if tiny:
            job = {"arm": arm, "learning_rate": RATES[arm][0], "seed": 0}
            found.append(made.row(job))
        else:
            found += made.compare([{"arm": arm}], RATES[arm], SEEDS, "tuning_loss")
    lengths, seeds = (PROMPTS[:1], 1) if tiny else (PROMPTS, SEEDS)
    for length in lengths:
        for seed in range(seeds):
            found.append(made.row({"arm": "prompt", "bytes": length, "seed": seed}))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.tiny:
        rows(replace(RUN, steps=3, warm_up=1, batch=1, length=32), tiny=True)
        return
    measure.record(
        "state-tuning", "cpu", rows(RUN),
        run=asdict(RUN), rank=RANK, positions=POSITIONS,
        weights=checkpoint.metadata(checkpoint.shipped("shakespeare7")),
    )  # fmt: skip


if __name__ == "__main__":
    main()
