"""Networks of one size that learn a task of `tasks`: built, trained, judged by length.

    name               what it keeps                              layers
    LSTM               gates over a memory that is added to       1
    attention          every token, positions by rotation         2
    attention unplaced every token, no positions                  2
    RWKV-4             averages that fade                         1
    RWKV-5             a table that fades at learned rates        1
    RWKV-6             a table that fades as the token says       1
    RWKV-7             a table that is corrected                  1
    RWKV-7 twice       the same, with in-context rates up to 2    1

All have the parameters of an RWKV-7 of one layer, 32 channels, two heads of 16 and 64
hidden channels. Attention has two layers, since one without token shift can't find what
stands beside a token that it has found. One optimizer and schedule for all: AdamW
without weight decay, a warm-up, a cosine, gradients clipped at 1; embeddings begin
large (a standard deviation of 1), since these runs are short. With rates up to 2 a step
that also fades multiplies by -1.455 at the worst: such a table can outgrow float32.
"""

import math
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy

from rwkv_book import checkpoint, folders, rnn, transformer
from rwkv_book.family.equation import table_chunked
from rwkv_book.labs.contenders import nearest, orthogonal_gates, scale_to_width
from rwkv_book.labs.tasks import CHOICE_SEED, NOTHING, TEST_SEED, TESTED_TEXTS, tasks
from rwkv_book.rwkv4 import model as rwkv4
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.rwkv5 import model as rwkv5
from rwkv_book.rwkv6 import model as rwkv6
from rwkv_book.rwkv7 import model as rwkv7

WIDTH, HEAD_SIZE, HIDDEN, RANK = 32, 16, 64, 8
ATTENTION_LAYERS, ATTENTION_HEADS = 2, 2
RANKS = {
    "RWKV-6": {"shift_rank": RANK, "decay_rank": RANK},
    "RWKV-7": dict.fromkeys(
        ("decay_rank", "rate_rank", "value_rank", "gate_rank"), RANK
    ),
}
TABLES = {"RWKV-5": rwkv5, "RWKV-6": rwkv6, "RWKV-7": rwkv7}
NAMES = (
    "LSTM",
    "attention",
    "attention unplaced",
    "RWKV-4",
    *TABLES,
    "RWKV-7 twice",
)
WARM_UP, FINAL_SHARE, BETAS = 50, 0.05, (0.9, 0.99)
SHIPPED = Path(files("rwkv_book") / "models" / "labs")


def twice(form):
    """A form of `family.equation` that takes out twice as much as it is told.

    It is RWKV-7 with in-context rates between 0 and 2: a rate of 2 turns what stands
    under the removal key into its opposite.
    """

    def doubled(decay, receptance, key, value, remove, replace, **how):
        return form(decay, receptance, key, value, remove, 2 * replace, **how)

    return doubled


def make(name, vocabulary, size, averages=wkv_chunked, table=table_chunked):
    """A contender before its first step; `size` is a width for the LSTM, else hidden.

    `averages` is a form of RWKV-4's operator, `table` one of `family.equation`.
    ValueError where none is called so.
    """
    if name == "LSTM":
        return rnn.LSTM(rnn.Config(vocabulary, 1, size))
    if name in ("attention", "attention unplaced"):
        config = transformer.Config(
            vocabulary, ATTENTION_LAYERS, WIDTH, ATTENTION_HEADS, hidden=size
        )
        network = transformer.GPT(config)
        for block in network.blocks:
            block.attention.is_rotary = name == "attention"
        return network
    if name == "RWKV-4":
        return rwkv4.RWKV(rwkv4.Config(vocabulary, 1, WIDTH, size), averages)
    version = name.removesuffix(" twice")
    if name not in NAMES:
        raise ValueError(f"no contender is called {name!r}: there are {NAMES}")
    module, ranks = TABLES[version], RANKS.get(version, {})
    config = module.Config(vocabulary, 1, WIDTH, size, HEAD_SIZE, **ranks)
    return module.RWKV(config, table if version == name else twice(table))


@cache
def size_of(name, vocabulary):
    """The `size` with which a contender comes nearest to the RWKV-7's parameters."""
    if name.startswith("RWKV-7"):
        return HIDDEN
    wanted = parameters_of("RWKV-7", vocabulary, HIDDEN)
    return nearest(
        wanted, lambda size: parameters_of(name, vocabulary, size), config_of=int
    )


def parameters_of(name, vocabulary, size):
    """How many numbers would be trained; the network itself is not made."""
    with torch.device("meta"):
        return parameters(make(name, vocabulary, size))


def parameters(network):
    """How many numbers are trained."""
    return sum(weights.numel() for weights in network.parameters())


