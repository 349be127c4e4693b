"""The instructions that a GPU gets for `wkv.cu`, run without one.

`gpu.run_kernel` and cuda.core launch them as they would there. What the machine looks
for in every launch, it would find: three faults are put into the text to see it.
"""

import math
import mmap
from functools import partial

import numpy as np
import pytest
import torch
from helpers.ptx import device
from helpers.ptx.device import on_ptx
from helpers.ptx.nvrtc import ptx
from helpers.wkv import LARGE, assert_near, with_large

from rwkv_book.compiled.source import Source, replaced
from rwkv_book.rwkv4 import fused, kernels
from rwkv_book.rwkv4.fused import from_source, wkv_fused
from rwkv_book.rwkv4.kernels import SOURCE, STORED
from rwkv_book.rwkv4.wkv import WkvState, wkv_attention
from tools.ptx import machine
from tools.ptx.program import programs

pytestmark = [*device.pytestmark, pytest.mark.usefixtures("poisoned_memory")]
# Of the largest number of a tensor: what is stored, and what is a sum.
ERRORS = {
    torch.float32: (5e-6, 5e-6),
    torch.float64: (1e-12, 1e-12),
    torch.bfloat16: (4e-3, 5e-6),
    torch.float16: (6e-4, 5e-6),
}
MAP_NORESERVE = 0x4000  # of Linux, where NVRTC is; Python 3.11 has no name for it
AT_LARGE_KEYS = 1e-5  # at logits near 900 a float has four decimals


def arguments(dtype, scale=1, shape=(2, 37, 33), seed=0):
    """Seven tensors: no length is a multiple of a tile, no width one of a block."""
    generator = torch.Generator().manual_seed(seed)
    normal = partial(torch.randn, generator=generator)
    batch, _, channels = shape
    sums, state = fused.sums_type(dtype), (batch, channels)
    vectors = [normal(channels).exp(), normal(channels)]
    tokens = [scale * normal(shape), normal(shape)]
    first = [normal(state), normal(state).exp(), scale * normal(state)]
    return [
        *(tensor.to(sums) for tensor in vectors),
        *(tensor.to(dtype) for tensor in tokens),
        *(tensor.to(sums) for tensor in first),
    ]


def everything(form, tensors):
    """(what is stored, sums): outputs, and gradients of a sum with random weights."""
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    state = WkvState(*leaves[4:]) if len(leaves) > 4 else None
    out, after = form(*leaves[:4], state)
    generator = torch.Generator().manual_seed(1)
    results = out, after.average(), after.den.log() + after.log_scale
    weights = [torch.randn(x.shape, generator=generator).bfloat16() for x in results]
    pairs = zip(weights, results, strict=True)
    loss = sum((w.to(x) * x).double().sum() for w, x in pairs)
    w, u, k, v, *others = torch.autograd.grad(loss, leaves, materialize_grads=True)
    sums = [x.detach() for x in (*results[1:], w, u, *others)]
    return [out.detach(), k, v], sums


def assert_right(found, tensors, stored_error, sums_error):
    exact = [tensor.double() for tensor in tensors]
    wanted = everything(wkv_attention, exact)
    for ours, theirs, error in zip(
        found, wanted, (stored_error, sums_error), strict=True
    ):
        for one, other in zip(ours, theirs, strict=True):
            assert_near(one, other, error)


INSTRUCTIONS = """
KERNEL(both, index C, const scalar* x, const scalar* y, scalar* power, scalar* share) {
  EACH_THREAD {
    store(power + thread, exponential(load(x + thread, 1)), 1);
    store(share + thread, over(load(x + thread, 1), load(y + thread, 1)), 1);
  }
}
"""
# Of a result, on the machine, whose ex2 and rcp are as wrong as the manual allows: by
# two and one units of the last place. (An exponent is multiplied before, and rounded.)
WRONG = {"exp(-1) and more": 4e-7, "exp(-80) and more": 5e-6, "quotients": 2.4e-7}


def test_instructions_that_are_not_exact_are_as_wrong_as_that():
    """In the three types whose sums are float. With double nothing is approximate."""
    source = Source(INSTRUCTIONS, "both.cu", "use your fingers.")
    near, far = -torch.rand(4096), -80 * torch.rand(4096)
    x, y, results = torch.cat([near, far]), torch.randn(8192).exp(), torch.ones(2, 8192)
    with on_ptx():
        run = kernels.BACKENDS["cpu"].run_kernel
        sizes = 1, 8192, 1, 8192
        run(source, "both", "float", x.device, *sizes, x, y, *results)
    exact = torch.stack([x.double().exp(), x.double() / y])
    powers, quotients = (results / exact - 1).abs()
    found = powers[:4096].max(), powers.max(), quotients.max()
    for ours, most in zip(found, WRONG.values(), strict=True):
        assert most / 3 < ours <= most, found


