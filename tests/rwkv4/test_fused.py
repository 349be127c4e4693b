"""The compiled operator, held to the four forms, to the formula and to `transformers`.

Every test of numbers runs on the CPU and, where there is one, on an NVIDIA GPU: the
source is the same. Without a GPU the tests compile it for four kinds of them.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.wkv import (
    TOLERANCE,
    TOLERANCE_OF_LOGS,
    arguments,
    assert_near,
    expected,
    run,
    run_with_gradients,
)
from torch.library import opcheck
from torch.utils.checkpoint import checkpoint
from transformers.models.rwkv.modeling_rwkv import rwkv_linear_attention_cpu

from rwkv_book.compiled import cpu, gpu
from rwkv_book.compiled.cache import SOURCE
from rwkv_book.rwkv4 import fused
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import (
    WkvState,
    empty_state,
    wkv_attention,
    wkv_chunked,
    wkv_scan,
)

HALVES = [torch.bfloat16, torch.float16]
ARCHITECTURES = ["sm_75", "sm_80", "sm_90", "sm_120"]  # T4, A100, H100, RTX 50
no_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs an NVIDIA GPU and a CUDA build of torch",
)
on_every_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, no_gpu])]
)
# In CI a missing compiler is an error, not a reason to test less.
pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or os.environ.get("CI")),
    reason="there is no g++ (on Debian: apt-get install g++)",
)
every_cut = pytest.mark.parametrize("chunks", [None, 1, 3])


@pytest.fixture(autouse=True)
def poisoned_memory():
    """Memory that nobody wrote to reads as NaN, so that it can't pass for a result."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


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
@pytest.mark.parametrize("large", ["key", "bonus", "decay_rate", "log_scale"])
def test_nothing_overflows(device, chunks, dtype, large):
    signs = torch.tensor([1.0, -1.0]).repeat(17)[:33].view(1, 33, 1).expand(2, 33, 3)
    tensors = [t.clone() for t in arguments(33, 1, with_state=True)]
    if large == "key":
        tensors[2] = 1e4 * signs.clone()
    elif large == "bonus":
        tensors[1] = torch.tensor([1e4, -1e4, 0.0])
    elif large == "decay_rate":
        tensors[0] = torch.tensor([1e4, 0.0, 1e-30])
    else:
        tensors[6] = torch.tensor([[1e4, -1e4, -torch.inf]] * 2)
        tensors[4][:, 2] = tensors[5][:, 2] = 0
    tensors = [tensor.to(dtype) for tensor in tensors]
    form = partial(wkv_fused, chunks=chunks)
    results, gradients = run_with_gradients_on(device, form, tensors)
    exact = [tensor.double() for tensor in tensors]
    wanted, wanted_gradients = run_with_gradients(wkv_attention, exact)
    # neighbours in float32 are 1e-3 apart at 1e4: that much a log may be off
    tolerance = 1e-10 if dtype == torch.float64 else 1e-2
    assert_all_near(results, wanted, tolerance)
    assert_all_near(gradients, wanted_gradients, tolerance)


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
def test_a_machine_that_can_work_on_many_sums_gets_many_chunks(device, monkeypatch):
    key = torch.empty(2, 1000, 16, device=device)
    backend = fused.BACKENDS[device]
    for at_once, wanted in [(32, 1), (127, 1), (128, 4), (10**9, 63)]:
        monkeypatch.setattr(backend, "sums_at_once", lambda device, n=at_once: n)
        chunks, tokens = fused.cut(key, 0)
        assert chunks == wanted and tokens % fused.TILE == 0
        assert (chunks - 1) * tokens < 1000 <= chunks * tokens


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


# --- PyTorch ------------------------------------------------------------------


@on_every_device
def test_pytorch_finds_nothing_wrong_with_the_operators(device):
    decay_rate, bonus, key, value, *state = on(
        device, random_arguments(12, 2, 20, 5, dtype=torch.float32)
    )
    state = torch.stack([*state, torch.zeros_like(state[0])], dim=1)
    tensors = [decay_rate, bonus, key, value, state]
    forward = [tensor.requires_grad_() for tensor in tensors]
    opcheck(fused.forward, (*forward, 0, True))
    opcheck(fused.forward, (*[t.detach() for t in forward], 2, False))
    _, after, checkpoints = fused.forward(*forward, 0, True)
    saved = [t.detach() for t in (*forward, after, checkpoints)]
    ones = (torch.ones_like(saved[2]), torch.ones_like(saved[5]))
    opcheck(fused.backward, (*saved, 2, *ones))


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


