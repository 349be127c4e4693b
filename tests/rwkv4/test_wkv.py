"""The WKV operator: four forms, one function, checked against sums written out.

The sums are `formula` of helpers/wkv.py.
"""

from functools import partial

import pytest
import torch
from helpers.wkv import (
    LARGE,
    TOLERANCE,
    TOLERANCE_OF_LOGS,
    arguments,
    assert_near,
    expected,
    run,
    run_with_gradients,
    with_large,
    without_a_past,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_book.rwkv4.wkv import (
    FORMS,
    WkvState,
    empty_state,
    many_tokens,
    one_token,
    wkv_attention,
    wkv_chunked,
    wkv_recurrent,
    wkv_scan,
)

SCALES = [1, 30, 300]
LENGTHS = [1, 2, 17, 31, 64]  # one, the least to mix, two primes, a multiple of 16
VARIANTS = FORMS | {
    "chunked by 1": partial(wkv_chunked, chunk=1),
    "chunked by 3": partial(wkv_chunked, chunk=3),
    "chunked by 100": partial(wkv_chunked, chunk=100),
    "chunked with recurrent inside": partial(wkv_chunked, inside=wkv_recurrent),
    "chunked with scan inside": partial(wkv_chunked, chunk=5, inside=wkv_scan),
}
every_form = pytest.mark.parametrize("form", VARIANTS.values(), ids=VARIANTS)
every_scale = pytest.mark.parametrize("scale", SCALES)
every_length = pytest.mark.parametrize("length", LENGTHS)
both_starts = pytest.mark.parametrize("with_state", [False, True])


@every_form
@every_scale
@every_length
@both_starts
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_every_form_equals_the_formula_and_has_the_gradients_of_attention(
    form, scale, length, with_state, dtype
):
    tensors = [t.to(dtype) for t in arguments(length, scale, with_state)]
    results, gradients = run_with_gradients(form, tensors)
    (out, average, log_sum), expected_gradients = expected(length, scale, with_state)
    assert all(tensor.dtype == dtype for tensor in (*results, *gradients))
    assert_near(results[0], out, TOLERANCE[dtype])
    assert_near(results[1], average, TOLERANCE[dtype])
    assert_near(results[2], log_sum, TOLERANCE_OF_LOGS[dtype])
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        assert_near(found, wanted, TOLERANCE[dtype])


def unscaled(decay_rate, bonus, key, value, state):
    """The formula in plain exponentials, which overflow, for autograd to take."""
    out, weights = [], []
    state = state or empty_state(key[:, 0])
    for t in range(key.shape[1] + 1):
        fading = torch.arange(t - 1, -1, -1)[:, None] * decay_rate
        weights = (key[:, :t] - fading).exp()
        faded = (state.log_scale - t * decay_rate).exp()
        num = (weights * value[:, :t]).sum(1) + faded * state.num
        den = weights.sum(1) + faded * state.den
        if t < key.shape[1]:
            new = (bonus + key[:, t]).exp()
            out.append((num + new * value[:, t]) / (den + new))
    return torch.stack(out, dim=1), WkvState(num, den, torch.zeros_like(num))


@every_form
@every_length
@both_starts
def test_gradients_are_those_of_the_formula_in_plain_exponentials(
    form, length, with_state
):
    tensors = arguments(length, 1, with_state)
    results, gradients = run_with_gradients(form, tensors)
    wanted_results, wanted_gradients = run_with_gradients(unscaled, tensors)
    for found, wanted in zip(results, wanted_results, strict=True):
        assert_near(found, wanted, 1e-10)
    for found, wanted in zip(gradients, wanted_gradients, strict=True):
        assert_near(found, wanted, 1e-10)


@every_form
@every_scale
@both_starts
def test_gradients_are_those_of_finite_differences(form, scale, with_state):
    tensors = arguments(5, scale, with_state, batch=1, channels=2)
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(lambda *tensors: run(form, tensors), tensors)


@every_form
@given(
    length=st.integers(2, 24),
    cut=st.floats(0, 1),
    scale=st.sampled_from(SCALES),
    with_state=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=25)
def test_split_anywhere_equals_whole(form, length, cut, scale, with_state, seed):
    decay_rate, bonus, key, value, *state = arguments(
        length, scale, with_state, batch=1, seed=seed
    )
    state = WkvState(*state) if state else None
    cut = 1 + int(cut * (length - 2))
    first, between = form(decay_rate, bonus, key[:, :cut], value[:, :cut], state)
    second, after = form(decay_rate, bonus, key[:, cut:], value[:, cut:], between)
    out, wanted = form(decay_rate, bonus, key, value, state)
    assert_near(torch.cat([first, second], dim=1), out, 1e-10)
    assert_near(after.average(), wanted.average(), 1e-10)
    logs = (s.den.log() + s.log_scale for s in (after, wanted))
    assert_near(*logs, 1e-12)


def sums(seed, spread=1e4):
    """Random sums over some tokens: (2,3) fields."""
    generator = torch.Generator().manual_seed(seed)
    normal = partial(torch.randn, 2, 3, generator=generator, dtype=torch.float64)
    return WkvState(normal(), normal().exp(), spread * normal())


def assert_same_sums(one, other):
    """Equal as sums: on one scale, the larger, both fields are."""
    top = torch.maximum(one.log_scale, other.log_scale)
    for field in ("num", "den"):
        first = getattr(one, field) * (one.log_scale - top).exp()
        second = getattr(other, field) * (other.log_scale - top).exp()
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.0, 1.0, 100.0, 1e4]))
@settings(deadline=None, max_examples=50)
def test_merging_is_associative_and_commutative_and_nothing_is_its_identity(
    seed, spread
):
    one, two, three = (sums(3 * seed + n, spread) for n in range(3))
    assert_same_sums(one.merge(two).merge(three), one.merge(two.merge(three)))
    assert_same_sums(one.merge(two), two.merge(one))
    nothing = empty_state(one.num)
    for same in (one.merge(nothing), nothing.merge(one)):
        assert all(torch.equal(x, y) for x, y in zip(same, one, strict=True))


