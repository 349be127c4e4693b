"""Beyond one machine: several processes train one model as one process would.

Each of n processes, called ranks, holds a part of the work:

    way     a rank holds                      it sends in a step
    data    all weights, B/n sequences        2(n-1)/n of the gradients
    shard   1/n of weights, B/n sequences     (n-1)/n of weights, twice, and gradients
    time    all weights, T/n tokens of each   the state, its gradient, then as data

The first is PyTorch's DistributedDataParallel and the second its fully_shard (FSDP2):
`Ranks.spread` wraps a model in either. The third is here. A rank that knows the state
before its stretch of tokens needs nothing else of what came before, so what crosses a
border is 5CL numbers a sequence, however long it is. `wkv_across_ranks` and
`shift_across_ranks` do it inside `model.RWKV`; gradients flow through both.

`started` joins the processes that torchrun has started; `launch` starts some itself,
on this machine, and `Traffic` counts what they send.
"""

import copy
import multiprocessing
import os
import signal
import tempfile
import time
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing import connection
from typing import ClassVar, NamedTuple

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from rwkv_book import cost
from rwkv_book.rwkv4.model import RWKV, shift
from rwkv_book.rwkv4.wkv import (
    WkvState,
    check_arguments,
    empty_state,
    many_tokens,
    wkv_chunked,
)

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

    @contextmanager
    def passing_states(self, model):
        """In the block, with `split`, `model` reads a text of which each has a part."""
        before = [(block.time_mix.wkv, block.shift) for block in model.blocks]
        if self.split:
            for block in model.blocks:
                inside = block.time_mix.wkv
                block.time_mix.wkv = partial(wkv_across_ranks, inside=inside)
                block.shift = shift_across_ranks
        try:
            yield
        finally:
            for block, (wkv, shift_alone) in zip(model.blocks, before, strict=True):
                block.time_mix.wkv, block.shift = wkv, shift_alone

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
def started(device="cpu", shard=False, split=False):
    """Ranks: the processes that torchrun has started, or this one alone.

    LostRank where another one ends, or gives no sign of life for PATIENCE.
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
            "nccl" if device == "cuda" else "gloo", timeout=PATIENCE
        )
        yield Ranks(dist.get_rank(), dist.get_world_size(), shard, split)
        dist.destroy_process_group()
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        reason = str(error).split(". ")[0]
        raise LostRank(f"another process was lost ({reason}). {GO_ON}") from error
    finally:
        signal.signal(signal.SIGTERM, before)


def asked_to_stop(*signal_and_frame):
    """What torchrun does to all others when a process has ended too early."""
    raise LostRank(f"asked to stop, as when another process was lost. {GO_ON}")


# A sequence that no rank holds whole


def stretch(tokens):
    """Of all tokens (B,T) those of this rank, (B,T/n); the first ranks round up."""
    if tokens.shape[1] < dist.get_world_size():
        raise ValueError(
            f"{tokens.shape[1]} tokens can't be split over {dist.get_world_size()} "
            "processes: each needs at least one"
        )
    return tokens.tensor_split(dist.get_world_size(), dim=1)[dist.get_rank()]


class Receive(torch.autograd.Function):
    """What the rank before sends, a tensor like `blank`; its gradient goes back."""

    @staticmethod
    def forward(ctx, blank):
        received = torch.empty_like(blank)
        dist.recv(received, dist.get_rank() - 1)
        return received

    @staticmethod
    def backward(ctx, gradient):
        dist.send(gradient.contiguous(), dist.get_rank() - 1)
        return None


class Send(torch.autograd.Function):
    """Send `after` to the next rank, and return `before`, of the same shape, as it is.

    Backward waits for the gradient of `after`, which the next rank knows late. Because
    it does so when that of `before` has come, no rank waits with its own tokens.
    """

    @staticmethod
    def forward(ctx, before, after):
        dist.send(after.contiguous(), dist.get_rank() + 1)
        return before.view_as(before)

    @staticmethod
    def backward(ctx, gradient):
        received = torch.empty_like(gradient.contiguous())
        dist.recv(received, dist.get_rank() + 1)
        return gradient, received


def wkv_across_ranks(decay_rate, bonus, key, value, state=None, inside=wkv_chunked):
    """The WKV operator on this rank's stretch of tokens, (B,T/n,C), after all before.

    Each rank sums up its own tokens, all at the same time. Then the sums, 3C numbers a
    sequence, go from rank to rank, each adding its own, and with the state before its
    tokens each rank computes its averages, again all at the same time. Backward the
    gradients of the states go the other way. `state` counts on rank 0, and each rank
    returns the state after its own last token.
    """
    check_arguments(decay_rate, bonus, key, value, state)
    rank, last = dist.get_rank(), dist.get_world_size() - 1
    state = empty_state(key[:, 0]) if state is None else state
    length = key.shape[1]
    steps = torch.arange(length, device=key.device)[:, None]
    here = many_tokens(key - steps.flip(0) * decay_rate, value, dim=1)
    before = torch.stack(state)  # (3,B,C)
    if rank > 0:
        before = Receive.apply(before.detach().requires_grad_())
    after = WkvState(*before).decay(length * decay_rate).merge(here)
    if rank < last:
        before = Send.apply(before, torch.stack(after))
    out, _ = inside(decay_rate, bonus, key, value, WkvState(*before))
    return out, after


class FromNeighbour(torch.autograd.Function):
    """What the rank before has as `mine`, which is `first` on rank 0."""

    @staticmethod
    def forward(ctx, mine, first):
        return pass_along(mine, 1, first)

    @staticmethod
    def backward(ctx, gradient):
        mine = pass_along(gradient, -1, torch.zeros_like(gradient))
        return mine, gradient if dist.get_rank() == 0 else None


def pass_along(tensor, step, otherwise):
    """Send `tensor` to rank + step; what rank - step sent, `otherwise` if none is."""
    target, source = dist.get_rank() + step, dist.get_rank() - step
    tensor, jobs = tensor.contiguous(), []
    if 0 <= target < dist.get_world_size():
        jobs.append(dist.P2POp(dist.isend, tensor, target))
    if 0 <= source < dist.get_world_size():
        otherwise = torch.empty_like(tensor)
        jobs.append(dist.P2POp(dist.irecv, otherwise, source))
    for work in dist.batch_isend_irecv(jobs) if jobs else ():
        work.wait()
    return otherwise.clone()


def shift_across_ranks(x, first):
    """`model.shift` on this rank's stretch: before its first token comes another's."""
    return shift(x, FromNeighbour.apply(x[:, -1], first.to(x.dtype)))


def sum_gradients(model):
    """Add up the gradients of all ranks, in one message."""
    gradients = [parameter.grad for parameter in model.parameters()]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, summed in zip(gradients, flat.split(sizes), strict=True):
        gradient.copy_(summed.view_as(gradient))


# What is sent, in closed form, and how long that takes


def payload_bytes(way, shape, batch, ranks, bytes_per_number=4):
    """What each rank puts into each kind of message of a step: [{kind: bytes}].

    `shape` is a model's, `batch` counts all sequences. FSDP2 gathers the weights of a
    block forward and again backward, and those outside of blocks once; it adds zeros to
    tensors whose first axis `ranks` does not divide, which are not counted here.
    """
    weights = cost.rwkv_parameters(shape) * bytes_per_number
    outside = 2 * (shape.vocabulary + 2) * shape.width * bytes_per_number
    state = cost.rwkv_state_bytes(shape, bytes_per_number) * batch
    if way == "data":
        return [{"all_reduce": weights}] * ranks
    if way == "shard":
        gathered = 2 * weights - outside
        return [{"all_gather": gathered, "reduce_scatter": weights}] * ranks
    borders = [(rank > 0) + (rank < ranks - 1) for rank in range(ranks)]
    return [{"send": state * count, "all_reduce": weights} for count in borders]


def sent_bytes(payload, ranks):
    """What of {kind: bytes} leaves a rank when the ranks pass pieces on in a ring.

    Gloo, on CPUs, scatters by way of an all-reduce, and sends twice as much for that.
    """
    once = (ranks - 1) / ranks
    leaves = {"all_reduce": 2 * once, "all_gather": once, "reduce_scatter": once}
    return sum(leaves.get(kind, 1) * size for kind, size in payload.items())


def compute_seconds(parameters, tokens, ranks, flops_per_second):
    """6ND shared by all ranks; `flops_per_second` is what one of them reaches."""
    return cost.training_flops(parameters, tokens) / (ranks * flops_per_second)


def all_reduce_seconds(parameters, ranks, bytes_per_second, bytes_per_number=4):
    """2(n-1)/n of the gradients, over what leaves a rank in a second."""
    payload = {"all_reduce": parameters * bytes_per_number}
    return sent_bytes(payload, ranks) / bytes_per_second


def break_even_tokens(ranks, flops_per_second, bytes_per_second, bytes_per_number=4):
    """The tokens of a rank in a step for which sending takes as long as computing.

    The size of the model cancels: each parameter is sent once and used by each token.
    """
    sending = all_reduce_seconds(1, ranks, bytes_per_second, bytes_per_number)
    return sending / compute_seconds(1, 1, 1, flops_per_second)


def pipeline_idle(layers, ranks):
    """(n-1) / (L+n-1): the part of the time that ranks wait if they pass states late.

    That is, if a rank begins a layer when the one before has ended it. With sums that
    are passed on first, as in `wkv_across_ranks`, only n-1 short messages are waited
    for in each layer.
    """
    return (ranks - 1) / (layers + ranks - 1)


# Processes of this machine, and what they send


class Traffic(TorchDispatchMode):
    """Counts what this rank puts into each kind of message, in `payload_bytes`.

    That is the whole tensor that is summed, gathered or scattered, and what is sent to
    one other rank. `sent_bytes` says how much of it leaves the rank.
    """

    KINDS: ClassVar = {  # the operator's name: our name, and its argument that is whole
        "allreduce_": ("all_reduce", 0),
        "_allgather_base_": ("all_gather", 0),
        "_reduce_scatter_base_": ("reduce_scatter", 1),
        "send": ("send", 0),
    }

    def __init__(self):
        super().__init__()
        self.payload_bytes = {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.name().removeprefix("c10d::")
        if name in self.KINDS:
            kind, position = self.KINDS[name]
            tensors = args[position]
            tensors = tensors if isinstance(tensors, (list, tuple)) else [tensors]
            size = sum(tensor.nbytes for tensor in tensors)
            self.payload_bytes[kind] = self.payload_bytes.get(kind, 0) + size
        return operator(*args, **(kwargs or {}))


def launch(function, *arguments, ranks=2, seconds=300):
    """What function(*arguments) returns in each of `ranks` new processes, as a list.

    They run on the CPU of this machine, one thread each, and can talk to each other.
    `function` is one that a new process can import, and returns tensors or numbers.
    RuntimeError where a process fails, or takes longer than `seconds`.
    """
    with tempfile.TemporaryDirectory() as folder:
        processes = start(member, function, arguments, ranks, folder, ranks=ranks)
        codes = finish(processes, seconds)
        if any(codes):
            raise RuntimeError(
                f"{ranks} processes ended with {codes}, where 0 is well and below 0 "
                f"was ended after {seconds} seconds: the first error is on stderr"
            )
        return [torch.load(f"{folder}/{rank}") for rank in range(ranks)]


def start(function, *arguments, ranks):
    """Processes that call function(rank, *arguments)."""
    methods = multiprocessing.get_all_start_methods()
    # a server imports all of PyTorch that is needed once, and each process is a copy
    method = "forkserver" if "forkserver" in methods else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    processes = [
        context.Process(target=function, args=(rank, *arguments), daemon=True)
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    return processes


def finish(processes, seconds):
    """Their exit codes; after one has failed, or after `seconds`, the rest is ended."""
    deadline = time.monotonic() + seconds
    running = {process.sentinel: process for process in processes}
    while running and time.monotonic() < deadline:
        for sentinel in connection.wait(running, deadline - time.monotonic()):
            if running.pop(sentinel).exitcode:
                deadline = min(deadline, time.monotonic() + 5)
    for process in running.values():
        process.kill()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def member(rank, function, arguments, ranks, folder):
    """One of the processes of `launch`."""
    torch.set_num_threads(1)
    where = f"file://{folder}/meeting"
    dist.init_process_group("gloo", where, rank=rank, world_size=ranks)
    dist.barrier()  # all have met: whoever is done first may now leave
    torch.save(function(*arguments), f"{folder}/{rank}")
    dist.destroy_process_group()


WAYS = ("data", "shard", "time")


class Comparison(NamedTuple):
    """A step of several processes beside that of one process on the same batch.

    Each difference is the largest of any number: of the logits and the states after the
    last token, and of the gradients of all parameters. `payload_bytes` holds what
    Traffic has counted on each rank.
    """

    loss: float
    loss_of_one: float
    output_difference: float
    gradient_difference: float
    largest_gradient: float
    payload_bytes: list


def compare_with_one_process(way, config, batch, length, ranks=2, seed=0):
    """A step in one of three ways, data, shard or time, in double precision.

    On random weights and tokens, `batch` sequences of `length` tokens in all.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {', '.join(WAYS)}, got {way!r}")
    found = launch(compare_here, way, config, batch, length, seed, ranks=ranks)
    numbers = torch.tensor([numbers for numbers, _ in found], dtype=torch.float64)
    return Comparison(*numbers.amax(0).tolist(), [counted for _, counted in found])


