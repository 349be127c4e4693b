"""The compiled operator, held to the four forms, to the formula and to `transformers`.

Every test of numbers runs on the CPU and, where there is one, on an NVIDIA GPU: the
source is the same. Without a GPU, `test_wkv_on_ptx.py` runs the instructions that it
becomes.
"""

import subprocess
import sys
from functools import partial

import pytest
import torch
from helpers.kernels import needs_compiler
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
from torch.autograd import forward_ad
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu

from rwkv_book.checkpoint import MODELS
from rwkv_book.compiled import gpu
from rwkv_book.rwkv4 import fused, kernels
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.kernels import SOURCE
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import (
    WkvState,
    empty_state,
    wkv_attention,
    wkv_chunked,
    wkv_recurrent,
    wkv_scan,
)
from tools.contents import ROOT

HALVES = [torch.bfloat16, torch.float16]
no_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs an NVIDIA GPU and a CUDA build of torch",
)
on_every_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, no_gpu])]
)
pytestmark = [needs_compiler, pytest.mark.usefixtures("poisoned_memory")]
every_cut = pytest.mark.parametrize("chunks", [None, 1, 3])


def random_arguments(seed, batch, length, channels, scale=1.0, dtype=torch.float64):
    """Seven tensors, in types that the kernel takes for keys of `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    normal = partial(torch.randn, generator=generator)
    shape, sums = (batch, channels), fused.sums_type(dtype)
    vectors = [normal(channels).exp(), normal(channels)]
    tokens = [scale * normal(batch, length, channels), normal(batch, length, channels)]
    state = [normal(shape), normal(shape).exp(), scale * normal(shape)]
    return [
        *(tensor.to(sums) for tensor in vectors),
        *(tensor.to(dtype) for tensor in tokens),
        *(tensor.to(sums) for tensor in state),
    ]


def on(device, tensors, dtype=None):
    return [tensor.to(device, dtype) for tensor in tensors]


def assert_all_near(found, wanted, tolerance):
    for one, other in zip(found, wanted, strict=True):
        assert_near(one.cpu(), other.cpu().double(), tolerance)


# --- the numbers --------------------------------------------------------------


@on_every_device
@every_cut
@pytest.mark.parametrize("scale", [1, 30, 300])
@pytest.mark.parametrize("length", [1, 31, 32, 33])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_fused_equals_the_formula_and_has_the_gradients_of_attention(
    device, chunks, scale, length, with_state, dtype
):
    tensors = on(device, arguments(length, scale, with_state), dtype)
    form = partial(wkv_fused, chunks=chunks)
    results, gradients = run_with_gradients_on(device, form, tensors)
    wanted, wanted_gradients = expected(length, scale, with_state)
    assert all(tensor.dtype == dtype for tensor in (*results, *gradients))
    assert_all_near(results[:2], wanted[:2], TOLERANCE[dtype])
    assert_all_near(results[2:], wanted[2:], TOLERANCE_OF_LOGS[dtype])
    assert_all_near(gradients, wanted_gradients, TOLERANCE[dtype])


def run_with_gradients_on(device, form, tensors):
    """`run_with_gradients`, whose random weights are drawn on the CPU, on a device."""

    def there_and_back(*arguments):
        out, state = form(*on_state(device, arguments))
        return out.cpu(), WkvState(*(field.cpu() for field in state))

    return run_with_gradients(there_and_back, [tensor.cpu() for tensor in tensors])


def on_state(device, arguments):
    *tensors, state = arguments
    return *on(device, tensors), state and WkvState(*on(device, state))


@on_every_device
@pytest.mark.parametrize("chunks", [None, 5])
@pytest.mark.parametrize(
    ("length", "channels"), [(257, 5), (1000, 17), (1000, 64), (65_536, 3)]
)
def test_long_texts_equal_the_scan(device, length, channels, chunks):
    tensors = random_arguments(0, 1, length, channels)
    form = partial(wkv_fused, chunks=chunks)
    results, gradients = run_with_gradients_on(device, form, tensors)
    wanted, wanted_gradients = run_with_gradients(wkv_scan, tensors)
    assert_all_near(results, wanted, 1e-10)
    assert_all_near(gradients, wanted_gradients, 1e-10)
    single = [tensor.float() for tensor in tensors]
    results, gradients = run_with_gradients_on(device, form, single)
    assert_all_near(results, wanted, 1e-4)
    assert_all_near(gradients, wanted_gradients, 1e-4)


@on_every_device
def test_a_thousand_random_shapes_equal_the_scan(device):
    for seed in range(1000):
        draw = torch.Generator().manual_seed(seed)

        def below(limit, draw=draw):
            return int(torch.randint(limit, (), generator=draw))

        shape = (1 + below(3), 1 + below(70), 1 + below(40))
        dtype = [torch.float64, torch.float32][below(2)]
        tensors = random_arguments(seed, *shape, scale=[1, 30][below(2)], dtype=dtype)
        tensors = tensors[: [4, 7][below(2)]]
        form = partial(wkv_fused, chunks=[None, 1 + below(6)][below(2)])
        results, gradients = run_with_gradients_on(device, form, tensors)
        exact = [tensor.double() for tensor in tensors]
        wanted, wanted_gradients = run_with_gradients(wkv_scan, exact)
        assert_all_near(results, wanted, TOLERANCE[dtype])
        assert_all_near(gradients, wanted_gradients, TOLERANCE[dtype])


@on_every_device
@pytest.mark.parametrize("length", [1, 16, 21])
@pytest.mark.parametrize("chunks", [1, 2])
def test_gradients_of_every_field_are_those_of_finite_differences(
    device, length, chunks
):
    """Of log_scale too, which a loss of the sums themselves never sees."""
    tensors = on(device, random_arguments(1, 1, length, 2))
    tensors = [tensor.requires_grad_() for tensor in tensors]

    def fields(decay_rate, bonus, key, value, *state):
        out, after = wkv_fused(decay_rate, bonus, key, value, WkvState(*state), chunks)
        return out, *after

    assert torch.autograd.gradcheck(fields, tensors)


@on_every_device
@every_cut
@pytest.mark.parametrize("length", [1, 33, 64])
def test_the_fields_of_the_state_and_their_gradients_are_those_of_chunked(
    device, chunks, length
):
    def fields(form):
        tensors = [
            t.clone().requires_grad_() for t in random_arguments(2, 2, length, 3)
        ]
        tensors = on(device, tensors)
        _, after = form(*tensors[:4], WkvState(*tensors[4:]))
        weights = (1.0, -2.0, 3.0)
        total = sum(w * f.square().sum() for w, f in zip(weights, after, strict=True))
        grads = torch.autograd.grad(
            total, tensors, allow_unused=True, materialize_grads=True
        )
        return [*after, *grads]

    found = fields(partial(wkv_fused, chunks=chunks))
    assert_all_near([f.detach() for f in found], fields(wkv_chunked), 1e-10)


@on_every_device
@every_cut
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("length", [1, 33, 257])
def test_half_types_are_rounded_once(device, chunks, dtype, length):
    """What is stored in 16 bits is off by half of its last bit; sums are not."""
    tensors = random_arguments(3, 2, length, 21, dtype=dtype)
    grad = torch.randn(2, length, 21, generator=torch.Generator().manual_seed(4))
    grad = grad.to(dtype)

    def everything(form, tensors, grad):
        tensors = [tensor.clone().requires_grad_() for tensor in tensors]
        out, after = form(*tensors[:4], WkvState(*tensors[4:]))
        by = torch.autograd.grad(out, tensors, grad)
        return [t.detach().cpu() for t in (out, *by[2:4])], [
            t.detach().cpu() for t in (*after, *by[:2], *by[4:])
        ]

    form = partial(wkv_fused, chunks=chunks)
    stored, sums = everything(form, on(device, tensors), grad.to(device))
    exact = [tensor.double() for tensor in tensors]
    wanted_stored, wanted_sums = everything(wkv_scan, exact, grad.double())
    half_a_bit = torch.finfo(dtype).eps / 2
    for found, wanted in zip(stored, wanted_stored, strict=True):
        assert found.dtype == dtype
        bound = 1.01 * half_a_bit * wanted.abs() + torch.finfo(dtype).tiny / 1000 + 1e-5
        assert ((found.double() - wanted).abs() <= bound).all()
    assert all(tensor.dtype == torch.float32 for tensor in sums)
    assert_all_near(sums, wanted_sums, 1e-5)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_number_of_16_bits_is_stored_as_torch_stores_it(dtype):
    """With one token the output is its value, so each of them passes through.

    Infinity is no value: infinity times a weight of 0 is not a number.
    """
    every = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(dtype)
    value = every[every.isfinite()].view(1, 1, -1)
    zero = torch.zeros(value.shape[2])
    out, _ = wkv_fused(zero, zero, torch.zeros_like(value), value)
    assert torch.equal(out, value)
    # numbers between them: `num` of the state passes through without a weight
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(-40, 40, (10_000,), generator=generator)
    wide = torch.randn(1, 10_000, generator=generator) * sizes.float().exp2()
    wide = torch.cat([wide, torch.tensor([[65519.9, 65520, 1e38, 3e-8, 2.9e-8]])], 1)
    state = WkvState(wide, torch.ones_like(wide), torch.zeros_like(wide))
    low = torch.full((1, 1, wide.shape[1]), -1e4).to(dtype)
    zero = torch.zeros(wide.shape[1])
    out, _ = wkv_fused(zero, zero, low, torch.zeros_like(low), state)
    assert torch.equal(out[:, 0], wide.to(dtype))


@on_every_device
@every_cut
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("large", LARGE)
def test_nothing_overflows(device, chunks, dtype, large):
    tensors = [tensor.to(dtype) for tensor in with_large(large)]
    form = partial(wkv_fused, chunks=chunks)
    results, gradients = run_with_gradients_on(device, form, tensors)
    exact = [tensor.double() for tensor in tensors]
    wanted, wanted_gradients = run_with_gradients(wkv_attention, exact)
    # neighbours in float32 are 1e-3 apart at 1e4: that much a log may be off
    tolerance = 1e-10 if dtype == torch.float64 else 1e-2
    assert_all_near(results, wanted, tolerance)
    assert_all_near(gradients, wanted_gradients, tolerance)


@on_every_device
@every_cut
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("scale", [1, 300])
@pytest.mark.parametrize("length", [1, 2, 17, 64])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_rate_of_infinity_leaves_the_previous_token_and_the_newest(
    device, chunks, length, scale, with_state, dtype
):
    tensors, results, gradients = without_a_past(length, scale, with_state)
    tensors = on(device, tensors, dtype)
    form = partial(wkv_fused, chunks=chunks)
    found, by = run_with_gradients_on(device, form, tensors)
    assert_all_near([*found, *by], [*results, *gradients], TOLERANCE[dtype])


@on_every_device
@every_cut
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_rate_of_infinity_is_one_beside_16_bits_too(device, chunks, dtype):
    decay_rate, *rest = on(device, random_arguments(14, 2, 40, 5, dtype=dtype)[:4])
    decay_rate[:] = torch.inf
    out, after = wkv_fused(decay_rate.to(dtype), *rest, chunks=chunks)
    wanted, _ = wkv_recurrent(decay_rate, *(tensor.float() for tensor in rest))
    assert torch.equal(out, wanted.to(dtype))
    assert torch.equal(after.average(), rest[2][:, -1].float())


@on_every_device
@every_cut
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_the_smallest_and_the_largest_rates_are_only_rates(device, chunks, dtype):
    """0, a denormal number and the largest one."""
    limits = torch.finfo(dtype)
    tensors = [tensor.to(dtype) for tensor in arguments(33, 1, with_state=True)]
    tensors[0] = torch.tensor([0, limits.tiny / 8, limits.max], dtype=dtype)
    form = partial(wkv_fused, chunks=chunks)
    results, gradients = run_with_gradients_on(device, form, tensors)
    wanted, by = run_with_gradients(wkv_recurrent, [t.double() for t in tensors])
    assert_all_near([*results, *gradients], [*wanted, *by], TOLERANCE[dtype])


@on_every_device
@every_cut
@pytest.mark.parametrize(("first", "with_state"), [(0, True), (32, False)])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_key_of_minus_infinity_counts_for_nothing(
    device, chunks, first, with_state, dtype
):
    """Wherever there is something to average: also where a chunk begins, or is all."""
    tensors = [tensor.to(dtype) for tensor in arguments(80, 1, with_state)]
    tensors[2] = tensors[2].clone()
    tensors[2][:, first, 0] = tensors[2][:, first : first + 32, 1] = -torch.inf
    form = partial(wkv_fused, chunks=chunks)
    results, gradients = run_with_gradients_on(device, form, tensors)
    wanted, by = run_with_gradients(wkv_recurrent, [t.double() for t in tensors])
    assert_all_near([*results, *gradients], [*wanted, *by], TOLERANCE[dtype])


@on_every_device
@every_cut
def test_a_rate_that_is_no_number_is_heard_of(device, chunks):
    _, *rest = on(device, arguments(64, 1, with_state=False))
    decay_rate = torch.tensor([0.5, torch.nan, 1], device=device).double()
    out, after = wkv_fused(decay_rate, *rest, chunks=chunks)
    assert out[:, 2:, 1].isnan().all() and after.average()[:, 1].isnan().all()
    assert out[..., ::2].isfinite().all() and after.average()[:, ::2].isfinite().all()


@on_every_device
@pytest.mark.parametrize("with_state", [False, True])
def test_fused_equals_the_loop_of_transformers(device, with_state):
    decay_rate, bonus, key, value, *state = random_arguments(
        5, 2, 70, 19, scale=3, dtype=torch.float32
    )
    state = state if with_state else None
    wanted, wanted_state = rwkv_linear_attention_cpu(
        decay_rate.log(), bonus, key, value, state, return_state=True
    )
    state = state and WkvState(*state)
    arguments = on_state(device, (decay_rate, bonus, key, value, state))
    out, after = wkv_fused(*arguments)
    assert_all_near([out, *after], [wanted, *wanted_state], 1e-5)


@on_every_device
@pytest.mark.parametrize("cut", [1, 16, 29, 32])
def test_split_anywhere_equals_whole(device, cut):
    decay_rate, bonus, key, value, *_ = on(device, random_arguments(6, 2, 33, 17))
    first, between = wkv_fused(decay_rate, bonus, key[:, :cut], value[:, :cut])
    second, after = wkv_fused(decay_rate, bonus, key[:, cut:], value[:, cut:], between)
    out, wanted = wkv_fused(decay_rate, bonus, key, value)
    assert_all_near([torch.cat([first, second], 1), *after], [out, *wanted], 1e-12)


@on_every_device
def test_no_state_is_the_empty_state(device):
    tensors = on(device, arguments(17, 30, with_state=False))
    without, after = wkv_fused(*tensors)
    with_empty, after_empty = wkv_fused(*tensors, empty_state(tensors[2][:, 0]))
    assert torch.equal(without, with_empty)
    assert all(torch.equal(x, y) for x, y in zip(after, after_empty, strict=True))


@on_every_device
@every_cut
def test_a_token_changes_nothing_before_it(device, chunks):
    decay_rate, bonus, key, value = on(device, arguments(64, 1, with_state=False))
    out, _ = wkv_fused(decay_rate, bonus, key, value, chunks=chunks)
    key, value = key.clone(), value.clone()
    key[:, 39] += 5
    value[:, 39] = 100
    changed, _ = wkv_fused(decay_rate, bonus, key, value, chunks=chunks)
    assert torch.equal(out[:, :39], changed[:, :39])
    assert (out[:, 39] != changed[:, 39]).all()


@on_every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_call_gives_the_same_bits_on_any_number_of_threads(device, dtype):
    tensors = on(device, random_arguments(7, 3, 200, 70, dtype=dtype))
    form = partial(wkv_fused, chunks=4)
    workers, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 3):
            torch.set_num_threads(threads)
            results, gradients = run_with_gradients_on(device, form, tensors)
            found.append([*results, *gradients])
    finally:
        torch.set_num_threads(workers)
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


@on_every_device
@pytest.mark.parametrize("chunks", [0, 1, 4, 63, 10**9])
def test_chunks_are_whole_tiles_and_none_is_empty(device, chunks):
    count, tokens = kernels.cut(torch.empty(2, 1000, 16, device=device), chunks)
    assert tokens % kernels.tile("wkv.cu") == 0
    assert (count - 1) * tokens < 1000 <= count * tokens
    assert count == min(chunks, 63) or chunks == 0


@pytest.mark.parametrize(
    ("at_once", "chunks"), [(0, 1), (32, 1), (127, 1), (128, 4), (10**9, 75)]
)
def test_a_machine_that_can_work_on_many_sums_gets_many_chunks(at_once, chunks):
    assert kernels.enough_chunks(32, 10_000, at_once, 4) == chunks


@pytest.mark.parametrize(("sums", "chunks"), [(768, 48), (2048, 24), (3072, 1)])
def test_a_gpu_cuts_only_what_has_too_few_channels_for_one_pass(sums, chunks):
    fewest = kernels.BACKENDS["cuda"].FEWEST_CHUNKS
    assert kernels.enough_chunks(sums, 4096, 132 * 384, fewest) == chunks


# --- arguments ----------------------------------------------------------------


@on_every_device
def test_the_arguments_are_left_as_they_were(device):
    tensors = on(device, arguments(17, 30, with_state=True))
    run_with_gradients_on(device, wkv_fused, tensors)
    for tensor, before in zip(tensors, arguments(17, 30, with_state=True), strict=True):
        assert torch.equal(tensor.cpu(), before)


@on_every_device
def test_views_of_any_strides_are_read_right(device):
    tensors = on(device, random_arguments(8, 2, 40, 6))
    wanted, wanted_gradients = run_with_gradients_on(device, wkv_fused, tensors)

    def strided(tensor):
        """The same numbers, two apart, in an order from the last axis to the first."""
        reverse = tensor.permute(*reversed(range(tensor.ndim)))
        padded = torch.stack([reverse, torch.full_like(reverse, torch.nan)], dim=-1)
        view = padded[..., 0].permute(*reversed(range(tensor.ndim)))
        assert not view.is_contiguous() and torch.equal(view, tensor)
        return view

    def of_views(decay_rate, bonus, key, value, state):
        tensors = map(strided, (decay_rate, bonus, key, value))
        out, after = wkv_fused(*tensors, WkvState(*map(strided, state)))
        return strided(out), after

    results, gradients = run_with_gradients_on(device, of_views, tensors)
    assert all(map(torch.equal, results, wanted))
    assert all(map(torch.equal, gradients, wanted_gradients))


@on_every_device
def test_a_gradient_that_is_one_number_everywhere_is_read_right(device):
    tensors = on(device, random_arguments(9, 2, 20, 5)[:4])
    tensors = [tensor.requires_grad_() for tensor in tensors]
    by_sum = torch.autograd.grad(wkv_fused(*tensors)[0].sum(), tensors)
    ones = torch.ones(2, 20, 5, dtype=torch.float64, device=device)
    by_ones = torch.autograd.grad(wkv_fused(*tensors)[0], tensors, ones)
    assert all(map(torch.equal, by_sum, by_ones))


@on_every_device
def test_gradients_flow_from_the_output_alone_and_from_the_state_alone(device):
    tensors = on(device, random_arguments(10, 2, 20, 5))
    tensors = [tensor.requires_grad_() for tensor in tensors]
    for part in (lambda out, _: out, lambda _, after: after.average()):

        def loss(form, part=part):
            out = part(*form(*tensors[:4], WkvState(*tensors[4:])))
            return torch.autograd.grad(
                out.square().sum(), tensors, allow_unused=True, materialize_grads=True
            )

        assert_all_near(loss(wkv_fused), loss(wkv_chunked), 1e-10)


def test_small_vectors_may_be_in_16_bits_and_are_widened():
    tensors = random_arguments(11, 1, 9, 4, dtype=torch.bfloat16)
    tensors = [tensor.bfloat16() for tensor in tensors]
    out, after = wkv_fused(*tensors[:4], WkvState(*tensors[4:]))
    assert out.dtype == torch.bfloat16
    assert all(field.dtype == torch.float32 for field in after)
    exact = [tensor.double() for tensor in tensors]
    wanted, _ = wkv_scan(*exact[:4], WkvState(*exact[4:]))
    assert_near(out, wanted, torch.finfo(torch.bfloat16).eps)


@pytest.mark.parametrize(
    ("position", "wrong", "sentence"),
    [
        (0, torch.ones(4), r"decay_rate must be \(3,\), got \(4,\)"),
        (0, torch.ones(3).double(), r"decay_rate must be torch.float32 here, got .*64"),
        (1, torch.ones(3, device="meta"), r"bonus must be on cpu, got meta"),
        (2, torch.ones(2, 0, 3), r"at least one token, got \(2, 0, 3\)"),
        (2, torch.ones(2, 17, 3, device="meta"), r"key must be on a CPU or a CUDA dev"),
        (2, torch.ones(2, 17, 3).to(torch.float8_e5m2), r"key must be one of float32"),
        (2, torch.ones(2, 17, 3).bfloat16(), r"value must be torch.bfloat16 as key is"),
        (3, torch.ones(2, 16, 3), r"value must be \(2, 17, 3\), got \(2, 16, 3\)"),
        (3, torch.ones(2, 17, 3, dtype=torch.int64), r"value must be floating point"),
        (4, torch.ones(1, 3), r"state\.num must be \(2, 3\), got \(1, 3\)"),
        (6, torch.ones(2, 3).double(), r"state\.log_scale must be torch.float32 here"),
        (5, torch.ones(2, 3, device="meta"), r"state\.den must be on cpu, got meta"),
    ],
)
def test_a_wrong_argument_is_named(position, wrong, sentence):
    tensors = [tensor.float() for tensor in arguments(17, 1, with_state=True)]
    tensors[position] = wrong
    with pytest.raises(ValueError, match=sentence):
        run(wkv_fused, tensors)


def test_all_wrong_arguments_are_named_at_once():
    tensors = [tensor.float() for tensor in arguments(17, 1, with_state=True)]
    tensors[1], tensors[3] = tensors[1].double(), tensors[3].half()
    with pytest.raises(ValueError, match=r"value must be.*; bonus must be"):
        run(wkv_fused, tensors)


def test_a_number_of_chunks_below_one_is_refused():
    with pytest.raises(ValueError, match="chunks must be at least 1, got 0"):
        wkv_fused(*arguments(17, 1, with_state=False), chunks=0)


def test_more_tokens_than_the_sums_can_count_are_refused():
    """A float stops at 2^24, where adding 1 changes nothing."""
    many = torch.zeros(1, 1, 1).expand(1, 2**24 + 1, 1)
    with pytest.raises(ValueError, match=r"most 16777216 tokens.*hand the state on"):
        wkv_fused(torch.ones(1), torch.ones(1), many, many)


# --- PyTorch ------------------------------------------------------------------


@on_every_device
def test_pytorch_finds_nothing_wrong_with_the_operators(device):
    decay_rate, bonus, key, value, *state = on(
        device, random_arguments(12, 2, 20, 5, dtype=torch.float32)
    )
    state = torch.stack([*state, torch.zeros_like(state[0])], dim=1)
    tensors = [decay_rate, bonus, key, value, state]
    forward = [tensor.requires_grad_() for tensor in tensors]
    opcheck(kernels.forward, (*forward, 0, True, "wkv.cu"))
    opcheck(kernels.forward, (*[t.detach() for t in forward], 2, False, "wkv.cu"))
    _, after, checkpoints = kernels.forward(*forward, 0, True, "wkv.cu")
    saved = [t.detach() for t in (*forward, after, checkpoints)]
    ones = (torch.ones_like(saved[2]), torch.ones_like(saved[5]))
    opcheck(kernels.backward, (*saved, *ones, 2, "wkv.cu"))


def total_of(form, device):
    """A number of all that a form returns, as a function of its seven tensors."""

    def total(*tensors):
        out, after = form(*tensors[:4], WkvState(*tensors[4:]))
        wave = torch.arange(out[0].numel(), device=device).view_as(out[0]).sin()
        return (wave * out).square().sum() + sum(x.square().sum() for x in after)

    return total


def gradient_by_all(form, device):
    return torch.func.grad(total_of(form, device), tuple(range(7)))


@on_every_device
@every_cut
def test_functional_gradients_are_those_of_chunked(device, chunks):
    tensors = on(device, random_arguments(15, 2, 20, 5))
    form = partial(wkv_fused, chunks=chunks)
    found = gradient_by_all(form, device)(*tensors)
    assert_all_near(found, gradient_by_all(wkv_chunked, device)(*tensors), 1e-10)
    jacobians = [
        torch.func.jacrev(lambda key, f=f: f(*tensors[:2], key, tensors[3])[0])
        for f in (form, wkv_chunked)
    ]
    found, wanted = (jacobian(tensors[2]) for jacobian in jacobians)
    assert_all_near([found], [wanted], 1e-10)


SOME_BATCHED = [(0,) * 7, (None, None, 0, 1, None, None, None), (0, None, 2, *4 * [-1])]


@on_every_device
@every_cut
@pytest.mark.parametrize("in_dims", SOME_BATCHED, ids=str)
def test_vmap_over_the_operator_and_its_gradients_is_that_over_chunked(
    device, chunks, in_dims
):
    """Also where a gradient is taken through vmap, and where none is expected."""
    sets = [on(device, random_arguments(seed, 2, 20, 5)) for seed in range(3)]
    tensors = [
        sets[0][i] if dim is None else torch.stack([x[i] for x in sets], dim)
        for i, dim in enumerate(in_dims)
    ]
    found = {}
    for form in (partial(wkv_fused, chunks=chunks), wkv_chunked):
        results = torch.vmap(total_of(form, device), in_dims)(*tensors)
        within = torch.vmap(gradient_by_all(form, device), in_dims)(*tensors)
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        outside = torch.vmap(total_of(form, device), in_dims)(*leaves)
        through = torch.autograd.grad(outside.sum(), leaves)
        found[form] = [results, *within, *through]
    assert_all_near(*found.values(), 1e-10)


@on_every_device
def test_gradients_may_be_asked_for_many_at_once(device):
    tensors = on(device, random_arguments(16, 2, 20, 5))
    key = tensors[2].requires_grad_()
    many = torch.randn(4, 2, 20, 5, device=device, dtype=torch.float64)
    out, _ = wkv_fused(*tensors[:4])
    (found,) = torch.autograd.grad(
        out, key, many, is_grads_batched=True, retain_graph=True
    )
    wanted = [torch.autograd.grad(out, key, one, retain_graph=True)[0] for one in many]
    assert_all_near(found, wanted, 1e-12)


@on_every_device
@pytest.mark.parametrize("position", range(7))
def test_forward_mode_differentiation_is_refused(device, position):
    """PyTorch alone would drop the tangent, and say that the derivative is 0."""
    tensors = on(device, random_arguments(17, 2, 20, 5))
    total, tangent = total_of(wkv_fused, device), torch.ones_like(tensors[position])

    def of_one(x):
        return total(*tensors[:position], x, *tensors[position + 1 :])

    refused = pytest.raises(NotImplementedError, match=r"jvp.*use wkv=wkv_chunked")
    with refused:
        torch.func.jvp(of_one, (tensors[position],), (tangent,))
    with refused:  # forward over reverse
        torch.func.hessian(of_one)(tensors[position])
    for needs_gradient in (False, True):
        x = tensors[position].clone().requires_grad_(needs_gradient)
        with forward_ad.dual_level(), refused:
            of_one(forward_ad.make_dual(x, tangent))


@on_every_device
def test_forward_mode_differentiation_by_a_gradient_is_refused(device):
    tensors = on(device, random_arguments(18, 2, 20, 5))
    key = tensors[2].requires_grad_()
    out, _ = wkv_fused(*tensors[:4])
    refused = pytest.raises(NotImplementedError, match=r"jvp.*use wkv=wkv_chunked")
    with forward_ad.dual_level(), refused:
        ones = torch.ones_like(out)
        torch.autograd.grad(out, key, forward_ad.make_dual(ones, ones))


@on_every_device
@pytest.mark.parametrize("position", range(7))
def test_second_derivatives_are_refused_and_first_ones_are_right(device, position):
    tensors = on(device, random_arguments(19, 2, 20, 5))
    x = tensors[position].requires_grad_()
    found = {}
    for form in (wkv_fused, wkv_chunked):
        total = total_of(form, device)(*tensors)
        (found[form],) = torch.autograd.grad(total, x, create_graph=True)
    assert_all_near([found[wkv_fused].detach()], [found[wkv_chunked].detach()], 1e-10)
    with pytest.raises(NotImplementedError, match=r"second.*use wkv=wkv_chunked"):
        found[wkv_fused].square().sum().backward()


def models(device="cpu"):
    """The same small network with two forms of the operator."""
    torch.manual_seed(0)
    one = RWKV(Config(50, 3, 40))
    for parameter in one.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    other = RWKV(Config(50, 3, 40), wkv=wkv_fused)
    other.load_state_dict(one.state_dict())
    return one.to(device), other.to(device)


def logits_and_gradients(model, tokens):
    """Of a text read in two parts, so that gradients pass through a state."""
    model.zero_grad()
    first, state = model(tokens[:, :23])
    second, _ = model(tokens[:, 23:], state)
    logits = torch.cat([first, second], dim=1)
    logits.square().mean().backward()
    return [logits.detach(), *(parameter.grad for parameter in model.parameters())]


@pytest.fixture
def tokens():
    return torch.randint(50, (2, 60), generator=torch.Generator().manual_seed(0))


@on_every_device
def test_a_model_with_it_is_the_same_model(device, tokens):
    chunked, fused = models(device)
    tokens = tokens.to(device)
    found = logits_and_gradients(fused, tokens)
    assert_all_near(found, logits_and_gradients(chunked, tokens), 1e-4)


@on_every_device
def test_a_model_without_parameters_of_its_own_has_the_same_gradients(device, tokens):
    """`functional_call`, which hands them in."""
    tokens, found = tokens.to(device), []
    for model in models(device):
        parameters = {name: p.detach() for name, p in model.named_parameters()}

        def loss(parameters, model=model):
            logits, _ = torch.func.functional_call(model, parameters, (tokens,))
            return logits.square().mean()

        found.append(torch.func.grad(loss)(parameters).values())
    assert_all_near(*found, 1e-4)


@on_every_device
def test_compiled_code_gives_the_same_at_every_length(device):
    """In one graph, whose length is a symbol."""

    def twice(decay_rate, bonus, key, value):
        out, state = wkv_fused(decay_rate, bonus, key, value)
        return wkv_fused(decay_rate, bonus, out, value, state)

    compiled = torch.compile(twice, backend="aot_eager", fullgraph=True, dynamic=True)
    for length in (20, 33):
        tensors = on(device, random_arguments(13, 2, length, 6)[:4])
        tensors = [tensor.requires_grad_() for tensor in tensors]
        found, wanted = [], []
        for form, collected in ((compiled, found), (twice, wanted)):
            out, after = form(*tensors)
            total = out.sum() + sum(field.sum() for field in after)
            collected += [out, *after, *torch.autograd.grad(total, tensors)]
        assert all(map(torch.equal, found, wanted))


@on_every_device
def test_a_checkpointed_model_is_the_same_model(device, tokens):
    _, fused = models(device)
    tokens = tokens.to(device)
    wanted = logits_and_gradients(fused, tokens)
    blocks = fused.blocks
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    assert_all_near(logits_and_gradients(fused, tokens), wanted, 1e-6)


@on_every_device
def test_a_model_under_autocast_is_near_the_same_model(device, tokens):
    chunked, fused = models(device)
    tokens = tokens.to(device)
    with torch.autocast(device, torch.bfloat16):
        found = logits_and_gradients(fused, tokens)
        wanted = logits_and_gradients(chunked, tokens)
    assert found[0].dtype == torch.bfloat16
    assert_all_near(found, wanted, 0.02)


def test_a_model_in_distributed_training_has_the_same_gradients(tokens, tmp_path):
    _, fused = models()
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1
    )
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(fused)
        wrapped(tokens)[0].square().mean().backward()
    finally:
        torch.distributed.destroy_process_group()
    _, alone = models()
    alone(tokens)[0].square().mean().backward()
    found, wanted = ([p.grad for p in m.parameters()] for m in (fused, alone))
    assert_all_near(found, wanted, 1e-6)


class Checkpoints(TorchDispatchMode):
    """Within it, note how many states `forward` keeps for the backward pass."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.rwkv_book.wkv.default:
            self.kept = result[2].shape[1]
        return result


