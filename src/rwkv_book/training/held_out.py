"""What a model is worth: its loss on works that it was not trained on."""

from contextlib import contextmanager

import torch
from torch.nn.functional import cross_entropy

from rwkv_book.training.batches import join


@torch.no_grad()
def held_out_loss(model, works, piece=4096):
    """Nats per byte over all works, and over each of them: (float, {name: float}).

    A work is read from its first byte to its last, the state carried from piece to
    piece, as a reader would. Byte 0 before it is read but not counted. ValueError where
    there is nothing to read.
    """
    check_held_out(works)
    device = next(model.parameters()).device
    nats = {}
    with evaluating(model):
        for name, text in works.items():
            tokens = torch.from_numpy(join({name: text})[:-1]).long().to(device)[None]
            nats[name], state = 0.0, None
            for start in range(0, len(text), piece):
                window = tokens[:, start : start + piece + 1]
                logits, state = model(window[:, :-1], state)
                loss = cross_entropy(logits.float()[0], window[0, 1:], reduction="sum")
                nats[name] += loss.item()
    per_work = {name: nats[name] / len(text) for name, text in works.items()}
    return sum(nats.values()) / sum(map(len, works.values())), per_work


@contextmanager
def evaluating(model):
    """In the block a model is not in training: each rank reads a text whole."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def check_held_out(works):
    """ValueError unless there are works, and each has something to read."""
    empty = ", ".join(name for name, text in works.items() if not text)
    if empty or not works:
        what = f"empty works are held out ({empty})" if empty else "no work is held out"
        raise ValueError(f"{what}: a held-out loss needs text that is not trained on")
