"""A model of Shakespeare is to write like this book: what has to be trained for that?

    python benchmarks/state_tuning.py [--tiny]

Four ways: read a prompt in the new manner and train nothing; train only the first state
of the book's own RWKV-7; train two thin matrices beside each matrix (LoRA), of a rank
that makes about as many numbers; train all weights. The text is the book's own prose,
whole sections of it apart: from some everything is learned, on others the length of the
prompt and each way's learning rate are chosen, and on the sections that the corpus
holds out each is judged, section by section from its first byte to its last. All that
is trained reads the same windows in the same order, as many steps. The rate has a worse
one on each side of it; at the best one there are three seeds. Of what was learned
before, the beginnings of three plays are asked as well. It takes about half an hour of
a core, and goes on where it was interrupted. --tiny does three steps of each.
"""

import argparse
import time
from dataclasses import asdict, replace

import measure
import pieces
import torch

from rwkv_book import checkpoint
from rwkv_book.labs import context
from rwkv_book.rwkv7.model import RWKV
from rwkv_book.text import corpora
from rwkv_book.training import Run, fit, join, tuning

RUN = Run(
    corpus="prose", layers=4, width=256, steps=100, batch=4, length=256, warm_up=10,
    version="7",
)  # fmt: skip
RANK = 4
SEEDS = 3
PREPARE = {
    "first state": tuning.first_state,
    "low rank": lambda model: tuning.low_rank(model, RANK),
    "whole": tuning.whole,
}
RATES = {"first state": (0.3, 1.0), "low rank": (3e-3, 1e-2), "whole": (5e-4, 1.5e-3)}
PROMPTS = (128, 512, 2048, 8192)  # bytes
OLD = 4096  # bytes of each held-out play
POSITIONS = (16, 64, 256, 1024)  # a curve's ends, in bytes of a section


def sections():
    """Three corpora of whole sections: to learn from, to choose by, to be judged on."""
    corpus = corpora.load("prose")
    choosing = list(corpus.training)[4::12]
    learned = {n: t for n, t in corpus.training.items() if n not in choosing}
    return learned, {n: corpus.training[n] for n in choosing}, corpus.validation


def shipped():
    return RWKV.load(checkpoint.shipped("shakespeare7"))


@torch.no_grad()
def nats_of(model, works, state=None):
    """-ln p of every byte of each work, read on from a state: {name: (T,)}"""
    return {
        name: context.nats_after(model, state, torch.from_numpy(tokens)[None].long())[0]
        for name, text in works.items()
        for tokens in [join({name: text})[:-1]]
    }


def mean(nats):
    return torch.cat(list(nats.values())).mean().item()


def by_position(nats):
    """The mean of bytes 1 to 16, 17 to 64, ... and of all behind the last."""
    ends, first, found = [*POSITIONS, max(map(len, nats.values()))], 0, []
    for end in ends:
        found.append(torch.cat([each[first:end] for each in nats.values()]).mean())
        first = end
    return [round(each.item(), 4) for each in found]


def judge(model, state=None, small=False):
    """All that is recorded of a model, and of a state that it begins with."""
    _, choosing, held_out = sections()
    if small:
        choosing, held_out = (dict(list(x.items())[:1]) for x in (choosing, held_out))
    plays = corpora.load("shakespeare").validation
    old = {name: text[: 64 if small else OLD] for name, text in plays.items()}
    nats = nats_of(model, held_out, state)
    return {
        "loss": round(mean(nats), 4),
        "tuning_loss": round(mean(nats_of(model, choosing, state)), 4),
        "old_loss": round(mean(nats_of(model, old, state)), 4),
        "sections": {name: round(each.mean().item(), 4) for name, each in nats.items()},
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
    started = time.perf_counter()
    if job["arm"] == "prompt":
        model, data = shipped(), join(sections()[0])
        start = job["seed"] * len(data) // SEEDS
        prompt = torch.from_numpy(data[start : start + job["bytes"]]).long()
        with torch.no_grad():
            _, state = model(prompt[None])
        seconds = time.perf_counter() - started
        return {"numbers": 0, "seconds": round(seconds, 1), **judge(model, state, small)}
    if job["arm"] == "nothing":
        return {"numbers": 0, "seconds": 0.0, **judge(shipped(), None, small)}
    model, losses = trained(job, run)
    seconds = time.perf_counter() - started
    return {
        "numbers": tuning.trained_numbers(model),
        "seconds": round(seconds, 1),
        **judge(model, None, small),
        "training_loss": [round(loss, 3) for loss in losses[::5]],
    }


def rows(run, tiny=False):
    """Nothing, prompts of all lengths, and what is trained at its best rate."""
    path = checkpoint.shipped("shakespeare7")
    settings = {
        **asdict(run), "rank": RANK, "weights": checkpoint.metadata(path), "tiny": tiny,
    }  # fmt: skip
    made = pieces.Pieces("state-tuning", settings, lambda job: row(job, run, tiny))
    found = [made.row({"arm": "nothing"})]
    lengths, seeds = (PROMPTS[:1], 1) if tiny else (PROMPTS, SEEDS)
    for length in lengths:
        for seed in range(seeds):
            found.append(made.row({"arm": "prompt", "bytes": length, "seed": seed}))
    for arm in PREPARE:
        if tiny:
            job = {"arm": arm, "learning_rate": RATES[arm][0], "seed": 0}
            found.append(made.row(job))
        else:
            found += made.compare([{"arm": arm}], RATES[arm], SEEDS, "tuning_loss")
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
