"""All forms of one recurrence: the same numbers and gradients, whatever the decay."""

import inspect
from functools import partial

import pytest
import torch
from helpers.others import naive, turned
from torch.nn.functional import normalize

from rwkv_book.family.equation import FORMS, table_chunked, table_recurrent

LENGTHS = (1, 2, 17, 64, 97)
# log decays: all is kept, nearly all, as in models, nearly nothing, nothing
DECAYS = {"1": 0.0, "near 1": -1e-4, "usual": -0.5, "near 0": -40.0, "0": -torch.inf}
CHUNKS = (1, 8, 16, 64)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


def arguments(length, decay=-0.5, rank_one=True, dtype=torch.float64, batch=2, seed=0):
    """log_decay, receptance, key, value, remove, replace; 2 heads of 6, values of 5."""
    generator = torch.Generator().manual_seed(seed)

    def random(size=6):
        shape = (batch, length, 2, size)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    spread = torch.exp(0.5 * random())
    log_decay = decay * spread if decay else torch.zeros_like(spread)
    receptance, key, value = random(), random(), random(5)
    found = [log_decay, receptance, key, value]
    if rank_one:
        unit = normalize(random(), dim=-1)
        rate = torch.sigmoid(random())
        # what comes back is no more than what is left, or the table explodes
        found += [-unit, unit * rate * torch.exp(log_decay)]
    return [tensor.to(dtype) for tensor in found]


def start(dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(9)
    shape = (batch, 2, 5, 6)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def forms(rank_one):
    """Each form as a function, the chunked one with each chunk."""
    for name, form in FORMS.items():
        if name == "chunked":
            for chunk in CHUNKS:
                yield partial(form, chunk=chunk)
        elif not (name == "scan" and rank_one):
            yield form


def assert_close(found, wanted, tolerance):
    for one, other in zip(found, wanted, strict=True):
        scale = max(1, other.abs().max().item())
        torch.testing.assert_close(
            one.double(), other.double(), rtol=0, atol=tolerance * scale
        )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("rank_one", [False, True])
@pytest.mark.parametrize("decay", DECAYS.values(), ids=DECAYS)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_form_equals_the_recurrence_in_double(
    length, decay, rank_one, before, dtype
):
    exact = arguments(length, decay, rank_one)
    wanted = table_recurrent(*exact, state=start(), before=before)
    some = [tensor.to(dtype) for tensor in exact]
    for form in forms(rank_one):
        found = form(*some, state=start(dtype), before=before)
        assert all(tensor.dtype == dtype for tensor in found)
        assert_close(found, wanted, TOLERANCE[dtype])


def gradients(form, exact, state, before):
    leaves = [tensor.clone().requires_grad_() for tensor in (*exact, state)]
    out, after = form(*leaves[:-1], state=leaves[-1], before=before)
    generator = torch.Generator().manual_seed(5)
    weights = [
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)
        for x in (out, after)
    ]
    loss = (out * weights[0]).sum() + (after * weights[1]).sum()
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("rank_one", [False, True])
@pytest.mark.parametrize("decay", DECAYS.values(), ids=DECAYS)
@pytest.mark.parametrize("length", [1, 2, 17, 37, 64])
def test_every_form_has_the_gradients_of_the_recurrence(
    length, decay, rank_one, before, dtype
):
    exact = arguments(length, decay, rank_one)
    wanted = gradients(table_recurrent, exact, start(), before)
    assert all(tensor.isfinite().all() for tensor in wanted)
    some = [tensor.to(dtype) for tensor in exact]
    tolerance = max(TOLERANCE[dtype], 1e-9)  # gradients are sums over all tokens
    for form in forms(rank_one):
        found = gradients(form, some, start(dtype), before)
        assert_close(found, wanted, tolerance)