def build(name, task, seed=0, **forms):
    """The contender `name` for a task, before its first step; `forms` as in `make`."""
    torch.manual_seed(seed)
    network = make(name, task.vocabulary, size_of(name, task.vocabulary), **forms)
    if name == "LSTM":
        orthogonal_gates(network)
    elif name.startswith("attention"):
        scale_to_width(network)
    else:
        nn.init.normal_(network.embedding.weight)
    return network


def fit(network, task, rate, seed=0, steps=None):
    """Train for `steps` (those of the task): yields the loss before each, a float.

    The texts of a step follow from the seed and the step alone. ArithmeticError where a
    loss is no number.
    """
    steps = steps or task.steps
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=rate, betas=BETAS, weight_decay=0.0
    )
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * share_of_rate(step, steps)
        loss = loss_on(network, *task.batch(generator))
        if not math.isfinite(loss.item()):
            raise ArithmeticError(f"the loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        yield loss.item()


def share_of_rate(step, steps):
    """A warm-up of WARM_UP steps, and half a cosine down to FINAL_SHARE of the rate."""
    falling = (1 + math.cos(math.pi * step / steps)) / 2
    warm = min(1.0, (step + 1) / min(WARM_UP, steps))
    return warm * (FINAL_SHARE + (1 - FINAL_SHARE) * falling)


def loss_on(network, tokens, answers):
    """Nats per answer, over all that are asked."""
    logits, _ = network(tokens)
    return cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=NOTHING)


@torch.no_grad()
def choice_loss(network, task, texts=64):
    """Nats per answer on other texts than those of the test, of the sizes of training.

    It is by this that a learning rate is chosen.
    """
    losses = [
        loss_on(network, *task.test(size, texts, CHOICE_SEED)) for size in task.trained
    ]
    return torch.stack(losses).mean().item()


@torch.no_grad()
def accuracy(network, task, size, texts=TESTED_TEXTS, seed=TEST_SEED):
    """Of all answers in the test texts of a size, the share that is right."""
    tokens, answers = task.test(size, texts, seed)
    said = [network(some)[0].argmax(-1) for some in tokens.split(64)]
    asked = answers != NOTHING
    return (torch.cat(said)[asked] == answers[asked]).float().mean().item()


def by_size(network, task, texts=TESTED_TEXTS):
    """{size: accuracy} for all sizes of the test."""
    return {size: accuracy(network, task, size, texts) for size in task.tested}


def run(name, task, rate, seed, steps=None, **forms):
    """Train one contender: the network, and what a record keeps of it, a dictionary."""
    network = build(name, task, seed, **forms)
    return network, taught(network, task, rate, seed, steps)


def taught(network, task, rate, seed, steps=None):
    """Train a network on a task: what a record keeps of it, a dictionary."""
    untrained = by_size(network, task)
    try:
        losses = list(fit(network, task, rate, seed, steps))
    except ArithmeticError:
        losses = []
    every = max(1, len(losses) // 20)
    return {
        "loss": round(choice_loss(network, task), 5) if losses else math.inf,
        "accuracy": {s: round(a, 4) for s, a in by_size(network, task).items()},
        "untrained": {s: round(a, 4) for s, a in untrained.items()},
        "training_loss": [
            round(sum(losses[at:][:every]) / every, 4)
            for at in range(0, len(losses) - every + 1, every)
        ],
        "every": every,
        "parameters": parameters(network),
    }


def chosen(rows, task, name):
    """The rows of a record that count: one network on one task, each of its seeds at
    the learning rate that suits it."""
    wanted = (task.name, name, True)
    return [row for row in rows if (row["task"], row["name"], row["best"]) == wanted]


def shares(rows, task, name, when="accuracy"):
    """What a record says of one network: accuracies (seeds, sizes), a list of lists.

    `when` is "accuracy" or "untrained"; the sizes are `task.tested`.
    """
    found = [row[when] for row in chosen(rows, task, name)]
    return [[row[str(size)] for size in task.tested] for row in found]


def file_of(name, task, folder=SHIPPED):
    """Where the file of a contender that is shipped lies."""
    return folder / f"{task.name}-{name.replace(' ', '-').lower()}.safetensors"


def save(network, name, task, path, known):
    """Write a contender in float16 with what is `known` of it, text by name."""
    described = {"contender": name, "task": task.name, **known}
    half = {key: value.half() for key, value in network.state_dict().items()}
    with folders.whole(path) as part:
        save_file(half, part, described)


def load(path, **forms):
    """The contender that `save` wrote, in float32, and its Task; `forms` as in `make`.

    ValueError for a file of anything else.
    """
    known = checkpoint.metadata(path)
    if not {"contender", "task"} <= known.keys():
        raise ValueError(f"{path} is no contender that `save` wrote")
    name, task = known["contender"], tasks()[known["task"]]
    network = make(name, task.vocabulary, size_of(name, task.vocabulary), **forms)
    network.load_state_dict(load_file(path))
    return network, task
