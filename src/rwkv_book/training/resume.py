"""The folder of a run: what was asked for, what was seen, and from where to go on.

`run.json` holds the run and the digest of its corpus, `log.json` a line for every so
many steps, and `checkpoint.pt` all that is needed to go on. Each is written whole or
not at all, so a process may be killed at any moment.
"""

import json
import pickle
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields

import torch

from rwkv_book.folders import whole, why_not, write_text
from rwkv_book.parallel import part
from rwkv_book.training.run import Run

KEPT = ("checkpoint.pt", "log.json", "model.safetensors")  # by a run that has begun
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


def begin(run, folder, digest, rank=0):
    """Write run.json, or check that the one in `folder` asks for the same run.

    Only rank 0 writes. A run that has kept nothing yet gives way to another one.
    ValueError where the folder holds another run, or one of another text; OSError where
    it can't be written.
    """
    path, asked = folder / "run.json", asdict(run) | {"corpus_digest": digest}
    if rank == 0:
        make(folder)
        begun = any((folder / name).exists() for name in KEPT)
        if not path.exists() or not begun:
            write_text(path, json.dumps(asked, indent=2) + "\n")
    if not path.exists():
        raise ValueError(f"no {path}: the folder must be one that all processes see")
    before = read_run(path)
    names = [f.name for f in fields(Run)]
    changed = [name for name in names if before.get(name) != asked[name]]
    if changed:
        held = ", ".join(f"{name} {before.get(name)}" for name in changed)
        raise ValueError(
            f"{folder} holds a run with {held}: ask for that, or name another"
        )
    if before.get("corpus_digest", digest) != digest:  # older ones have none
        raise ValueError(
            f"the corpus {run.corpus} has changed since the run in {folder} began: "
            "bring the old text back, or name another folder"
        )


def make(folder):
    """The folder of a run, where there is none: one that can be written."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file: name a folder for the run")
    reason = why_not(folder)
    if reason:
        raise PermissionError(
            f"the folder {folder} can't be written ({reason}): name another one"
        )


def read_run(path):
    """What run.json says: {name: value}."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        before, reason = None, str(error)
    else:
        reason = "not the fields of a run"
    if not isinstance(before, dict):
        raise ValueError(
            f"{path} is damaged ({reason}): delete it, and ask for the same run again"
        )
    return before


def resume(folder, model, optimizer):
    """Load the last checkpoint, if there is one: Progress.

    ValueError where checkpoint.pt is damaged, or that of another model.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return Progress()
    saved = read_checkpoint(path)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    now = model.state_dict()
    flaw = find_flaw(saved, now, optimizer)
    if flaw:
        raise ValueError(
            f"{path} is not a checkpoint of this run ({flaw}): delete it to begin the "
            "run again from step 0"
        )
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
        if found != right:
            return f"{name} is {found or 'missing'}, not {right or 'there'}"
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
