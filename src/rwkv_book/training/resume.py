"""From where a run goes on: `checkpoint.pt` has all that is needed, and is checked.

It is written whole or not at all, as `log.json` is beside it, so a process may be
killed at any moment.
"""

import json
import pickle
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from rwkv_book.folders import whole, write_text
from rwkv_book.parallel import part

UNREADABLE = (  # what PyTorch raises for a file that is damaged, or something else
    RuntimeError,
    ValueError,
    OSError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
)


@dataclass
class Progress:
    """Steps done, the log of them, and what the log's next line will be about.

    That is the loss of each step since the last line, and the seconds that they took:
    so many before the moment `since`, and all after it.
    """

    step: int = 0
    log: list = field(default_factory=list)
    losses: list = field(default_factory=list)
    seconds: float = 0.0
    since: float = field(default_factory=time.perf_counter)

    def count(self, loss):
        """One more step was done."""
        self.losses.append(loss)
        self.step += 1

    @contextmanager
    def paused(self):
        """In the block no step is done, and its seconds don't count."""
        self.seconds += time.perf_counter() - self.since
        try:
            yield
        finally:
            self.since = time.perf_counter()


def resume(folder, model, optimizer):
    """Load the last checkpoint, if there is one: Progress.

    ValueError where checkpoint.pt is damaged, or that of another model.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return Progress()
    saved = read_checkpoint(path)
    try:
        flaw = find_flaw(saved, model.state_dict(), optimizer)
        if not flaw:
            return put_back(saved, model, optimizer)
    except (AttributeError, IndexError, KeyError, TypeError):
        flaw = "something in it is of another kind"
    raise ValueError(
        f"{path} is not a checkpoint of this run ({flaw}): delete it to begin the run "
        "again from step 0"
    )


def put_back(saved, model, optimizer):
    """Give a model and its optimizer what a checkpoint holds of them: Progress."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    now = model.state_dict()
    model.load_state_dict(
        {name: part(tensor, now[name]) for name, tensor in saved["model"].items()}
    )
    for number, moments in saved["optimizer"]["state"].items():
        for name, tensor in moments.items():  # the count of steps is no moment
            like = parameters[number] if tensor.ndim else tensor
            moments[name] = part(tensor, like)
    optimizer.load_state_dict(saved["optimizer"])
    losses = saved.get("losses", torch.empty(0)).to(parameters[0].device)
    return Progress(
        saved["step"], saved["log"], list(losses), saved.get("seconds", 0.0)
    )


def read_checkpoint(path):
    """What checkpoint.pt holds. ValueError where it is damaged."""
    with open(path, "rb") as file:  # a file that can't be opened is not a damaged one
        try:
            # not read but mapped: of sharded tensors each process reads only its part
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except UnicodeEncodeError:  # PyTorch opens no file whose name is not UTF-8
            return torch.load(file, map_location="cpu", weights_only=True)
        except UNREADABLE as error:
            raise ValueError(
                f"{path} is damaged, or no checkpoint at all: delete it to begin the "
                "run again from step 0"
            ) from error


def find_flaw(saved, model, optimizer):
    """What in a checkpoint doesn't fit a model's tensors and optimizer; "" if all does.

    `model` is its state_dict().
    """
    wanted = {"model": dict, "optimizer": dict, "step": int, "log": list}
    if not isinstance(saved, dict) or not all(
        isinstance(saved.get(name), kind) for name, kind in wanted.items()
    ):
        return f"it has no {', '.join(wanted)}"
    for name in sorted(model.keys() | saved["model"].keys()):
        found, right = (
            tuple(tensors[name].shape) if name in tensors else None
            for tensors in (saved["model"], model)
        )
        if found is None or right is None:
            return f"{name} is {'missing' if found is None else 'of another model'}"
        if found != right:
            return f"{name} is {found}, not {right}"
    found, right = (
        groups_of(state) for state in (saved["optimizer"], optimizer.state_dict())
    )
    if found != right:
        return "its optimizer is another one"
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, moments in saved["optimizer"]["state"].items():
        for name, tensor in moments.items():
            if tensor.ndim and tensor.shape != parameters[number].shape:
                return f"{name} of parameter {number} is {tuple(tensor.shape)}"
    return ""


def groups_of(state):
    """The numbers of the parameters in each group of an optimizer's state_dict()."""
    return [group["params"] for group in state.get("param_groups", ())]


def save_checkpoint(folder, model, optimizer, progress, ranks):
    """Write checkpoint.pt and log.json; killed at any moment, whole files remain."""
    weights = ranks.whole(model.state_dict())
    moments = ranks.whole(optimizer.state_dict())
    if ranks.rank > 0:
        return
    losses = torch.stack(progress.losses).cpu() if progress.losses else torch.empty(0)
    saved = {
        "model": weights,
        "optimizer": moments,
        "step": progress.step,
        "log": progress.log,
        "losses": losses,
        "seconds": progress.seconds,
    }
    with whole(folder / "checkpoint.pt") as path, open(path, "wb") as file:
        torch.save(saved, file)
    write_log(folder / "log.json", progress.log)


def write_log(path, log):
    """Write log.json, a line of text for each line of the log."""
    lines = ",\n".join(map(json.dumps, log))
    write_text(path, f"[\n{lines}\n]\n")
