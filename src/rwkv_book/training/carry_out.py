"""A run carried out in a folder, however often it is stopped, and what comes of it."""

import json
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm

from rwkv_book import checkpoint
from rwkv_book.family.fused import table_fused
from rwkv_book.parallel import ALONE, is_lost
from rwkv_book.rwkv4.wkv import wkv_chunked, wkv_recurrent
from rwkv_book.text import END_OF_TEXT, corpora
from rwkv_book.training.batches import join, windows
from rwkv_book.training.folder import begin
from rwkv_book.training.held_out import check_held_out, held_out_loss
from rwkv_book.training.keeping import Keeper
from rwkv_book.training.loop import check_loss, fit
from rwkv_book.training.resume import Progress
from rwkv_book.training.schedule import make_optimizer
from rwkv_book.training.stopping import Signals
from rwkv_book.training.versions import new_model, read_model


def fast_wkv(version="4"):
    """A version's operator, compiled: several times faster on a CPU.

    RWKV-4's by PyTorch, which takes a minute for the first step; the others' from the
    book's own source. Needs a C++ compiler, on a GPU the book's packages for CUDA.
    """
    if version != "4":
        return table_fused
    return partial(wkv_chunked, chunk=8, inside=torch.compile(wkv_recurrent))


def train(
    run,
    folder,
    wkv=None,
    device="cpu",
    report=50,
    evaluate=1000,
    stop_after=None,
    ranks=ALONE,
    corpus=None,
    keep_every=300,
):
    """Carry out `run` in `folder`, going on from its last checkpoint: (model, log).

    Logs the loss every `report` steps and the held-out loss every `evaluate` steps,
    when a checkpoint is written too, as it is every `keep_every` seconds and when the
    run is stopped by a signal (see `stopping`) or the loss of a process. `stop_after`
    ends this call, not the run, after so many steps. Each of the `ranks` calls this;
    how many there are may change between calls. `wkv` is any form of the operator of
    the run's version, None the one that needs no compiler. Reads the run's corpus, or
    the one that is given. ValueError where `folder` holds another run or something
    damaged, FloatingPointError when the loss is no longer a number.
    """
    folder = Path(folder)
    ranks.check(run.batch, run.length)
    check_device(device)
    torch.manual_seed(run.seed)
    model = new_model(run, wkv, ranks)
    with ranks.one_first():
        corpus = corpora.load(run.corpus) if corpus is None else corpus
        data = join(corpus.training)
        windows(data, run, 0)  # is there one?
        check_held_out(corpus.validation)
        begin(run, folder, corpus.digest, ranks.rank)
    spread = ranks.spread(model, device)
    optimizer = make_optimizer(model, run)
    keeper = Keeper(folder, model, optimizer, ranks)
    first = keeper.progress.step
    if first > run.steps:
        raise ValueError(
            f"{folder} keeps step {first} of a longer run: ask for as many steps, or "
            "name another folder"
        )
    last = run.steps if stop_after is None else min(run.steps, first + stop_after)
    bar = tqdm(
        total=run.steps,
        initial=first,
        unit="step",
        desc=corpus.name,
        disable=ranks.rank > 0,
    )

    def look():
        """A line of the log, the held-out loss, a checkpoint: what is due now."""
        step = keeper.progress.step
        evaluates = step == last or step % evaluate == 0
        if evaluates or step % report == 0:
            line = seen(run, keeper.progress, ranks)
            bar.set_postfix_str(
                "loss {loss:.3f} nats/byte, {bytes_per_second} bytes/s".format(**line)
            )
            if evaluates:
                with keeper.progress.paused():
                    line |= seen_held_out(run, model, corpus, step)
            keeper.progress = Progress(step, [*keeper.progress.log, line])
            if evaluates:
                with signals.kept_waiting():
                    keeper.keep()
                if ranks.rank == 0:
                    loss = line["held_out_loss"]
                    bar.write(f"step {step}: held-out loss {loss:.4f} nats per byte")
        with signals.kept_waiting():
            keeper.keep_every(keep_every)

    with bar, Signals(optimizer) as signals:
        try:
            if keeper.progress.losses:  # the last look may have been cut short
                look()
            steps = fit(spread, run, data, optimizer, first, ranks)
            for loss in islice(steps, last - first):
                keeper.progress.count(loss)
                signals.release()
                bar.update()
                look()
        except (KeyboardInterrupt, SystemExit, OSError, RuntimeError) as error:
            if isinstance(error, (OSError, RuntimeError)) and not is_lost(error):
                raise
            signals.hold()
            keeper.keep_what_was_done(run.steps)
            raise
    return model, keeper.progress.log


def check_device(device):
    """ValueError unless PyTorch can compute on `device`, before anything is written."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # which depends on how it was built
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the device {device} can't be used ({reason}): use cpu"
        ) from error


def seen(run, progress, ranks):
    """A line of the log: the mean loss of the steps since the last one, their speed."""
    loss = ranks.mean(torch.stack(progress.losses).mean()).item()
    check_loss(loss, progress.step, run)
    with progress.paused():
        read = run.batch * run.length * len(progress.losses)
        speed = round(read / progress.seconds)
    return {"step": progress.step, "loss": loss, "bytes_per_second": speed}


def seen_held_out(run, model, corpus, step):
    """More of a line: what was lost on all held-out works, and on each."""
    loss, per_work = held_out_loss(model, corpus.validation)
    check_loss(loss, step, run)
    return {"held_out_loss": loss, "held_out_works": per_work}


def export(model, run, path, command, ranks=ALONE, corpus=None):
    """Write the weights as a published file in float16; its held-out loss in nats.

    The loss is that of the rounded weights, as a reader of the file gets them. It is in
    the file's metadata too, beside the run and the command that began it. Each of the
    `ranks` that trained the model calls this, with the corpus that `train` had.
    """
    weights = ranks.whole(model.state_dict())
    with ranks.one_first():
        if ranks.rank == 0:
            checkpoint.save(weights, path, "float16")
    wkv, device = model.blocks[0].time_mix.wkv, next(model.parameters()).device
    corpus = corpora.load(run.corpus) if corpus is None else corpus
    rounded = read_model(path, wkv)
    ranks.spread(rounded, device)
    loss, _ = held_out_loss(rounded, corpus.validation)
    metadata = {
        "tokens": f"bytes of UTF-8; {END_OF_TEXT} is the end of a text",
        "corpus": printable(run.corpus),
        "held-out works": printable(", ".join(corpus.validation)),
        "held-out loss": f"{loss:.4f} nats per byte",
        "run": json.dumps(asdict(run)),
        "command": printable(command),
    }
    if ranks.rank == 0:
        checkpoint.save(weights, path, "float16", metadata)
    return loss


def printable(text):
    """A text that may hold bytes of a file's name that are no UTF-8, as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