def test_checkpoints_are_kept_only_when_gradients_are_wanted(monkeypatch):
    kept = []
    launch = cpu.launch

    def watch(kernel, *rest):
        kept.append(rest[-1] is not None)
        launch(kernel, *rest)

    monkeypatch.setattr(cpu, "launch", watch)
    tensors = [t.clone() for t in arguments(17, 1, with_state=False)]
    wkv_fused(*tensors)
    tensors[1].requires_grad_()
    wkv_fused(*tensors)
    with torch.no_grad():
        wkv_fused(*tensors)
    assert kept == [False, True, False]


# --- from a source to kernels -------------------------------------------------


def parameters_of_kernels():
    """{kernel: the number of its parameters} as they stand in the source."""
    text = re.sub(r"//.*", "", SOURCE.read_text("utf-8"))
    kernels = re.findall(r"^KERNEL\((\w+), ([^)]*)\)", text, re.MULTILINE)
    return {name: len(parameters.split(",")) for name, parameters in kernels}


def test_every_kernel_is_called_with_as_many_arguments_as_it_has(monkeypatch):
    """A C function can't tell, and would read what lies beside them."""
    calls, launch = {}, cpu.launch

    def watch(kernel, stored, device, rows, channels, tokens, *arguments):
        calls[kernel] = len(arguments)
        launch(kernel, stored, device, rows, channels, tokens, *arguments)

    monkeypatch.setattr(cpu, "launch", watch)
    run_with_gradients(partial(wkv_fused, chunks=2), arguments(64, 1, with_state=True))
    assert calls == parameters_of_kernels()
    assert len(calls) == 5


def test_a_tile_is_as_long_in_python_as_in_the_source():
    (tile,) = re.findall(r"constexpr int TILE = (\d+);", SOURCE.read_text("utf-8"))
    assert int(tile) == fused.TILE


def test_a_launch_on_a_gpu_asks_for_a_thread_for_every_sum(monkeypatch):
    """What cuda.core would be told, without a GPU to tell it to."""
    core = pytest.importorskip("cuda.core", reason="needs the extra `cuda`")
    launches = []
    stand_in = SimpleNamespace(
        LaunchConfig=core.LaunchConfig,
        Stream=SimpleNamespace(from_handle=lambda handle: handle),
        launch=lambda *arguments: launches.append(arguments),
    )
    kernels = SimpleNamespace(get_kernel=lambda name: name)
    monkeypatch.setattr(gpu, "load", lambda stored, architecture: kernels)
    monkeypatch.setattr(gpu, "cuda_packages", lambda: (stand_in, None))
    monkeypatch.setattr(torch.cuda, "device", lambda _: torch.no_grad())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    stream = SimpleNamespace(cuda_stream=7)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    numbers = torch.zeros(3)
    gpu.launch("forward", "float", "cuda", 6, 33, 64, 5, numbers, None)
    ((stream, config, kernel, *words),) = launches
    assert (stream, kernel) == (7, "forward")
    assert words == [6, 5, numbers.data_ptr(), 0]
    assert all(type(word) is int for word in words)
    threads = config.grid[0] * config.block[0]
    assert 6 * 33 <= threads < 6 * 33 + config.block[0]


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A folder of caches with nothing in it, not even itself."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "rwkv-book" / "fused"


def build(stored="float"):
    """Compile and load, whatever this process has loaded before."""
    return cpu.library.__wrapped__(stored)


FOR_GPUS = [("bfloat16", architecture) for architecture in ARCHITECTURES]
FOR_GPUS += [("float", "sm_90"), ("float16", "sm_90")]


@pytest.mark.parametrize(("stored", "architecture"), FOR_GPUS)
def test_the_source_compiles_for_a_gpu(empty_cache, stored, architecture):
    pytest.importorskip("cuda.core", reason="needs the extra `cuda`, not for macOS")
    code = gpu.compile_for(stored, architecture).read_bytes()
    assert code.startswith(b"\x7fELF")
    assert all(name.encode() + b"\0" in code for name in parameters_of_kernels())