def test_merging_adds_the_sums():
    one, two = sums(0, spread=1), sums(1, spread=1)
    both = one.merge(two)
    for field in ("num", "den"):
        parts = [getattr(s, field) * s.log_scale.exp() for s in (one, two, both)]
        torch.testing.assert_close(parts[0] + parts[1], parts[2], rtol=1e-12, atol=0)


def test_decay_multiplies_every_weight():
    before = sums(0, spread=1)
    after = before.decay(torch.tensor([0.0, 1.0, 2.0]))
    for field in ("num", "den"):
        was, now = (getattr(s, field) * s.log_scale.exp() for s in (before, after))
        torch.testing.assert_close(now, was * torch.tensor([0.0, -1.0, -2.0]).exp())


def test_many_tokens_at_once_equal_merging_them_one_by_one():
    _, _, key, value = arguments(17, 300, with_state=False)
    state = empty_state(key[:, 0])
    for logit, v in zip(key.unbind(1), value.unbind(1), strict=True):
        state = state.merge(one_token(logit, v))
    assert_same_sums(many_tokens(key, value, dim=1), state)


@every_form
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("large", LARGE)
def test_nothing_overflows(form, dtype, large):
    tensors = [tensor.to(dtype) for tensor in with_large(large)]
    results, gradients = run_with_gradients(form, tensors)
    wanted, wanted_gradients = run_with_gradients(
        wkv_attention, [tensor.double() for tensor in tensors]
    )
    for found, value in zip(
        [*results, *gradients], [*wanted, *wanted_gradients], strict=True
    ):
        # neighbours in float32 are 1e-3 apart at 1e4: that much a log may be off
        assert_near(found, value, 1e-10 if dtype == torch.float64 else 1e-2)


@every_form
@both_starts
@pytest.mark.parametrize("scale", [1, 300])
@pytest.mark.parametrize("length", [1, 2, 17, 64])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_rate_of_infinity_leaves_the_previous_token_and_the_newest(
    form, length, scale, with_state, dtype
):
    tensors, results, gradients = without_a_past(length, scale, with_state)
    found, by = run_with_gradients(form, [tensor.to(dtype) for tensor in tensors])
    for one, other in zip([*found, *by], [*results, *gradients], strict=True):
        assert_near(one, other, TOLERANCE[dtype])


