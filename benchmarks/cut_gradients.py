"""How wrong is a gradient that is cut, beside one that comes from other windows?

    python benchmarks/cut_gradients.py [--tiny]

Three small RWKVs, trained as chapter 7's is, from three seeds. For each seven pairs of
batches that it was not trained on. A row has, of the first batch, how far a gradient
that goes back 1, 2, 4 ... tokens is from the whole one, for all parameters and for some
(`relative_error`), and its cosine with it; and the cosine between the whole gradients
of both batches. In double precision. No times are recorded. It takes two minutes of a
core, and goes on where it was interrupted. --tiny trains a few steps and records
nothing.
"""

from dataclasses import asdict, replace
from functools import cache, partial

import measure
import pieces

from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.model import RWKV
from rwkv_book.text import corpora
from rwkv_book.training import Run, ablations, join, windows

RUN = Run(
    corpus="prose", layers=2, width=64, steps=208, batch=8, length=128,
    learning_rate=0.012, final_learning_rate=6e-4, warm_up=15,
)  # fmt: skip
SEEDS, PAIRS = 3, 7
FIRST = 900  # the number of a step that no run comes to
THROUGH = (1, 2, 4, 8, 16, 32, 64)
GROUPS = {
    "all parameters": "", "decay rates": "decay", "keys": "time_mix.key",
    "head": "head.weight",
}  # fmt: skip
COMMAND = "python benchmarks/cut_gradients.py"


@cache
def trained(run):
    """The model of a run after its last step, in double precision."""
    model, _ = ablations.learn(run, wkv=wkv_fused)
    exact = RWKV(model.config).double()
    exact.load_state_dict(model.state_dict())
    return exact


def row_for(job, run):
    run = replace(run, seed=job["seed"])
    model, data = trained(run), join(corpora.load(run.corpus).training)
    first = FIRST + 2 * job["pair"]
    batch, other = (windows(data, run, step) for step in (first, first + 1))
    whole = ablations.gradient(model, *batch)
    cuts = [
        ablations.gradient(ablations.Truncated(model, through), *batch)
        for through in THROUGH
    ]
    errors = {
        group: [round(ablations.relative_error(cut, whole, names), 4) for cut in cuts]
        for group, part in GROUPS.items()
        for names in [[name for name in whole if part in name]]
    }
    return {
        "errors": errors,
        "cosines": [round(ablations.cosine(cut, whole), 4) for cut in cuts],
        "other_batch": round(
            ablations.cosine(ablations.gradient(model, *other), whole), 4
        ),
    }


def rows(run=RUN, seeds=SEEDS, pairs=PAIRS):
    made = pieces.Pieces("cut-gradients", asdict(run), partial(row_for, run=run))
    jobs = [{"seed": seed, "pair": n} for seed in range(seeds) for n in range(pairs)]
    return [made.row(job) for job in jobs]


def main():
    if measure.tiny(__doc__):
        rows(replace(RUN, steps=3, warm_up=1, width=8), seeds=1, pairs=2)
        return
    about = {"run": asdict(RUN), "through": THROUGH, "command": COMMAND}
    measure.record("cut-gradients", "cpu", rows(), **about)


if __name__ == "__main__":
    main()