@pytest.mark.parametrize("scale", [1, 300])
@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("dtype", ERRORS, ids=str)
def test_values_and_gradients_are_those_of_attention(dtype, chunks, scale):
    tensors = arguments(dtype, scale)
    with on_ptx() as driver:
        found = everything(partial(wkv_fused, chunks=chunks), tensors)
    names = {launched.kernel for launched in driver.launched}
    once = {"forward_in_one_pass", "backward_in_one_pass"}
    assert names == (once if chunks == 1 else set(SOURCE.parameters) - once)
    stored, sums = ERRORS[dtype]
    if scale > 1 and dtype != torch.float64:
        stored, sums = max(stored, AT_LARGE_KEYS), AT_LARGE_KEYS
    assert_right(found, tensors, stored, sums)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 16, 32), (3, 17, 5)], ids=str)
def test_so_are_those_of_other_shapes(shape, dtype):
    tensors = arguments(dtype, shape=shape)[:4]
    with on_ptx():
        found = everything(wkv_fused, tensors)
    assert_right(found, tensors, *ERRORS[dtype])


def test_a_block_of_one_pass_has_eight_warps_for_32_channels_of_a_text():
    tensors = arguments(torch.float32, shape=(2, 16, 33))[:4]
    with on_ptx() as driver:
        wkv_fused(*tensors, chunks=1)
    ((name, grid, block, *_),) = driver.launched
    assert (name, grid, block) == ("forward_in_one_pass", 2 * 2, 8 * 32)


def test_a_text_shorter_than_a_tile_is_read_by_the_loop():
    tensors = arguments(torch.float32, shape=(2, 15, 33))[:4]
    with on_ptx() as driver:
        found = everything(partial(wkv_fused, chunks=1), tensors)
    assert [x.kernel for x in driver.launched] == ["forward", "backward"]
    assert_right(found, tensors, *ERRORS[torch.float32])


TEXTS = [(2, 17, 33), (1, 127, 2), (1, 128, 32), (1, 129, 3), (2, 300, 40)]
MIXED = 8  # standard deviation of keys, of which some tiles are even and some are not


