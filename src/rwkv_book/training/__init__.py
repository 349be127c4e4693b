"""Train RWKV-4 on bytes: batches, schedule, loop, held-out loss, and resuming.

A run's folder holds `run.json` (what was asked for), `log.json` (what was seen),
`checkpoint.pt` (all that is needed to go on) and, after the last step,
`model.safetensors` in the published layout. The windows of a step depend on the seed
and the step's number alone, so a run that was interrupted and resumed reads the same
bytes and ends in the same weights as one that was not.
"""

import json
import math
import os
import time
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from rwkv_book import checkpoint, transformer
from rwkv_book.parallel import ALONE, part
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import wkv_chunked, wkv_recurrent
from rwkv_book.text import END_OF_TEXT, corpora

VOCABULARY = 256


@dataclass(frozen=True)
class Run:
    """All that decides how a run ends. `length` counts tokens, which are bytes here."""

    corpus: str = "shakespeare"
    layers: int = 4
    width: int = 256
    steps: int = 3000
    batch: int = 8
    length: int = 512
    learning_rate: float = 2e-3
    final_learning_rate: float = 1e-4
    warm_up: int = 100
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    bfloat16: bool = False

    def __post_init__(self):
        sizes = ("layers", "width", "steps", "batch", "length")
        wrong = [
            f"{name} must be above 0"
            for name in (*sizes, "learning_rate", "clip")
            if not 0 < getattr(self, name) < math.inf
        ]
        wrong += [
            f"{name} must not be below 0"
            for name in ("final_learning_rate", "weight_decay", "seed")
            if not 0 <= getattr(self, name) < math.inf
        ]
        if not 0 <= self.warm_up < self.steps:
            wrong.append(f"warm_up must be from 0 to {self.steps - 1}, one below steps")
        if wrong:
            raise ValueError("; ".join(wrong))


QUICK_GPT = Run(
    corpus="shakespeare", layers=2, width=64, steps=400, batch=8, length=256,
    learning_rate=4e-3, final_learning_rate=2e-4, warm_up=20,
)  # fmt: skip


def join(works):
    """The works one after the other, END_OF_TEXT around each: one array of bytes."""
    end = bytes([END_OF_TEXT])
    data = end + b"".join(work + end for work in works.values())
    return np.frombuffer(data, np.uint8).copy()  # as PyTorch wants it: writable


def windows(data, run, step):
    """Inputs and targets of one step, (B,T) each: random places, one token apart."""
    if len(data) <= run.length:
        message = f"a corpus of {len(data)} bytes has no window of {run.length + 1}"
        raise ValueError(f"{message}: lower length")
    generator = np.random.default_rng([run.seed, step])
    starts = generator.integers(0, len(data) - run.length, size=(run.batch, 1))
    window = torch.from_numpy(
        data[starts + np.arange(run.length + 1)]
    ).long()  # (B,T+1)
    return window[:, :-1], window[:, 1:]


def learning_rate(run, step):
    """Linear warm-up, then half a cosine down to the final rate at the last step."""
    if step < run.warm_up:
        return run.learning_rate * (step + 1) / run.warm_up
    progress = (step - run.warm_up) / max(1, run.steps - 1 - run.warm_up)
    height = run.learning_rate - run.final_learning_rate
    return run.final_learning_rate + height * (1 + math.cos(math.pi * progress)) / 2


def make_optimizer(model, run):
    """AdamW, with weight decay on matrices only: vectors are rates and scales."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": run.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=run.learning_rate, betas=(0.9, 0.99))


def training_step(model, optimizer, inputs, targets, run, step):
    """One update of the weights. Returns the loss before it, in nats per token."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(run, step)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=run.bfloat16):
        logits, _ = model(inputs)
    loss = cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), run.clip)
    optimizer.step()
    return loss.detach()


def quick_gpt(run=QUICK_GPT, heads=4):
    """A small GPT with rotary positions, trained from nothing: (model, losses).

    One loss a step, in nats per byte, before that step. With QUICK_GPT it takes 25
    seconds of one core and ends near 2.1 nats per byte of Shakespeare, or near 1.9 of
    pydoc: the same model in every chapter that asks for it, but for rounding.
    CorpusError where the corpus can't be had.
    """
    data = join(corpora.load(run.corpus).training)
    torch.manual_seed(run.seed)
    shape = transformer.Config(VOCABULARY, run.layers, run.width, heads)
    model = transformer.GPT(shape)
    optimizer = make_optimizer(model, run)
    losses = [
        training_step(model, optimizer, *windows(data, run, step), run, step).item()
        for step in range(run.steps)
    ]
    return model, losses


@torch.no_grad()
def held_out_loss(model, works, piece=4096):
    """Nats per byte over all works, and over each of them: (float, {name: float}).

    A work is read from its first byte to its last, the state carried from piece to
    piece, as a reader would. Byte 0 before it is read but not counted.
    """
    device = next(model.parameters()).device
    nats = {}
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


def fast_wkv():
    """The operator compiled by PyTorch: several times faster on a CPU.

    Needs a C++ compiler, and a minute for the first step.
    """
    return partial(wkv_chunked, chunk=8, inside=torch.compile(wkv_recurrent))


