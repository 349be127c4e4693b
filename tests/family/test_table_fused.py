"""The compiled recurrence, held to the one that PyTorch computes token by token.

Every test of numbers runs on the CPU and, where there is one, on an NVIDIA GPU: the
source is the same. Without a GPU the tests compile it for two kinds of them.
"""

import pytest
import torch
from helpers.kernels import compiled_from, needs_compiler
from helpers.table import NAMES, arguments, assert_near, of_type, with_gradients
from torch.autograd import forward_ad
from torch.library import opcheck

from rwkv_book.compiled import gpu
from rwkv_book.compiled.source import replaced
from rwkv_book.family import kernels
from rwkv_book.family.equation import table_chunked, table_recurrent
from rwkv_book.family.fused import table_fused
from rwkv_book.rwkv5.wkv import wkv as wkv5
from rwkv_book.rwkv7.model import RWKV, Config

pytestmark = [needs_compiler, pytest.mark.usefixtures("poisoned_memory")]
no_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs an NVIDIA GPU and a CUDA build of torch",
)
on_every_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, no_gpu])]
)
in_every_case = pytest.mark.parametrize("before", [False, True])
with_or_without = pytest.mark.parametrize("removes", [False, True])
LENGTHS = (1, 2, 15, 16, 17, 97)
DECAYS = {"1": 0.0, "near 1": -1e-4, "usual": -0.5, "near 0": -40.0, "0": -torch.inf}
# (N, M): one number, less than a vector, not a multiple of it, the usual, the most
SIZES = [(1, 1), (16, 16), (33, 20), (20, 33), (64, 64), (64, 7), (128, 128)]
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5}
HALVES = [torch.bfloat16, torch.float16]


def by_name(results):
    """{name: tensor} of what `with_gradients` returns with nothing left out."""
    return dict(zip(("out", "after", *NAMES), results, strict=True))


# --- the numbers --------------------------------------------------------------


@on_every_device
@in_every_case
@with_or_without
@pytest.mark.parametrize("decay", DECAYS.values(), ids=DECAYS)
@pytest.mark.parametrize("length", LENGTHS)
def test_values_and_gradients_are_those_of_the_recurrence(
    device, length, decay, removes, before
):
    exact = arguments(length, removes=removes, decay=decay)
    wanted = with_gradients(table_recurrent, exact, before)
    for dtype, tolerance in TOLERANCE.items():
        found = with_gradients(table_fused, of_type(dtype, exact, device), before)
        assert all(tensor.dtype == dtype for tensor in found)
        assert_near(found, wanted, tolerance)


@on_every_device
@with_or_without
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_heads_of_every_size_have_them(device, sizes, removes, dtype):
    exact = arguments(17, sizes, removes)
    wanted = with_gradients(table_recurrent, exact)
    found = with_gradients(table_fused, of_type(dtype, exact, device))
    assert_near(found, wanted, TOLERANCE[dtype])


@on_every_device
@in_every_case
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("length", [1, 17, 97])
def test_half_types_are_rounded_once(device, length, dtype, before):
    """What is stored in 16 bits is off by half of its last bit; sums are not."""
    tensors = of_type(dtype, arguments(length, (33, 20)), device)
    found = with_gradients(table_fused, tensors, before)
    exact = [tensor.double().cpu() for tensor in tensors]
    wanted = with_gradients(table_recurrent, exact, before)
    for name, one, other in zip(("out", "after", *NAMES), found, wanted, strict=True):
        is_a_sum = name in ("after", "log_decay", "state")
        assert one.dtype == (torch.float32 if is_a_sum else dtype), name
        half_a_bit = 0 if is_a_sum else torch.finfo(dtype).eps / 2
        scale = max(1, other.abs().max().item())
        bound = 1.01 * half_a_bit * other.abs() + 1e-5 * scale
        assert ((one.double().cpu() - other).abs() <= bound).all(), name


@on_every_device
def test_gradients_are_those_of_small_differences(device):
    leaves = [x.to(device).requires_grad_() for x in arguments(18, (3, 2), batch=1)]
    assert torch.autograd.gradcheck(table_fused, leaves, fast_mode=True)


@on_every_device
@with_or_without
def test_a_text_may_be_cut_anywhere(device, removes):
    exact = of_type(torch.float64, arguments(19, removes=removes), device)
    *tokens, state = exact
    whole = table_fused(*exact)
    for cut in (1, 8, 9, 18):
        early, late = (
            [x if x is None else x[:, part] for x in tokens]
            for part in (slice(cut), slice(cut, None))
        )
        first, between = table_fused(*early, state)
        second, last = table_fused(*late, between)
        assert_near([torch.cat([first, second], 1), last], whole, 1e-12)