@pytest.mark.parametrize("scale", [1, MIXED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", TEXTS, ids=str)
def test_so_are_those_of_one_pass_whatever_its_last_turn_has(shape, dtype, scale):
    """Turns of 128 tokens by 32 channels: whole ones, and what is left of them."""
    tensors = arguments(dtype, scale, shape)
    with on_ptx():
        found = everything(partial(wkv_fused, chunks=1), tensors)
    stored, sums = ERRORS[dtype]
    assert_right(found, tensors, max(stored, 1e-5), max(sums, 1e-5))


def test_a_tile_is_taken_on_one_scale_or_token_by_token():
    """In mixed keys there are tiles of both kinds, and either way is right."""
    tensors = arguments(torch.float32, MIXED, (1, 300, 32))[:4]
    keys = tensors[2][:, :288].unflatten(1, (-1, 16))
    even = ((keys - keys[:, :, -1:]).abs() <= 20).all(2)
    assert 0.1 < even.double().mean() < 0.9
    never = replaced(SOURCE.on_gpu, "NEAR = 20;", "NEAR = -1;")
    forms = wkv_fused, from_source(SOURCE.text, on_gpu=never)
    with on_ptx():
        found = [everything(partial(form, chunks=1), tensors) for form in forms]
    for results in found:
        assert_right(results, tensors, 1e-5, 1e-5)
    pairs = zip(found[0][0], found[1][0], strict=True)
    assert not any(torch.equal(one, other) for one, other in pairs)


STRANGE = {  # which the scale of a tile can't hold, or only just
    "decays at once": lambda w, u, k, v: (300 + 0 * w, u, k, v),
    "never decays": lambda w, u, k, v: (0 * w, u, k, v),
    "a large bonus": lambda w, u, k, v: (w, u + 60, k, v),
    "hardly a bonus": lambda w, u, k, v: (w, u - 60, k, v),
    "keys that rise": lambda w, u, k, v: (w, u, k + torch.arange(300.0)[:, None], v),
    "keys that fall": lambda w, u, k, v: (w, u, k - torch.arange(300.0)[:, None], v),
    "just even": lambda w, u, k, v: (w, 9 + 0 * u, 19.9 * k.sign() * (k > 1), v),
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_sum_of_an_even_tile_leaves_the_range_of_a_float(dtype, strange):
    tensors = STRANGE[strange](*arguments(dtype, 1, (1, 300, 3))[:4])
    tensors = [tensor.to(dtype) for tensor in tensors]
    with on_ptx():
        found = everything(partial(wkv_fused, chunks=1), tensors)
    assert_right(found, tensors, 2e-5, 1e-4)


@pytest.mark.parametrize("chunks", [1, 2])
@pytest.mark.parametrize("large", LARGE)
def test_nothing_overflows(large, chunks):
    tensors = [tensor.float() for tensor in with_large(large)]
    with on_ptx():
        found = everything(partial(wkv_fused, chunks=chunks), tensors)
    assert_right(found, tensors, 1e-2, 1e-2)


def test_the_oldest_gpus_store_bfloat16_as_well():
    """Those without an instruction for it."""
    tensors = arguments(torch.bfloat16)
    with on_ptx("sm_75"):
        found = everything(partial(wkv_fused, chunks=3), tensors)
    assert_right(found, tensors, *ERRORS[torch.bfloat16])


@pytest.mark.parametrize("chunks", [1, 3])
def test_no_bit_depends_on_the_order_of_threads_or_the_number_of_blocks(chunks):
    tensors, found = arguments(torch.float32), []
    orders = [None, np.arange(2**14), np.arange(2**14)[::-1]]
    for order in orders:
        with on_ptx() as driver:
            run = driver.run

            def in_order(program, words, grid, block, order=order, run=run):
                if order is None:
                    run(program, words, 1, block)  # one block does the work of all
                else:
                    threads = order[order < grid * block]
                    run(program, words, grid, block, threads=threads)

            driver.run = in_order
            stored, sums = everything(partial(wkv_fused, chunks=chunks), tensors)
            found.append([*stored, *sums])
            driver.run = run
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_arrays_may_begin_anywhere():
    """A view of one number less: aligned to 2 bytes, and to nothing else."""
    tensors = arguments(torch.bfloat16)
    with on_ptx():
        wanted = everything(wkv_fused, tensors)
        for i in (2, 3):
            one = torch.full((1,), torch.nan).bfloat16()
            beside = torch.cat([one, tensors[i].flatten()])
            tensors[i] = beside[1:].view(tensors[i].shape)
            assert tensors[i].data_ptr() % 4 and tensors[i].is_contiguous()
        found = everything(wkv_fused, tensors)
    for ours, theirs in zip(found, wanted, strict=True):
        assert all(map(torch.equal, ours, theirs))


FAULTS = {
    "off by one": (
        "if (t < end) work(t, end - t);\n}",
        "if (t < end) work(t, end - t + 1);\n}",
        "outside of every array|another thread",
    ),
    "a missing clamp": (
        "index begin = at.chunk * chunk, end = least(T, begin + chunk);\n    Sums sums",
        "index begin = at.chunk * chunk, end = begin + chunk;\n    Sums sums",
        "outside of every array|another thread",
    ),
    "a race": (
        "if (end == T) store(leaving",
        "store(leaving",
        "another thread",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_text_is_caught(fault):
    """What would pass on many a GPU, whose memory goes on behind an array."""
    old, new, sentence = FAULTS[fault]
    form = from_source(replaced(SOURCE.text, old, new))
    tensors = arguments(torch.float32)[:4]
    with pytest.raises(machine.Fault, match=sentence), on_ptx() as driver:
        with pytest.raises(Exception, match="STAND_IN"):
            form(*tensors, chunks=3)
        assert driver.fault


FAULTS_OF_ONE_PASS = {
    "nobody waits": (
        "DEVICE void meet() { __syncthreads(); }",
        "DEVICE void meet() {}",
        "another thread|nobody wrote",
    ),
    "one place for two turns": ("    odd ^= 1;\n", "", "another thread"),
    "off by one": (
        "return max(0, min(TILE, tokens - tile * TILE));",
        "return max(0, min(TILE, tokens - tile * TILE + 1));",
        "outside of every array|another thread",
    ),
    "a channel with two owners": (
        "channel < C};",
        "true};",
        "another thread",
    ),
    "all warps leave": (
        "if (at.writes && my_tile() == 0) store(leaving",
        "if (at.writes) store(leaving",
        "another thread",
    ),
}


@pytest.mark.parametrize("fault", FAULTS_OF_ONE_PASS)
def test_a_fault_in_the_one_pass_is_caught(fault):
    old, new, sentence = FAULTS_OF_ONE_PASS[fault]
    on_gpu = replaced(SOURCE.on_gpu, old, new)
    form = from_source(SOURCE.text, on_gpu=on_gpu)
    tensors = arguments(torch.float32, shape=(2, 150, 33))[:4]
    with pytest.raises(machine.Fault, match=sentence), on_ptx() as driver:
        with pytest.raises(Exception, match="STAND_IN"):
            form(*tensors, chunks=1)
        assert driver.fault


def test_places_beyond_four_billion_numbers_are_found():
    """The last threads of a large text, beside those of a small one, bit by bit.

    Its memory is promised by the system, and never asked for but where they are.
    """
    channels = 2**27 + 1
    large, small = (
        last_text(*size) for size in ((16, channels, channels - 5), (2, 5, 0))
    )
    for one, other in zip(large, small, strict=True):
        assert np.array_equal(one, other) and other.any()
    assert 16 * 40 * channels > 2**32


def last_text(batch, channels, first, length=40, chunks=3, chunk=16):
    """What all kernels write for 5 channels, from `first` on, of the last text."""
    rng, columns = np.random.default_rng(0), slice(first, first + 5)
    tiles, parts = -(-length // kernels.tile(SOURCE.name)), batch * chunks
    rows = {"w": 1, "u": 1, "first": 4 * batch, "sums": 4 * parts}
    rows |= {"leaving": 4 * batch, "checkpoints": 4 * batch * tiles}
    rows |= {"adjoint": 4 * batch, "adjoints": 4 * parts, "by_w": parts, "by_u": parts}
    rows |= {"by_state": 4 * batch}
    given, made = ("k", "v", "g"), ("out", "by_k", "by_v")
    arrays = {name: promised((count, channels), "f4") for name, count in rows.items()}
    tokens = batch * length
    for name in (*given, *made):
        arrays[name] = promised((tokens, channels), "u2")
    for name in ("w", "u"):
        arrays[name][0, columns] = rng.random(5)
    for name in given:
        numbers = rng.standard_normal((length, 5), "f4").view("u4") >> 16
        arrays[name][tokens - length :, columns] = numbers
    arrays["first"][4 * batch - 4 : 4 * batch - 1, columns] = 0.5 + rng.random((3, 5))
    arrays["adjoint"][4 * batch - 2, columns] = -np.inf
    text = programs(ptx(SOURCE.whole, "bfloat16", "sm_90").decode())
    memory = [(x.ctypes.data, x.nbytes) for x in arrays.values()]

    def run(kernel, with_threads, *names):
        sums = batch * with_threads
        begin = (sums - with_threads) * channels + first
        rows = begin + channels * np.arange(with_threads)
        threads = (rows[:, None] + np.arange(5)).flatten()
        words = [arrays[x].ctypes.data if isinstance(x, str) else x for x in names]
        words = [sums, length, channels, chunks, chunk, arrays["w"].ctypes.data, *words]
        grid = -(-sums * channels // 32)
        options = {"threads": threads, "units": False, "watch": False}
        machine.run(text[kernel], words, grid, 32, memory, **options)

    run("sum_chunks", chunks - 1, "k", "v", "sums")
    states = "first", "sums", "out", "leaving", "checkpoints"
    run("forward", chunks, "u", "k", "v", *states)
    inputs = "u", "k", "v", "checkpoints", "g"
    run("sum_adjoints", chunks - 1, *inputs, "adjoints")
    found = "by_w", "by_u", "by_k", "by_v", "by_state"
    run("backward", chunks, *inputs, "adjoint", "adjoints", *found)
    last = {name: length for name in made} | {"leaving": 4, "by_state": 3}
    last |= {"by_w": chunks, "by_u": chunks}
    return [arrays[name][-count:, columns].copy() for name, count in last.items()]


def promised(shape, kind):
    """An array of zeros, of which there is memory where something is written."""
    kind = np.dtype(kind)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    memory = mmap.mmap(-1, math.prod(shape) * kind.itemsize, flags)
    return np.frombuffer(memory, kind).reshape(shape)


def test_every_type_has_an_error():
    assert set(ERRORS) == set(STORED)