def test_what_nvrtc_complains_about_is_passed_on(empty_cache):
    pytest.importorskip("cuda.core", reason="needs the extra `cuda`, not for macOS")
    with pytest.raises(RuntimeError, match=r"wkv_chunked(.|\n)*nonsense"):
        gpu.compile_for("nonsense", "sm_90")
    assert list(empty_cache.iterdir()) == []


def test_without_cuda_core_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    gpu.cuda_packages.cache_clear()
    with pytest.raises(RuntimeError, match=r"'rwkv-book\[cuda\]', or use wkv=wkv_chu"):
        gpu.cuda_packages()


def test_a_library_is_compiled_once_and_found_again(empty_cache, monkeypatch):
    build()
    (path,) = empty_cache.iterdir()
    written = path.stat().st_mtime_ns
    build()
    assert list(empty_cache.iterdir()) == [path]
    assert path.stat().st_mtime_ns == written
    build("bfloat16")
    monkeypatch.setattr(cpu, "FLAGS", [*cpu.FLAGS, "-O1"])
    build()
    assert len(list(empty_cache.iterdir())) == 3


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "Zwischen speicher 缓存 'é\""))
    build()


def test_without_a_compiler_the_error_says_what_to_do(empty_cache, monkeypatch):
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(RuntimeError, match=r"no g\+\+.*wkv=wkv_chunked"):
        build()


def a_compiler(folder, monkeypatch, script):
    """Put a program called g++ before all others."""
    folder.mkdir()
    (folder / "g++").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_what_a_compiler_complains_about_is_passed_on(
    empty_cache, tmp_path, monkeypatch
):
    a_compiler(tmp_path / "bin", monkeypatch, "echo no such flag >&2; exit 1")
    with pytest.raises(RuntimeError, match=r"wkv=wkv_chunked(.|\n)*no such flag"):
        build()


@pytest.mark.parametrize("blocked", ["caches", "caches/rwkv-book/fused"])
def test_a_cache_that_cannot_be_written_is_named(tmp_path, empty_cache, blocked):
    """A file where a folder should be: refused to everybody, to root too."""
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("in the way")
    with pytest.raises(RuntimeError, match=r"can't be kept in .*XDG_CACHE_HOME.*chunk"):
        build()


def test_what_cannot_be_loaded_is_named(empty_cache, tmp_path, monkeypatch):
    script = """
    while [ $# -gt 0 ]; do [ "$1" = -o ] && echo broken > "$2"; shift; done
    exit 0"""
    a_compiler(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(RuntimeError, match=r"can't be loaded .*wkv=wkv_chunked"):
        build()


def start(code):
    """Another Python at work, in the environment of this one."""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )


def test_importing_compiles_nothing(empty_cache):
    process = start("import rwkv_book.rwkv4.fused")
    assert process.communicate()[0] == "" and process.returncode == 0
    assert not empty_cache.exists()


SMALLEST_CALL = """
import torch
from rwkv_book.rwkv4.fused import wkv_fused
out, _ = wkv_fused(*torch.ones(2, 3), *torch.ones(2, 1, 5, 3))
print(out.sum().item())
"""


def test_two_processes_may_build_at_once(empty_cache):
    processes = [start(SMALLEST_CALL) for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == ["15.0\n"] * 2
    assert all(process.returncode == 0 for process in processes)
    assert [path.suffix for path in empty_cache.iterdir()] == [".so"]


def test_a_process_that_is_killed_half_way_leaves_nothing_that_counts(
    empty_cache, tmp_path, monkeypatch
):
    """A compiler writes half of a file and waits; it is killed with its caller."""
    path = os.environ["PATH"]
    script = """
    while [ $# -gt 0 ]; do
      [ "$1" = -o ] && { echo half > "$2"; touch half_way; exec sleep 60; }
      shift
    done"""
    a_compiler(tmp_path / "bin", monkeypatch, script)
    process = subprocess.Popen(
        [sys.executable, "-c", SMALLEST_CALL], cwd=tmp_path, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "half_way").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(empty_cache.glob("*.so"))
    monkeypatch.setenv("PATH", path)
    build()
    assert len(list(empty_cache.glob("*.so"))) == 1


def test_threads_are_those_of_pytorch(empty_cache):
    """Two libraries of threads would wait for each other's on every CPU."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs Linux, which lists the libraries of a process")
    build()
    loaded = {line.split()[-1] for line in maps.read_text().splitlines()}
    assert len([path for path in loaded if "libgomp" in path]) == 1
