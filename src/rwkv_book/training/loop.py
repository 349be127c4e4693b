"""The loop: a step of training, and step after step."""

import math

import torch
from torch.nn.functional import cross_entropy

from rwkv_book.parallel import ALONE
from rwkv_book.training.batches import windows
from rwkv_book.training.schedule import learning_rate, make_optimizer


def training_step(model, optimizer, inputs, targets, run, step):
    """One update of the weights. Returns the loss before it, in nats per token."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(run, step) * group.get("rate", 1.0)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=run.bfloat16):
        logits, _ = model(inputs)
    loss = cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), run.clip)
    optimizer.step()
    return loss.detach()


def fit(model, run, data, optimizer=None, step=0, ranks=ALONE):
    """Train `model` on bytes, from `step` to the last: yields the loss of each step.

    A loss is a tensor, in nats per byte of what this rank read, before that step. The
    model is what `ranks` have spread; without an optimizer it begins with a new one.
    """
    optimizer = make_optimizer(model, run) if optimizer is None else optimizer
    device = next(model.parameters()).device
    for number in range(step, run.steps):
        batch = (ranks.share(x).to(device) for x in windows(data, run, number))
        yield training_step(model, optimizer, *batch, run, number)


def check_loss(loss, step, run):
    """Stop a run whose loss is infinite or not a number, before it is saved."""
    if not math.isfinite(loss):
        advice = f"lower learning_rate ({run.learning_rate}) or clip ({run.clip})"
        raise FloatingPointError(f"the loss is {loss} at step {step}: {advice}")
