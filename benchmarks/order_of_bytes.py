"""What do positions give a small GPT, and who in it looks at the byte before?

    python benchmarks/order_of_bytes.py [tiny]

The GPT of chapter 2, 400 steps on Shakespeare, with rotary positions and without any.
Each chooses its learning rate with seed 0, up or down the same `RATES` until both
neighbours of the best are worse, on one piece of the held-out works; all other losses
are of another piece. With the rate chosen, a row for each of three more seeds has

- the loss, also of the network before training;
- the weight of every head on the byte before, trained and untrained;
- what the loss rises by when a head is silenced, and when nobody may look a certain
  number of bytes back;
- the loss on bytes 768 to 1023 of longer texts, and on the same bytes where each sees
  only the nearest 256: no distance that it was not trained on.

Rows are recorded after each run, and those in the record are not run again. No times
are recorded. It takes ten minutes of one core; tiny, which only tries the script out
and records nothing, half a minute.
"""

import sys
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial

import measure
import torch
from torch.nn.functional import cross_entropy

from rwkv_book import attention, results, training
from rwkv_book.text import corpora
from rwkv_book.training.loop import fit
from rwkv_book.transformer import GPT, Config

QUESTION = "order-of-bytes"
POSITIONS = ("rotary", "none")
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
FIRST = 3  # where the search for a rate begins: at the chapter's
SEEDS = 3
BACK = (1, 2, 3, 4, 8)  # distances that are hidden
PIECE = 2**15  # bytes


def network(positions, run):
    """An untrained GPT; without positions, queries and keys are not rotated."""
    torch.manual_seed(run.seed)
    model = GPT(Config(256, run.layers, run.width, heads=4))
    for block in model.blocks:
        block.attention.is_rotary = positions == "rotary"
    return model


def windows_of(data, length):
    """(B,length+1) pieces of a text, one after the other."""
    many = len(data) // (length + 1)
    return torch.from_numpy(data[: many * (length + 1)]).long().view(many, -1)


@torch.no_grad()
def loss_of(model, windows, attend=None, start=0):
    """Nats per byte from position `start` on."""
    logits, _ = model(windows[:, :-1], attention=attend)
    found = logits[:, start:].flatten(0, 1), windows[:, start + 1 :].flatten()
    return cross_entropy(*found).item()


def silencing(layers, layer, head):
    """Attention in which one head of one layer answers zero."""
    calls = iter(range(layers))

    def attend(query, key, value, causal):
        out = attention.fused_attention(query, key, value, causal)
        if next(calls) == layer:
            out[:, head] = 0
        return out

    return attend


def blind(back, query, key, value, causal):
    """Attention in which nobody may look exactly `back` bytes back."""
    products = attention.scores(query, key)
    seen = attention.visible(*products.shape[-2:])
    seen &= ~(seen.tril(-back) & ~seen.tril(-back - 1))
    return products.masked_fill(~seen, -torch.inf).softmax(-1) @ value


def nearest(query, key, value, causal):
    """Attention to the nearest 256 bytes, oneself among them."""
    return attention.longformer(query, key, value, window=255, causal=True)


@torch.no_grad()
def weight_before(model, windows):
    """The mean weight on the byte before, from position 8 on: a list for each layer."""
    shares = []

    def watch(query, key, value, causal):
        products = attention.scores(query, key)
        seen = attention.visible(*products.shape[-2:])
        weights = products.masked_fill(~seen, -torch.inf).softmax(-1)
        shares.append(weights.diagonal(-1, -2, -1)[..., 7:].mean((0, 2)).tolist())
        return weights @ value

    model(windows[:, :-1], attention=watch)
    return [[round(share, 4) for share in layer] for layer in shares]


def row_for(positions, run, data, held_out, choosing_only=False):
    model = network(positions, run)
    windows = windows_of(held_out[:PIECE], 256)
    fresh = {
        "untrained_loss": loss_of(model, windows),
        "untrained_weight_before": weight_before(model, windows[:32]),
    }
    for _ in fit(model, run, data):
        pass
    choice = loss_of(model, windows_of(held_out[PIECE : 2 * PIECE], 256))
    row = {"positions": positions, "learning_rate": run.learning_rate, "seed": run.seed}
    row |= {"loss_that_chooses": choice, "loss": loss_of(model, windows)}
    if not choosing_only:
        row |= fresh | {"weight_before": weight_before(model, windows[:32])}
        row["silenced"] = [
            [
                loss_of(model, windows, silencing(run.layers, layer, head))
                - row["loss"]
                for head in range(4)
            ]
            for layer in range(run.layers)
        ]
        row["blind"] = {
            back: loss_of(model, windows, partial(blind, back)) - row["loss"]
            for back in BACK
        }
        longer = windows_of(held_out[:PIECE], 1024)
        row["far_loss"] = loss_of(model, longer, start=768)
        row["far_loss_of_nearest"] = loss_of(model, longer, nearest, start=768)
    return rounded(row)


def rounded(value):
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return value


class Runs:
    """All rows of the experiment; keep(rows) is called after each new one."""

    def __init__(self, run, rows, keep):
        corpus = corpora.load(run.corpus)
        texts = corpus.training, corpus.validation
        self.data, self.held_out = (training.join(works) for works in texts)
        self.run, self.rows, self.keep = run, rows, keep

    def row(self, positions, seed, rate, choosing_only=False):
        wanted = {"positions": positions, "seed": seed, "learning_rate": rate}
        for row in self.rows:
            if wanted.items() <= row.items():
                return row
        final = self.run.final_learning_rate * rate / self.run.learning_rate
        run = replace(
            self.run, seed=seed, learning_rate=rate, final_learning_rate=final
        )
        row = row_for(positions, run, self.data, self.held_out, choosing_only)
        self.rows.append(row)
        self.keep(self.rows)
        print(wanted, row["loss"], flush=True)
        return row

    def best_rate(self, positions):
        """The rate whose neighbours are both worse."""

        def loss(place):
            rate = RATES[place]
            return self.row(positions, 0, rate, choosing_only=True)["loss_that_chooses"]

        best = FIRST
        while True:
            near = [p for p in range(best - 1, best + 2) if 0 <= p < len(RATES)]
            lowest = min(near, key=loss)
            if lowest == best:
                return RATES[best]
            best = lowest


def main(tiny):
    torch.set_num_threads(1)
    run, rows = training.QUICK_GPT, []
    keep = partial(measure.record, QUESTION, "cpu", run=asdict(run), rates=RATES)
    if tiny:
        run = replace(run, steps=4, batch=2, warm_up=2, corpus="prose")
        runs = Runs(run, rows, lambda rows: None)
        for positions in POSITIONS:
            runs.row(positions, 1, RATES[FIRST])
        return
    with suppress(LookupError):  # no record yet
        rows = results.of(QUESTION)[0]["rows"]
    runs = Runs(run, rows, keep)
    for positions in POSITIONS:
        rate = runs.best_rate(positions)
        for seed in range(1, SEEDS + 1):
            runs.row(positions, seed, rate)


if __name__ == "__main__":
    main(tiny=sys.argv[1:] == ["tiny"])