@on_every_device
def test_no_state_is_a_table_of_zeros(device):
    *tokens, state = of_type(torch.float32, arguments(9), device)
    found = table_fused(*tokens)
    wanted = table_fused(*tokens, torch.zeros_like(state))
    assert all(map(torch.equal, found, wanted))


@on_every_device
def test_gradients_flow_from_the_output_alone_and_from_the_table_alone(device):
    exact = of_type(torch.float64, arguments(17), device)
    leaves = [x.requires_grad_() for x in exact]
    for part in (0, 1):
        found, wanted = (
            torch.autograd.grad(
                form(*leaves)[part].square().sum(),
                leaves,
                allow_unused=True,
                materialize_grads=True,
            )
            for form in (table_fused, table_recurrent)
        )
        assert_near(found, wanted, 1e-11)


@on_every_device
def test_the_same_call_gives_the_same_bits_on_any_number_of_threads(device):
    exact = of_type(torch.float32, arguments(97, (64, 64), heads=5), device)
    workers, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 3):
            torch.set_num_threads(threads)
            found.append(with_gradients(table_fused, exact))
    finally:
        torch.set_num_threads(workers)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("here[w] * one(instead, n)", "here[w] * one(k, n)", "out"),
        ("by_found[w] * one(gone, n)", "by_found[w] * one(k, n)", "state"),
        ("before = old[i][j].part[w]", "before = old[i + 1][j].part[w]", "log_decay"),
    ],
)
def test_a_fault_in_the_text_is_seen(old, new, wrong):
    exact = arguments(40)
    wanted = by_name(with_gradients(table_recurrent, exact))
    text = replaced(kernels.SOURCE.text, old, new)
    with compiled_from(text):
        found = by_name(with_gradients(table_fused, exact))
    with pytest.raises(AssertionError):
        assert_near([found[wrong]], [wanted[wrong]], 1e-3)


# --- arguments ----------------------------------------------------------------


@on_every_device
def test_the_arguments_are_left_as_they_were(device):
    tensors = of_type(torch.float64, arguments(17), device)
    with_gradients(table_fused, tensors)
    assert all(
        torch.equal(x.cpu(), y) for x, y in zip(tensors, arguments(17), strict=True)
    )


@on_every_device
def test_views_of_any_strides_are_read_right(device):
    tensors = of_type(torch.float64, arguments(20), device)
    wanted = with_gradients(table_fused, tensors)

    def strided(x):
        """The same numbers, two apart, in an order from the last axis to the first."""
        if x is None:
            return None
        last = x.permute(*reversed(range(x.ndim)))
        padded = torch.stack([last, torch.full_like(last, torch.nan)], dim=-1)
        view = padded[..., 0].permute(*reversed(range(x.ndim)))
        assert not view.is_contiguous() and torch.equal(view, x)
        return view

    def of_views(*given, before):
        out, after = table_fused(*map(strided, given), before=before)
        return strided(out), strided(after)

    assert all(map(torch.equal, with_gradients(of_views, tensors), wanted))


def test_sums_may_come_in_16_bits_and_are_widened():
    tensors = [tensor.bfloat16() for tensor in arguments(9)]
    out, after = table_fused(*tensors)
    assert out.dtype == torch.bfloat16 and after.dtype == torch.float32
    wanted = table_recurrent(*(tensor.double() for tensor in tensors))
    assert_near([out, after], wanted, 0.01)


def test_no_text_and_no_head_are_nothing_to_do():
    for batch, heads in ((0, 3), (2, 0)):
        tensors = arguments(9, batch=batch, heads=heads)
        out, after, *grads = with_gradients(table_fused, tensors)
        assert out.shape == tensors[3].shape and after.shape == tensors[6].shape
        assert all(x.shape == y.shape for x, y in zip(grads, tensors, strict=True))


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        (
            "log_decay",
            torch.ones(2, 9, 3, 6).double(),
            "log_decay must be torch.float32",
        ),
        ("log_decay", torch.ones(2, 9, 3, 5), r"log_decay must be \(2, 9, 3, 6\), got"),
        ("state", torch.ones(2, 3, 5, 6).double(), "state must be torch.float32 here"),
        ("state", torch.ones(2, 3, 6, 5), r"state must be \(2, 3, 5, 6\), got"),
        ("key", torch.ones(2, 0, 3, 6), "at least one token"),
        (
            "key",
            torch.ones(2, 9, 3, 6).to(torch.float8_e5m2),
            "key must be one of float",
        ),
        (
            "key",
            torch.ones(2, 9, 3, 6, device="meta"),
            "key must be on a CPU or a CUDA",
        ),
        (
            "value",
            torch.ones(2, 9, 3, 5).half(),
            "value must be torch.float32 as key is",
        ),
        (
            "replace",
            torch.ones(2, 9, 3, 6).half(),
            "replace must be torch.float32 as key",
        ),
        ("remove", torch.ones(2, 9, 3, 6, device="meta"), "remove must be on cpu"),
        ("remove", None, "remove and replace come together"),
    ],
)
def test_a_wrong_argument_is_named(name, wrong, sentence):
    tensors = dict(zip(NAMES, of_type(torch.float32, arguments(9)), strict=True))
    with pytest.raises(ValueError, match=sentence):
        table_fused(**tensors | {name: wrong})