@pytest.mark.parametrize("rank_one", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_a_text_may_be_cut_anywhere(name, rank_one):
    if name == "scan" and rank_one:
        pytest.skip("a scan has no removal; the error for it has a test of its own")
    form = partial(table_chunked, chunk=8) if name == "chunked" else FORMS[name]
    exact = arguments(37, rank_one=rank_one)  # five chunks, the last of them short
    whole, after = form(*exact, state=start())
    for cut in range(1, 37):
        first, state = form(*(x[:, :cut] for x in exact), state=start())
        second, last = form(*(x[:, cut:] for x in exact), state=state)
        assert_close([torch.cat([first, second], 1), last], [whole, after], 1e-10)


@pytest.mark.parametrize("name", FORMS)
def test_its_gradients_are_those_of_small_differences(name):
    exact = arguments(5, rank_one=name != "scan", batch=1)
    leaves = [tensor.requires_grad_() for tensor in (*exact, start(batch=1))]

    def function(*given):
        return FORMS[name](*given[:-1], state=given[-1])

    assert torch.autograd.gradcheck(function, leaves, fast_mode=True)


def test_small_decays_beside_one_that_clears_the_table_are_not_lost():
    """As differences of sums they would be, in float32."""
    exact = arguments(40, rank_one=False)
    exact[0] = torch.full_like(exact[0], -1e-3)
    exact[0][:, 20] = -1e6
    wanted = table_recurrent(*exact)
    some = [tensor.float() for tensor in exact]
    for form in forms(rank_one=False):
        assert_close(form(*some), wanted, 1e-5)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("chunk", [4, 16, 64])
def test_whoever_knows_the_least_decay_may_say_so(chunk, before):
    """Blocks of up to 64 tokens are multiplied at once, and not halved."""
    exact = arguments(70)
    exact[0] = exact[0].clamp(min=-0.61)
    wanted = table_recurrent(*exact, state=start(), before=before)
    for dtype, tolerance in TOLERANCE.items():
        some = [tensor.to(dtype) for tensor in exact]
        known = {"chunk": chunk, "least": -0.61}
        found = table_chunked(*some, state=start(dtype), before=before, **known)
        assert_close(found, wanted, tolerance)


def test_what_does_not_fit_is_named_all_at_once():
    exact = arguments(3)
    with pytest.raises(ValueError) as caught:
        table_recurrent(exact[0][..., :5], *exact[1:3], exact[3].long(), *exact[4:])
    assert "log_decay must be (2, 3, 2, 6), got (2, 3, 2, 5)" in str(caught.value)
    assert "value must be floating point, got torch.int64" in str(caught.value)
    for form in FORMS.values():
        with pytest.raises(ValueError, match="at least one token"):
            form(*(tensor[:, :0] for tensor in exact))
        with pytest.raises(ValueError, match="come together"):
            form(*exact[:5])
        with pytest.raises(ValueError, match=r"state must be \(2, 2, 5, 6\)"):
            form(*exact[:4], state=start().mT)
        with pytest.raises(ValueError, match=r"value must be \(B,T,H,M\)"):
            form(*exact[:3], exact[3][0])
    with pytest.raises(ValueError, match="chunk must be a power of two, got 12"):
        table_chunked(*exact, chunk=12)
    with pytest.raises(ValueError, match="use table_chunked"):
        FORMS["scan"](*exact)


# Beside what others have written.


def square(length=24, rank_one=True):
    """Arguments in float32 whose values have the size of the keys, as theirs do."""
    found = arguments(length, rank_one=rank_one)
    wide = torch.randn(2, length, 2, 6, generator=torch.Generator().manual_seed(4))
    return [*(x.float() for x in found[:3]), wide, *(x.float() for x in found[4:])]


def test_without_removal_it_is_gated_linear_attention():
    """fla's tables are key by value, and its receptance is scaled."""
    log_decay, receptance, key, value = square(rank_one=False)
    theirs, state = naive("gla/naive.py").naive_recurrent_gla(
        receptance * 6**0.5, key, value, log_decay, output_final_state=True
    )
    for form in forms(rank_one=False):
        out, after = form(log_decay, receptance, key, value)
        assert_close([out, after], [theirs, state.mT], 2e-5)


def test_with_removal_it_is_the_generalised_delta_rule():
    log_decay, receptance, key, value, remove, replace = square()
    theirs = naive("generalized_delta_rule/dplr/naive.py").dplr_recurrence(
        *turned(receptance * 6**0.5, key, value, remove, replace, log_decay)
    )
    out = theirs[0] if isinstance(theirs, tuple) else theirs
    for form in forms(rank_one=True):
        assert_close([form(*square())[0]], [out.transpose(1, 2)], 2e-5)


def test_with_one_decay_a_head_it_is_the_gated_delta_rule_of_qwen():
    """There the decay acts before the removal, so it stands in `remove` here."""
    from transformers.models.qwen3_next import modeling_qwen3_next as qwen

    log_decay, receptance, key, value, *_ = square()
    decay = log_decay[..., :1].contiguous()
    key, rate = normalize(key, dim=-1), torch.sigmoid(value[..., 0])
    for theirs in (
        qwen.torch_recurrent_gated_delta_rule,
        qwen.torch_chunk_gated_delta_rule,
    ):
        wanted, state = inspect.unwrap(theirs)(  # or fla's kernels, which need a GPU
            receptance,
            key,
            value,
            g=decay[..., 0],
            beta=rate,
            initial_state=None,
            output_final_state=True,
        )
        found = table_chunked(
            decay.expand_as(key),
            receptance * 6**-0.5,
            key,
            value * rate[..., None],
            -key * decay.exp(),
            key * rate[..., None],
        )
        assert_close(found, [wanted, state.mT], 2e-5)