def compare_here(way, config, batch, length, seed):
    """What one rank has to say about `compare_with_one_process`."""
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), way == "shard")
    if way != "time":
        ranks.check(batch, length)
    torch.manual_seed(seed)
    model = RWKV(config).double()
    for parameter in model.parameters():  # some of which begin as zeros
        parameter.data += 0.3 * torch.randn_like(parameter)
    tokens = torch.randint(config.vocabulary, (batch, length + 1))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    if way == "time":
        mine, own = stretch, RWKV(config, wkv_across_ranks, shift_across_ranks).double()
        own.load_state_dict(model.state_dict())
    else:
        mine, own = ranks.share, ranks.spread(copy.deepcopy(model))

    with Traffic() as traffic:
        logits, state = own(mine(inputs))
        nats = cross_entropy(
            logits.flatten(0, 1), mine(targets).flatten(), reduction="sum"
        )
        if way == "time":
            (nats / targets.numel()).backward()
            sum_gradients(own)
        else:
            (nats / mine(targets).numel()).backward()  # means over ranks are taken
    nats = nats.detach()
    dist.all_reduce(nats)

    wanted, wanted_state = model(inputs)
    loss = cross_entropy(wanted.flatten(0, 1), targets.flatten())
    loss.backward()
    outputs = [logits - mine(wanted)]
    if way != "time":
        outputs.append(state - mine(wanted_state))
    elif ranks.rank == ranks.count - 1:
        outputs.append(state - wanted_state)
    pairs = [
        (ranks.whole(ours.grad), theirs.grad)
        for ours, theirs in zip(own.parameters(), model.parameters(), strict=True)
    ]
    differences = [ours - theirs for ours, theirs in pairs if ours is not None]
    numbers = [
        nats.item() / targets.numel(),
        loss.item(),
        largest(outputs),
        largest(differences),
        largest(theirs for _, theirs in pairs),
    ]
    return numbers, traffic.payload_bytes


def largest(tensors):
    """The largest number of any of them, without its sign; 0 if there are none."""
    return max((tensor.abs().max().item() for tensor in tensors), default=0.0)
