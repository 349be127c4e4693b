"""A step of several processes beside the same step of one.

What `parallel` promises is measured here: `compare` runs both and says how far apart
they end.
"""

import copy
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy

from rwkv_book.parallel.messages import Messages
from rwkv_book.parallel.processes import run_on_ranks
from rwkv_book.parallel.ranks import Ranks
from rwkv_book.parallel.sequence import (
    shift_across_ranks,
    stretch,
    sum_gradients,
    wkv_across_ranks,
)
from rwkv_book.rwkv4.model import RWKV

WAYS = ("data", "shard", "time")


class Comparison(NamedTuple):
    """A step of several processes beside that of one process on the same batch.

    Each difference is the largest of any number: of the logits and the states after the
    last token, and of the gradients of all parameters. `payload_bytes` holds what
    Messages has counted on each rank.
    """

    loss: float
    loss_of_one: float
    output_difference: float
    gradient_difference: float
    largest_gradient: float
    payload_bytes: list


def compare(way, config, batch, length, ranks=2, seed=0):
    """A step in one of three ways, data, shard or time, in double precision.

    On random weights and tokens, `batch` sequences of `length` tokens in all.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {', '.join(WAYS)}, got {way!r}")
    found = run_on_ranks(compare_here, way, config, batch, length, seed, ranks=ranks)
    numbers = torch.tensor([numbers for numbers, _ in found], dtype=torch.float64)
    return Comparison(*numbers.amax(0).tolist(), [counted for _, counted in found])


def compare_here(way, config, batch, length, seed):
    """What one rank has to say about `compare`."""
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

    with Messages() as messages:
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
    return numbers, messages.payload_bytes


def largest(tensors):
    """The largest number of any of them, without its sign; 0 if there are none."""
    return max((tensor.abs().max().item() for tensor in tensors), default=0.0)
