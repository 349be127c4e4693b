"""A sequence that no rank holds whole: each passes on the state after its stretch.

A rank that knows the state before its stretch of tokens needs nothing else of what came
before, so what crosses a border is a state a sequence, 5CL numbers of RWKV-4 or 2CL and
a table in each head, however long it is. `wkv_across_ranks`, `table_across_ranks` and
`shift_across_ranks` do it inside the models, and gradients flow through all.
"""

import torch
import torch.distributed as dist
from torch import nn

from rwkv_book.family.arguments import checked
from rwkv_book.family.equation import table_chunked
from rwkv_book.rwkv4.model import shift
from rwkv_book.rwkv4.wkv import (
    WkvState,
    at_most_finite,
    check_arguments,
    empty_state,
    many_tokens,
    wkv_chunked,
)


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
    decay_rate = at_most_finite(decay_rate)
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


def table_across_ranks(
    log_decay,
    receptance,
    key,
    value,
    remove=None,
    replace=None,
    state=None,
    before=False,
    inside=table_chunked,
):
    """The recurrence of `family.equation` on this rank's stretch, after all before.

    What a stretch does to a table S is S <- S left + added, and what it answers is
    own + S asks. All four are found with two readings, all ranks at the same time: one
    of the tokens, beginning with an empty table, and one without their values,
    beginning with the identity. Then the tables go from rank to rank. `state` counts on
    rank 0, and each rank returns the table after its own last token.
    """
    state = checked(log_decay, receptance, key, value, remove, replace, state)
    removal = {"remove": remove, "replace": replace, "before": before}
    own, added = inside(log_decay, receptance, key, value, **removal)
    size = key.shape[-1]
    one = torch.eye(size, dtype=state.dtype, device=state.device)
    one = one.expand(*state.shape[:2], size, size)
    nothing = torch.zeros_like(key)
    asks, left = inside(log_decay, receptance, key, nothing, state=one, **removal)
    rank, last = dist.get_rank(), dist.get_world_size() - 1
    if rank > 0:
        state = Receive.apply(state.detach().requires_grad_())
    after = state @ left + added
    if rank < last:
        state = Send.apply(state, after)
    return own + torch.einsum("bhmn,bthn->bthm", state, asks), after


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


class InTraining(nn.Module):
    """One function while its model trains, `otherwise` while it is evaluated.

    Of a text to train on each rank has a stretch; what is held out each reads whole.
    """

    def __init__(self, function, otherwise):
        super().__init__()
        self.function, self.otherwise = function, otherwise

    def forward(self, *arguments, **named):
        chosen = self.function if self.training else self.otherwise
        return chosen(*arguments, **named)


def sum_gradients(model):
    """Add up the gradients of all ranks, in one message."""
    gradients = [parameter.grad for parameter in model.parameters()]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, summed in zip(gradients, flat.split(sizes), strict=True):
        gradient.copy_(summed.view_as(gradient))