def train(
    run,
    folder,
    wkv=wkv_chunked,
    device="cpu",
    report=50,
    evaluate=1000,
    stop_after=None,
    ranks=ALONE,
):
    """Carry out `run` in `folder`, going on from its last checkpoint: (model, log).

    Logs the loss every `report` steps and the held-out loss every `evaluate` steps,
    when a checkpoint is written too. `stop_after` ends this call, not the run, after so
    many steps. Each of the `ranks` calls this; how many there are may change between
    calls. ValueError where `folder` holds another run, FloatingPointError when the loss
    is no longer a number.
    """
    folder, config = Path(folder), Config(VOCABULARY, run.layers, run.width)
    ranks.check(run.batch, run.length)
    with ranks.one_first():
        corpus = corpora.load(run.corpus)
        data = join(corpus.training)
        begin(run, folder)
    torch.manual_seed(run.seed)
    model = RWKV(config, wkv=wkv)
    spread = ranks.spread(model, device)
    optimizer = make_optimizer(model, run)
    step, log = resume(folder, model, optimizer)
    ranks.agree(step)
    last = run.steps if stop_after is None else min(run.steps, step + stop_after)
    losses, since = [], time.perf_counter()
    bar = tqdm(
        total=run.steps,
        initial=step,
        unit="step",
        desc=corpus.name,
        disable=ranks.rank > 0,
    )
    with bar:
        while step < last:
            inputs, targets = (
                ranks.share(x).to(device) for x in windows(data, run, step)
            )
            with ranks.passing_states(model):
                loss = training_step(spread, optimizer, inputs, targets, run, step)
            losses.append(loss)
            step += 1
            bar.update()
            if step % report == 0 or step % evaluate == 0 or step == last:
                loss = ranks.mean(torch.stack(losses).mean()).item()
                read = run.batch * run.length * len(losses)
                speed = read / (time.perf_counter() - since)
                check_loss(loss, step, run)
                bar.set_postfix_str(f"loss {loss:.3f} nats/byte, {speed:.0f} bytes/s")
                log.append(
                    {"step": step, "loss": loss, "bytes_per_second": round(speed)}
                )
                losses, since = [], time.perf_counter()
            if step % evaluate == 0 or step == last:
                loss, per_work = held_out_loss(model, corpus.validation)
                check_loss(loss, step, run)
                log[-1] |= {"held_out_loss": loss, "held_out_works": per_work}
                save_checkpoint(folder, model, optimizer, step, log, ranks)
                if ranks.rank == 0:
                    bar.write(f"step {step}: held-out loss {loss:.4f} nats per byte")
                since = time.perf_counter()
    return model, log


def export(model, run, path, command, ranks=ALONE):
    """Write the weights as a published file in float16; its held-out loss in nats.

    The loss is that of the rounded weights, as a reader of the file gets them. It is in
    the file's metadata too, beside the run and the command that began it. Each of the
    `ranks` that trained the model calls this.
    """
    weights = ranks.whole(model.state_dict())
    with ranks.one_first():
        if ranks.rank == 0:
            checkpoint.save(weights, path, "float16")
    wkv, device = model.blocks[0].time_mix.wkv, next(model.parameters()).device
    held_out = corpora.load(run.corpus).validation
    rounded = RWKV.load(path, wkv)
    ranks.spread(rounded, device)
    loss, _ = held_out_loss(rounded, held_out)
    metadata = {
        "tokens": f"bytes of UTF-8; {END_OF_TEXT} is the end of a text",
        "corpus": run.corpus,
        "held-out works": ", ".join(held_out),
        "held-out loss": f"{loss:.4f} nats per byte",
        "run": json.dumps(asdict(run)),
        "command": command,
    }
    if ranks.rank == 0:
        checkpoint.save(weights, path, "float16", metadata)
    return loss


def begin(run, folder):
    """Write run.json, or check that the one in `folder` asks for the same run."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.json"
    if not path.exists():
        write(path, json.dumps(asdict(run), indent=2) + "\n")
    before = json.loads(path.read_text())
    names = [f.name for f in fields(Run)]
    changed = [name for name in names if before.get(name) != getattr(run, name)]
    if changed:
        asked = ", ".join(f"{name} {before.get(name)}" for name in changed)
        raise ValueError(
            f"{folder} holds a run with {asked}: ask for that, or name another"
        )


def check_loss(loss, step, run):
    """Stop a run whose loss is infinite or not a number, before it is saved."""
    if not math.isfinite(loss):
        advice = f"lower learning_rate ({run.learning_rate}) or clip ({run.clip})"
        raise FloatingPointError(f"the loss is {loss} at step {step}: {advice}")


def resume(folder, model, optimizer):
    """Load the last checkpoint, if there is one: (steps done, log so far)."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0, []
    # not read but mapped: of sharded tensors each process reads only its part
    saved = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    now = model.state_dict()
    model.load_state_dict(
        {name: part(whole, now[name]) for name, whole in saved["model"].items()}
    )
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, moments in saved["optimizer"]["state"].items():
        for name, whole in moments.items():  # the count of steps is no moment
            like = parameters[number] if whole.ndim else whole
            moments[name] = part(whole, like)
    optimizer.load_state_dict(saved["optimizer"])
    return saved["step"], saved["log"]


def save_checkpoint(folder, model, optimizer, step, log, ranks):
    """Write checkpoint.pt and log.json; killed at any moment, whole files remain."""
    weights = ranks.whole(model.state_dict())
    moments = ranks.whole(optimizer.state_dict())
    if ranks.rank > 0:
        return
    saved = {"model": weights, "optimizer": moments, "step": step, "log": log}
    torch.save(saved, folder / "checkpoint.part")
    os.replace(folder / "checkpoint.part", folder / "checkpoint.pt")
    write(folder / "log.json", "[\n" + ",\n".join(map(json.dumps, log)) + "\n]\n")


def write(path, text):
    """Write a text file in one step: beside it first, then renamed."""
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)
