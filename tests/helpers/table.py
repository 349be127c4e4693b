"""The recurrence of a table: questions for every form, and how answers are compared."""

import torch
from torch.nn.functional import normalize

NAMES = ("log_decay", "receptance", "key", "value", "remove", "replace", "state")


def arguments(length, sizes=(6, 5), removes=True, decay=-0.5, batch=2, heads=3, seed=0):
    """The seven arguments in float64, of which two may be None."""
    generator = torch.Generator().manual_seed(seed)
    keys, values = sizes

    def random(size=keys):
        shape = batch, length, heads, size
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    spread = torch.exp(0.5 * random())
    log_decay = decay * spread if decay else torch.zeros_like(spread)
    found = [log_decay, random(), random(), random(values)]
    unit, rate = normalize(random(), dim=-1), random().sigmoid()
    # what comes back is no more than what is left, or the table explodes
    removal = [-unit, unit * rate * log_decay.exp()]
    state = random(values * keys)[:, 0].unflatten(-1, (values, keys))
    return [*found, *(removal if removes else (None, None)), state]


def of_type(dtype, tensors, device="cpu"):
    """What is stored in `dtype`, and log_decay and state in the type of its sums."""
    sums = torch.promote_types(dtype, torch.float32)
    types = [sums if name in ("log_decay", "state") else dtype for name in NAMES]
    pairs = zip(tensors, types, strict=True)
    return [None if x is None else x.to(device, kind) for x, kind in pairs]


def with_gradients(form, tensors, before=False):
    """out, the table after it, and gradients of a sum of both with random weights."""
    leaves = [x if x is None else x.clone().requires_grad_() for x in tensors]
    out, after = form(*leaves, before=before)
    generator = torch.Generator().manual_seed(5)

    def weights(x):
        w = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        return w.bfloat16().to(x)  # 8 bits, which every type holds

    loss = (out * weights(out)).double().sum() + (after * weights(after)).sum()
    grads = torch.autograd.grad(loss, [x for x in leaves if x is not None])
    return [out.detach(), after.detach(), *grads]


def assert_near(found, wanted, tolerance):
    for one, other in zip(found, wanted, strict=True):
        assert one.isfinite().all()
        scale = max(1, other.abs().max().item())
        torch.testing.assert_close(
            one.double().cpu(), other.double().cpu(), rtol=0, atol=tolerance * scale
        )
