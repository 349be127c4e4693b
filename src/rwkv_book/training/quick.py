"""A small GPT, trained from nothing while a chapter runs."""

import torch

from rwkv_book import transformer
from rwkv_book.text import corpora
from rwkv_book.training.batches import join
from rwkv_book.training.loop import fit
from rwkv_book.training.run import VOCABULARY, Run

QUICK_GPT = Run(
    corpus="shakespeare", layers=2, width=64, steps=400, batch=8, length=256,
    learning_rate=4e-3, final_learning_rate=2e-4, warm_up=20,
)  # fmt: skip


def quick_gpt(run=QUICK_GPT, heads=4, corpus=None):
    """A small GPT with rotary positions, trained from nothing: (model, losses).

    One loss a step, in nats per byte, before that step. With QUICK_GPT it takes 25
    seconds of one core and ends near 2.1 nats per byte of Shakespeare, or near 1.9 of
    prose: the same model in every chapter that asks for it, but for rounding.
    Reads the run's corpus, or the one that is given. CorpusError where that can't be
    had.
    """
    corpus = corpora.load(run.corpus) if corpus is None else corpus
    torch.manual_seed(run.seed)
    shape = transformer.Config(VOCABULARY, run.layers, run.width, heads)
    model = transformer.GPT(shape)
    losses = [loss.item() for loss in fit(model, run, join(corpus.training))]
    return model, losses
