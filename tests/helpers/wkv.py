"""The WKV operator by its definition: questions for every form, and their answers.

`formula` is the definition as it stands in the paper, in decimal numbers of 60
digits and any size: nothing is rescaled in it, so it shares no trick with the forms.
"""

from decimal import Decimal, localcontext
from functools import cache, partial

import torch

from rwkv_book.rwkv4.wkv import WkvState, wkv_attention

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
# A log of a sum near 900 is a number that float32 rounds to 6e-5, once in every step.
TOLERANCE_OF_LOGS = {torch.float64: 1e-12, torch.float32: 1e-5}


@cache
def arguments(length, scale, with_state, batch=2, channels=3, seed=0):
    """Random decay_rate, bonus, key, value and fields of a state, in float64.

    They are numbers that float32 has too, so that both are asked the same question.
    """
    generator = torch.Generator().manual_seed(seed)
    normal = partial(torch.randn, generator=generator)
    tensors = [normal(channels).exp(), normal(channels)]
    tensors += [
        scale * normal(batch, length, channels),
        normal(batch, length, channels),
    ]
    if with_state:
        tensors += [normal(batch, channels), normal(batch, channels).exp()]
        tensors += [scale * normal(batch, channels)]
    return tuple(tensor.double() for tensor in tensors)


LARGE = ["key", "bonus", "decay_rate", "log_scale"]


def with_large(name):
    """Arguments of 33 tokens and a state, one of them so large that exp overflows."""
    signs = torch.tensor([1.0, -1.0]).repeat(17)[:33].view(1, 33, 1).expand(2, 33, 3)
    tensors = [t.clone() for t in arguments(33, 1, with_state=True)]
    if name == "key":
        tensors[2] = 1e4 * signs.clone()
    elif name == "bonus":
        tensors[1] = torch.tensor([1e4, -1e4, 0.0])
    elif name == "decay_rate":
        tensors[0] = torch.tensor([1e4, 0.0, 1e-30])
    else:
        tensors[6] = torch.tensor([[1e4, -1e4, -torch.inf]] * 2)
        tensors[4][:, 2] = tensors[5][:, 2] = 0
    return tensors


def without_a_past(length, scale, with_state):
    """(arguments of which the first channel has a rate of infinity, results, gradients)

    Of that channel they are written out: only the previous token and the newest count.
    """
    tensors = [tensor.clone() for tensor in arguments(length, scale, with_state)]
    results, gradients = run_with_gradients(wkv_attention, tensors)
    tensors[0][0] = torch.inf
    wanted, by = run_with_gradients(previous_and_newest, tensors)
    for found, right in zip([*results, *gradients], [*wanted, *by], strict=True):
        found[..., 0] = right[..., 0]
    return tensors, results, gradients


def previous_and_newest(decay_rate, bonus, key, value, state):
    """The operator at a rate of infinity."""
    first = value[:, 0]
    if state is not None:
        weight = torch.sigmoid(bonus + key[:, 0] - state.log_scale - state.den.log())
        first = weight * first + (1 - weight) * state.average()
    weight = torch.sigmoid(bonus + key[:, 1:] - key[:, :-1])
    others = weight * value[:, 1:] + (1 - weight) * value[:, :-1]
    out = torch.cat([first[:, None], others], dim=1)
    last = value[:, -1]
    return out, WkvState(last, torch.ones_like(last), key[:, -1])


def run(form, tensors):
    """The outputs, and what the last state stands for: an average and log of a sum.

    The same sums can be kept on different scales, so the fields are not compared.
    """
    decay_rate, bonus, key, value, *state = tensors
    state = WkvState(*state) if state else None
    out, after = form(decay_rate, bonus, key, value, state)
    return out, after.average(), after.den.log() + after.log_scale


def run_with_gradients(form, tensors):
    """(results, gradients of a sum that weighs every number of them differently)."""
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    results = run(form, tensors)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(result.shape, generator=generator) for result in results]
    total = sum((w * r).sum() for w, r in zip(weights, results, strict=True))
    gradients = torch.autograd.grad(total, tensors, materialize_grads=True)
    return [r.detach() for r in results], gradients


@cache
def expected(length, scale, with_state):
    """The formula's results, and the gradients of the attention form in float64."""
    tensors = arguments(length, scale, with_state)
    return formula(tensors), run_with_gradients(wkv_attention, tensors)[1]


def formula(tensors):
    """What `run` gives, by the definition, one number after the other."""
    decay_rate, bonus, key, value, *state = tensors
    batch, _, channels = key.shape
    out = torch.empty_like(key)
    average, log_sum = torch.empty_like(key[:, 0]), torch.empty_like(key[:, 0])
    for b in range(batch):
        for c in range(channels):
            channel = (decay_rate[c], bonus[c], key[b, :, c], value[b, :, c])
            start = [field[b, c].item() for field in state] or [0.0, 0.0, 0.0]
            results = formula_of_a_channel(*(t.tolist() for t in channel), start)
            out[b, :, c] = torch.tensor(results[0], dtype=out.dtype)
            average[b, c], log_sum[b, c] = results[1:]
    return out, average, log_sum


def formula_of_a_channel(decay_rate, bonus, key, value, state):
    with localcontext(prec=60, Emax=10**9, Emin=-(10**9)):
        w, u = Decimal(decay_rate), Decimal(bonus)
        k, v = [Decimal(x) for x in key], [Decimal(x) for x in value]
        num, den, log_scale = map(Decimal, state)

        def earlier(t):
            """Sums over what came before token t."""
            faded = (log_scale - t * w).exp()
            weights = [(k[i] - (t - 1 - i) * w).exp() for i in range(t)]
            values = zip(weights, v[:t], strict=True)
            return faded * num + sum(x * y for x, y in values), faded * den + sum(
                weights
            )

        out = []
        for t in range(len(k)):
            (top, bottom), weight = earlier(t), (k[t] + u).exp()
            out.append(float((top + weight * v[t]) / (bottom + weight)))
        top, bottom = earlier(len(k))
        return out, float(top / bottom), float(bottom.ln())


def assert_near(found, expected, tolerance):
    """All finite, and off by at most `tolerance` of the largest number, or of 1."""
    assert found.shape == expected.shape and found.isfinite().all()
    error = (found.double() - expected).abs().max() / max(1, expected.abs().max())
    assert error <= tolerance