def test_all_wrong_arguments_are_named_at_once():
    tensors = dict(zip(NAMES, of_type(torch.float32, arguments(9)), strict=True))
    tensors["value"], tensors["state"] = (
        tensors["value"].half(),
        tensors["state"].double(),
    )
    with pytest.raises(ValueError, match=r"value must be.*; state must be"):
        table_fused(**tensors)


@pytest.mark.parametrize("sizes", [(129, 4), (4, 129), (0, 4), (4, 0)])
def test_heads_that_are_too_large_or_empty_are_refused(sizes):
    with pytest.raises(ValueError, match=r"1 to 128 numbers.*use wkv=table_chunked"):
        table_fused(*arguments(2, sizes))


def test_without_a_compiler_the_error_names_a_form_that_needs_none(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no g\+\+ .*use wkv=table_chunked, which"):
        table_fused(*arguments(2, sizes=(3, 11)))  # heads that nothing was compiled for


# --- PyTorch ------------------------------------------------------------------


@on_every_device
@with_or_without
def test_pytorch_finds_nothing_wrong_with_the_operators(device, removes):
    tensors = of_type(torch.float32, arguments(18, removes=removes), device)
    leaves = [x if x is None else x.clone().requires_grad_() for x in tensors]
    opcheck(kernels.forward, (*leaves, False, True))
    opcheck(kernels.forward, (*tensors, True, False))
    out, after, found = kernels.forward(*tensors, False, True)
    ones = torch.ones_like(out), torch.ones_like(after)
    opcheck(kernels.backward, (*tensors, found, *ones, False))


def total_of(form):
    """A number of all that a form returns, as a function of its seven tensors."""

    def total(*tensors):
        out, after = form(*tensors)
        wave = torch.arange(out[0].numel(), device=out.device).view_as(out[0]).sin()
        return (wave * out).square().sum() + after.square().sum()

    return total


def gradient_by_all(form):
    return torch.func.grad(total_of(form), tuple(range(7)))


@on_every_device
def test_functional_gradients_are_those_of_the_recurrence(device):
    tensors = of_type(torch.float64, arguments(18), device)
    found, wanted = (
        gradient_by_all(f)(*tensors) for f in (table_fused, table_recurrent)
    )
    assert_near(found, wanted, 1e-11)


@on_every_device
@pytest.mark.parametrize("in_dims", [(0,) * 7, (None, 0, 1, 2, None, -1, 0)], ids=str)
def test_vmap_over_the_operator_and_its_gradients_is_that_over_the_recurrence(
    device, in_dims
):
    sets = [of_type(torch.float64, arguments(18, seed=i), device) for i in range(3)]
    tensors = [
        sets[0][i] if dim is None else torch.stack([x[i] for x in sets], dim)
        for i, dim in enumerate(in_dims)
    ]
    both = []
    for form in (table_fused, table_recurrent):
        results = torch.vmap(total_of(form), in_dims)(*tensors)
        within = torch.vmap(gradient_by_all(form), in_dims)(*tensors)
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        outside = torch.vmap(total_of(form), in_dims)(*leaves)
        through = torch.autograd.grad(outside.sum(), leaves)
        both.append([results.detach(), *within, *through])
    assert_near(*both, 1e-11)


@on_every_device
@pytest.mark.parametrize("position", range(7), ids=NAMES)
def test_forward_mode_differentiation_is_refused(device, position):
    """PyTorch alone would drop the tangent, and say that the derivative is 0."""
    tensors = of_type(torch.float64, arguments(9), device)
    total, tangent = total_of(table_fused), torch.ones_like(tensors[position])

    def of_one(x):
        return total(*tensors[:position], x, *tensors[position + 1 :])

    refused = pytest.raises(NotImplementedError, match=r"jvp.*use wkv=table_chunked")
    with refused:
        torch.func.jvp(of_one, (tensors[position],), (tangent,))
    with refused:  # forward over reverse
        torch.func.hessian(of_one)(tensors[position])
    for needs_gradient in (False, True):
        x = tensors[position].clone().requires_grad_(needs_gradient)
        with forward_ad.dual_level(), refused:
            of_one(forward_ad.make_dual(x, tangent))


@on_every_device
@pytest.mark.parametrize("position", range(7), ids=NAMES)
def test_second_derivatives_are_refused_and_first_ones_are_right(device, position):
    tensors = of_type(torch.float64, arguments(9), device)
    x = tensors[position].requires_grad_()
    found, wanted = (
        torch.autograd.grad(total_of(form)(*tensors), x, create_graph=True)[0]
        for form in (table_fused, table_recurrent)
    )
    assert_near([found.detach()], [wanted.detach()], 1e-11)
    with pytest.raises(NotImplementedError, match=r"second.*use wkv=table_chunked"):
        found.square().sum().backward()


@on_every_device
def test_compiled_code_gives_the_same_at_every_length(device):
    """In one graph, whose length is a symbol."""

    def twice(*tensors):
        out, state = table_fused(*tensors)
        return table_fused(*tensors[:3], out, *tensors[4:6], state)

    compiled = torch.compile(twice, backend="aot_eager", fullgraph=True, dynamic=True)
    for length in (20, 33):
        tensors = of_type(torch.float64, arguments(length), device)
        tensors = [tensor.requires_grad_() for tensor in tensors]
        found, wanted = [], []
        for form, collected in ((compiled, found), (twice, wanted)):
            out, after = form(*tensors)
            total = out.sum() + after.sum()
            collected += [out, after, *torch.autograd.grad(total, tensors)]
        assert all(map(torch.equal, found, wanted))


def test_what_a_token_found_is_kept_only_when_gradients_are_wanted():
    tensors = arguments(9)
    for keep, length in ((True, 9), (False, 0)):
        assert kernels.forward(*tensors, False, keep)[2].shape == (2, length, 3, 5)
    without = arguments(9, removes=False)
    assert kernels.forward(*without, False, True)[2].shape == (2, 0, 3, 5)


# --- models -------------------------------------------------------------------


@on_every_device
def test_a_model_with_it_is_the_same_model(device):
    """A text read in two parts, so that gradients pass through a state."""
    tokens = torch.randint(50, (2, 60), generator=torch.Generator().manual_seed(0))
    tokens, found = tokens.to(device), []
    for wkv in (table_chunked, table_fused):
        torch.manual_seed(0)
        model = RWKV(Config(50, 3, 40, head_size=20), wkv=wkv).to(device)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape).to(device))
        first, state = model(tokens[:, :23])
        logits = torch.cat([first, model(tokens[:, 23:], state)[0]], dim=1)
        logits.square().mean().backward()
        found.append([logits.detach(), *(p.grad for p in model.parameters())])
    assert_near(*found, 1e-4)