@every_form
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_the_smallest_and_the_largest_rates_are_only_rates(form, dtype):
    """0, a denormal number and the largest one."""
    limits = torch.finfo(dtype)
    tensors = [tensor.to(dtype) for tensor in arguments(33, 1, with_state=True)]
    tensors[0] = torch.tensor([0, limits.tiny / 8, limits.max], dtype=dtype)
    results, gradients = run_with_gradients(form, tensors)
    exact = [tensor.double() for tensor in tensors]
    wanted, by = run_with_gradients(wkv_recurrent, exact)
    for one, other in zip([*results, *gradients], [*wanted, *by], strict=True):
        assert_near(one, other, TOLERANCE[dtype])


@every_form
def test_a_rate_that_is_no_number_is_heard_of(form):
    _, *rest = arguments(17, 1, with_state=False)
    out, after = form(torch.tensor([0.5, torch.nan, 1]).double(), *rest)
    assert out[:, 2:, 1].isnan().all() and after.average()[:, 1].isnan().all()
    assert out[..., ::2].isfinite().all() and after.average()[:, ::2].isfinite().all()


@every_form
def test_no_state_is_the_empty_state(form):
    tensors = arguments(17, 30, with_state=False)
    without, after = form(*tensors)
    with_empty, after_empty = form(*tensors, empty_state(tensors[2][:, 0]))
    assert torch.equal(without, with_empty)
    assert all(torch.equal(x, y) for x, y in zip(after, after_empty, strict=True))


@every_form
def test_the_arguments_are_left_as_they_were(form):
    tensors = [tensor.clone() for tensor in arguments(17, 30, with_state=True)]
    run(form, tensors)
    for tensor, before in zip(tensors, arguments(17, 30, with_state=True), strict=True):
        assert torch.equal(tensor, before)


@every_form
def test_a_token_changes_nothing_before_it(form):
    decay_rate, bonus, key, value = arguments(17, 1, with_state=False)
    out, _ = form(decay_rate, bonus, key, value)
    key, value = key.clone(), value.clone()
    key[:, 9] += 5
    value[:, 9] = 100
    changed, _ = form(decay_rate, bonus, key, value)
    assert torch.equal(out[:, :9], changed[:, :9])
    assert (out[:, 9:] != changed[:, 9:]).all()


def test_three_tokens_by_hand():
    """Each step halves the past, the newest counts twice: 4, 20/3, then 14/3.5."""
    half = torch.tensor([2.0], dtype=torch.float64).log()
    value = torch.tensor([4.0, 8.0, 2.0], dtype=torch.float64).view(1, 3, 1)
    for form in FORMS.values():
        out, _ = form(half, half, torch.zeros_like(value), value)
        torch.testing.assert_close(out.flatten().tolist(), [4.0, 20 / 3, 4.0])


@every_form
@pytest.mark.parametrize(
    ("position", "shape", "sentence"),
    [
        (0, (4,), r"decay_rate must be \(3,\), got \(4,\)"),
        (0, (2, 17, 3), r"decay_rate must be \(3,\), got \(2, 17, 3\)"),
        (1, (1,), r"bonus must be \(3,\), got \(1,\)"),
        (2, (17, 3), r"key must be \(B,T,C\) .* got \(17, 3\)"),
        (2, (2, 0, 3), r"at least one token, got \(2, 0, 3\)"),
        (3, (2, 16, 3), r"value must be \(2, 17, 3\), got \(2, 16, 3\)"),
        (4, (1, 3), r"state\.num must be \(2, 3\), got \(1, 3\)"),
        (6, (2, 1), r"state\.log_scale must be \(2, 3\), got \(2, 1\)"),
    ],
)
def test_a_wrong_shape_is_named(form, position, shape, sentence):
    tensors = [*arguments(17, 1, with_state=True)]
    tensors[position] = torch.ones(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=sentence):
        run(form, tensors)


@every_form
def test_all_wrong_arguments_are_named_at_once(form):
    tensors = [*arguments(17, 1, with_state=True)]
    tensors[0], tensors[3] = torch.ones(5), torch.ones(2, 17, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"decay_rate must.*; value must.*int64"):
        run(form, tensors)
