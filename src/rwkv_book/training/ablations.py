"""What each part of training is for: take it away, train again, compare.

`learn` trains a small RWKV without the parts that it is told to leave out. Runs with
one seed start from the same random numbers and read the same bytes, so that two of them
differ in the missing part alone; runs with different seeds say how much is chance.
`Truncated` cuts the path of the gradient through the state.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.text import corpora
from rwkv_book.training.batches import join
from rwkv_book.training.loop import fit
from rwkv_book.training.run import VOCABULARY, Run

SMALL = Run(
    corpus="prose", layers=2, width=64, steps=40, batch=8, length=64,
    learning_rate=4e-3, final_learning_rate=2e-4, warm_up=4,
)  # fmt: skip
ANY_LENGTH = 1e9  # no gradient is as long

RECIPE = {
    "warm-up": lambda run: replace(run, warm_up=0),
    "cosine": lambda run: replace(run, final_learning_rate=run.learning_rate),
    "clipping": lambda run: replace(run, clip=ANY_LENGTH),
    "weight decay": lambda run: replace(run, weight_decay=0.0),
}


def usual_embedding(model):
    """PyTorch's default for a table: numbers around 1, in place of 0.0001."""
    model.embedding.reset_parameters()


def usual_matrices(model):
    """PyTorch's default for a matrix: random everywhere, also where we have zeros."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()


def same_decay(model):
    """Every channel of every layer halves the past in ln 2 tokens: decay rate 1."""
    for block in model.blocks:
        nn.init.zeros_(block.time_mix.log_decay_rate)


def same_mix(model):
    """Every channel takes half of this token and half of the one before."""
    for name, weights in model.named_parameters():
        if ".mix_" in name:
            nn.init.constant_(weights, 0.5)


INITIAL = {
    "small embedding": usual_embedding,
    "zero matrices": usual_matrices,
    "decays of all kinds": same_decay,
    "mixes of all kinds": same_mix,
}
PARTS = {**RECIPE, **INITIAL}


def first_model(run=SMALL, without=(), wkv=wkv_chunked):
    """The model of a run before its first step, without some of INITIAL."""
    torch.manual_seed(run.seed)
    model = RWKV(Config(VOCABULARY, run.layers, run.width), wkv)
    for part in without:
        INITIAL.get(part, lambda model: None)(model)
    return model


def learn(run=SMALL, without=(), through=None, wkv=wkv_chunked, corpus=None):
    """Train a model without some of PARTS, in memory: (model, losses).

    One loss a step, in nats per byte, before that step. `through` is how many tokens
    the gradient goes back, None for the whole window. Reads the run's corpus, or the
    one that is given. ValueError for a part that there isn't.
    """
    unknown = sorted(set(without) - set(PARTS))
    if unknown:
        raise ValueError(f"no part is called {unknown}; there are {', '.join(PARTS)}")
    model = first_model(run, without, wkv)
    for part in without:
        run = RECIPE.get(part, lambda run: run)(run)
    reader = model if through is None else Truncated(model, through)
    corpus = corpora.load(run.corpus) if corpus is None else corpus
    losses = [loss.item() for loss in fit(reader, run, join(corpus.training))]
    return model, losses


class Truncated(nn.Module):
    """A model whose state is passed on without its history, every `through` tokens.

    The logits are the model's own. Gradients flow within a piece of text only: what a
    token does to a later piece, through the state, is no longer learned from.
    """

    def __init__(self, model, through):
        super().__init__()
        if through < 1:
            raise ValueError(f"through must be at least 1, got {through}")
        self.model, self.through = model, through

    def forward(self, tokens, state=None):
        """(B,T) -> logits (B,T,V) and the state after them."""
        logits = []
        for piece in tokens.split(self.through, dim=1):
            state = state if state is None else state.detach()
            out, state = self.model(piece, state)
            logits.append(out)
        return torch.cat(logits, dim=1), state


def gradient(model, inputs, targets):
    """The gradient of the mean loss in each parameter: {name: tensor}."""
    logits, _ = model(inputs)
    loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
    names, weights = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, weights)
    return {
        name.removeprefix("model."): g for name, g in zip(names, found, strict=True)
    }


def norm(vectors):
    """The length of several tensors taken as one vector."""
    return torch.stack([vector.norm() for vector in vectors]).norm().item()


def relative_error(found, exact, names=None):
    """|found - exact| / |exact| over some parameters, by default all."""
    names = list(exact) if names is None else names
    error = norm([found[n] - exact[n] for n in names])
    return error / norm([exact[n] for n in names])


def cosine(found, exact):
    """The cosine of the angle between two gradients: 1 for the same direction."""
    product = sum((found[name] * exact[name]).sum() for name in exact).item()
    return product / norm(found.values()) / norm(exact.values())


def influence(model, tokens):
    """How much the loss at t moves when what is read at s does: (T-1,T-1), t by s.

    The length of the derivative of -ln p(token t + 1) in what stands for token s after
    the first norm. `tokens` is (1,T); takes a backward pass for each t.
    """
    network = model.model if isinstance(model, Truncated) else model
    read = []  # (1,T,C) of every piece
    hook = network.norm_in.register_forward_hook(lambda *call: read.append(call[-1]))
    logits, _ = model(tokens[:, :-1])
    hook.remove()
    rows = []
    for loss in cross_entropy(logits[0], tokens[0, 1:], reduction="none"):
        found = torch.autograd.grad(
            loss, read, retain_graph=True, materialize_grads=True
        )
        rows.append(torch.cat(found, dim=1)[0].norm(dim=1))
    return torch.stack(rows)