def test_checkpoints_are_kept_only_when_gradients_are_wanted():
    tensors = [t.clone() for t in arguments(17, 1, with_state=False)]
    with Checkpoints() as without:
        wkv_fused(*tensors)
    tensors[1].requires_grad_()
    with Checkpoints() as wanted:
        wkv_fused(*tensors)
    with Checkpoints() as unwanted, torch.no_grad():
        wkv_fused(*tensors)
    assert (without.kept, wanted.kept, unwanted.kept) == (0, 2, 0)


# --- from a source to kernels -------------------------------------------------


FOR_GPUS = [("bfloat16", "sm_90"), ("double", "sm_90")]  # more in test_registers.py


@pytest.mark.parametrize(("stored", "architecture"), FOR_GPUS)
def test_the_source_compiles_for_a_gpu(tmp_path, monkeypatch, stored, architecture):
    pytest.importorskip("cuda.core", reason="needs the extra `cuda`, not for macOS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = gpu.compile_for(SOURCE, stored, architecture)
    assert code.startswith(b"\x7fELF")
    assert all(name.encode() + b"\0" in code for name in SOURCE.parameters)


def test_every_kernel_is_known_by_its_parameters():
    assert SOURCE.parameters == {
        "sum_chunks": 8,
        "forward": 13,
        "sum_adjoints": 11,
        "backward": 17,
        "forward_in_one_pass": 13,
        "backward_in_one_pass": 17,
    }


def test_importing_compiles_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    subprocess.run([sys.executable, "-c", "import rwkv_book.rwkv4.fused"], check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["generations/rwkv4", "comparison/rwkv"])
def test_all_tiles_of_the_shipped_models_are_even(name):
    """As one_pass.cu calls it: their tokens count on the scale of a tile's last key."""
    near, near_bonus = SOURCE.number("NEAR"), SOURCE.number("NEAR_BONUS")
    operands = []

    def listening(decay_rate, bonus, key, value, state=None):
        operands.append((bonus, key))
        return wkv_chunked(decay_rate, bonus, key, value, state)

    network = RWKV.load(MODELS / f"{name}.safetensors", wkv=listening)
    text = (ROOT / "CONTRIBUTING.md").read_bytes()[:2048]
    with torch.no_grad():
        network(torch.tensor([list(text)]))
    assert len(operands) == network.config.layers
    for bonus, key in operands:
        tiles = key.unflatten(1, (-1, kernels.tile("wkv.cu")))
        assert (tiles - tiles[:, :, -1:]).abs().max() <= near
        assert bonus.abs().max() <= near_bonus