@on_every_device
def test_rwkv_5_asks_before_it_writes(device):
    torch.manual_seed(0)
    rate, bonus = torch.randn(3, 6, device=device), torch.randn(3, 6, device=device)
    _, receptance, key, value, *_ = of_type(torch.float32, arguments(20), device)
    found = wkv5(rate, bonus, receptance, key, value, form=table_fused)
    assert_near(found, wkv5(rate, bonus, receptance, key, value), 1e-4)


# --- from a source to kernels -------------------------------------------------


FOR_GPUS = [("float", "sm_75"), ("bfloat16", "sm_90"), ("float16", "sm_90")]
FOR_GPUS += [("double", "sm_90")]


@with_or_without
@pytest.mark.parametrize(("stored", "architecture"), FOR_GPUS)
def test_the_source_compiles_for_a_gpu(
    tmp_path, monkeypatch, stored, architecture, removes
):
    pytest.importorskip("cuda.core", reason="needs the extra `cuda`, not for macOS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = kernels.source_for(64, 64, removes, False)
    code = gpu.compile_for(source, stored, architecture)
    assert code.startswith(b"\x7fELF")
    assert all(name.encode() + b"\0" in code for name in source.parameters)


def test_every_kernel_is_known_by_its_parameters():
    wanted = {"forward": 12, "backward_rows": 12, "backward_keys": 19}
    assert kernels.SOURCE.parameters == wanted
