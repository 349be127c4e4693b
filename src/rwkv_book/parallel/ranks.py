"""The processes of a run, called ranks: what each holds, and how they come together.

`Ranks.spread` wraps a model for all of them; `started` joins those that torchrun has
started, and says so when one of them is lost.
"""

import os
import signal
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from rwkv_book.parallel.sequence import (
    InTraining,
    shift_across_ranks,
    wkv_across_ranks,
)
from rwkv_book.rwkv4.model import shift

PATIENCE = timedelta(minutes=10)  # for a rank that is slow, before it counts as lost
GO_ON = (
    "Start all of them again, as many as you like: they go on from the last checkpoint"
)


class LostRank(ConnectionError):
    """Another process of the run has ended or no longer answers."""


class Ranks(NamedTuple):
    """The processes of a run; this one is `rank` of `count`, and 0 does the writing.

    With `shard` each keeps its part of the weights, gradients and moments alone. With
    `split` each reads its stretch of every text, and not some of the texts.
    """

    rank: int = 0
    count: int = 1
    shard: bool = False
    split: bool = False

    def check(self, batch, length):
        """ValueError unless each of them gets equally much to read."""
        name, size = ("length", length) if self.split else ("batch", batch)
        if size % self.count:
            raise ValueError(
                f"a {name} of {size} can't be shared equally by {self.count} "
                f"processes: make {name} a multiple of {self.count}"
            )

    def share(self, batch):
        """What this rank reads of the whole batch (B,T): (B/n,T), or (B,T/n)."""
        return batch.chunk(self.count, dim=int(self.split))[self.rank]

    def spread(self, model, device="cpu"):
        """The model on `device`, to be trained by all: gradients are means over all."""
        device = torch.device(device)
        if self.shard:  # block by block: never the whole model on one device
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh(device.type, (self.count,))
            for module in (*model.blocks, model):
                fully_shard(module, mesh=mesh)
            return model
        model = model.to(device)
        if self.count == 1:
            return model
        # gradients leave in one piece where states come first, else as they are ready
        return DistributedDataParallel(
            model, bucket_cap_mb=2**20 if self.split else None
        )

    def operators(self, wkv, across_ranks=wkv_across_ranks):
        """The pair (wkv, shift) of a model that they train.

        With `split` a text to train on is read by all, each its stretch: `across_ranks`
        passes states on, and computes with the form `wkv` inside each.
        """
        if not self.split:
            return wkv, shift
        across = partial(across_ranks, inside=wkv)
        return InTraining(across, wkv), InTraining(shift_across_ranks, shift)

    def mean(self, value):
        """The mean of a number over all of them."""
        if self.count > 1:
            dist.all_reduce(value)
        return value / self.count

    @contextmanager
    def one_first(self):
        """Rank 0 goes through the block before the others: it downloads, it writes."""
        if self.rank:
            dist.barrier()
        try:
            yield
        finally:
            if self.count > 1 and not self.rank:
                dist.barrier()

    def first_says(self, decision):
        """What rank 0 has decided, True or False, on each of them."""
        said = [decision]
        if self.count > 1:
            dist.broadcast_object_list(said, src=0)
        return said[0]

    def agree(self, step):
        """ValueError unless all of them go on from the same step."""
        steps = [step] * self.count
        if self.count > 1:
            dist.all_gather_object(steps, step)
        if len(set(steps)) > 1:
            found = ", ".join(map(str, steps))
            raise ValueError(
                f"the processes found checkpoints of different steps, {found}: "
                "the folder must be one that all of them see"
            )

    def whole(self, tree):
        """Nested dicts with sharded tensors made whole, in the memory of rank 0.

        One tensor after the other, so that a device never holds more than one of them.
        """
        if isinstance(tree, dict):
            return {name: self.whole(branch) for name, branch in tree.items()}
        if not is_sharded(tree):
            return tree
        tensor = tree.full_tensor()
        return None if self.rank else tensor.cpu()


ALONE = Ranks()


def is_sharded(tensor):
    """Whether it is a DTensor: this rank's part of something larger."""
    return hasattr(tensor, "full_tensor")


def part(tensor, like):
    """A copy of what this rank keeps of a whole tensor, laid out as `like` is."""
    if not is_sharded(like):
        return tensor.clone()
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        tensor, like.device_mesh, like.placements, src_data_rank=None
    ).clone()


@contextmanager
def started(device="cpu", shard=False, split=False, patience=PATIENCE):
    """Ranks: the processes that torchrun has started, or this one alone.

    LostRank where another one ends, or gives no sign of life for `patience`.
    """
    if "RANK" not in os.environ:
        if shard or split:
            raise ValueError("one process has nobody to share with: use torchrun")
        yield ALONE
        return
    if device == "cuda":
        number, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= devices:
            raise ValueError(
                f"no CUDA device for process {number} of this machine, which has "
                f"{devices}: start as many processes, or use --device cpu"
            )
        torch.cuda.set_device(number)
    before = signal.signal(signal.SIGTERM, asked_to_stop)
    try:
        dist.init_process_group(
            "nccl" if device == "cuda" else "gloo", timeout=patience
        )
        yield Ranks(dist.get_rank(), dist.get_world_size(), shard, split)
        dist.destroy_process_group()
    except RuntimeError as error:
        if not is_lost(error):
            raise
        reason = str(error).split(". ")[0]
        raise LostRank(f"another process was lost ({reason}). {GO_ON}") from error
    finally:
        signal.signal(signal.SIGTERM, before)


def is_lost(error):
    """Whether an error is about a message from a rank, or to one, that is gone."""
    if isinstance(error, RuntimeError):
        return isinstance(error, dist.DistError) or "gloo" in str(error)
    return isinstance(error, LostRank)


def asked_to_stop(*signal_and_frame):
    """What torchrun does to all others when a process has ended too early."""
    raise LostRank(f"asked to stop, as when another process was lost. {GO_ON}")
