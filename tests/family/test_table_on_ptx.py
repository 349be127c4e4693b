"""The instructions that a GPU gets for `table.cu`, run without one.

What `rwkv4/test_wkv_on_ptx.py` does for the other source, in less: the machine, the
launches and the faults that they would see are the same.
"""

import numpy as np
import pytest
import torch
from helpers.ptx import device
from helpers.ptx.device import on_ptx
from helpers.table import arguments, assert_near, of_type, with_gradients

from rwkv_book.compiled.source import replaced
from rwkv_book.family import kernels
from rwkv_book.family.equation import table_recurrent
from rwkv_book.family.fused import table_fused
from tools.ptx import machine

pytestmark = [*device.pytestmark, pytest.mark.usefixtures("poisoned_memory")]
ERRORS = {
    torch.float32: 2e-5,
    torch.float64: 1e-12,
    torch.bfloat16: 4e-3,
    torch.float16: 6e-4,
}
# (dtype, removes, before): every type, and every text that REMOVE and BEFORE make
CASES = [(dtype, True, False) for dtype in ERRORS]
CASES += [(torch.float32, False, True), (torch.float32, True, True)]
CASES += [(torch.bfloat16, False, False)]
# (N, M): half a block of threads, neither a multiple of one, two blocks, and four
SIZES = [(16, 16), (33, 20), (64, 64), (128, 128)]


@pytest.mark.parametrize(("dtype", "removes", "before"), CASES, ids=str)
def test_values_and_gradients_are_those_of_the_recurrence(dtype, removes, before):
    tensors = of_type(dtype, arguments(19, removes=removes))
    with on_ptx() as driver:
        found = with_gradients(table_fused, tensors, before)
    assert {x.kernel for x in driver.launched} == set(kernels.SOURCE.parameters)
    exact = [x if x is None else x.double() for x in tensors]
    assert_near(found, with_gradients(table_recurrent, exact, before), ERRORS[dtype])


def test_a_text_of_one_token_is_one():
    tensors = of_type(torch.float32, arguments(1))
    with on_ptx():
        found = with_gradients(table_fused, tensors)
    exact = [x.double() for x in tensors]
    assert_near(found, with_gradients(table_recurrent, exact), ERRORS[torch.float32])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_so_are_those_of_real_heads(dtype, sizes):
    """Some decays are 0 and some 1; the text ends within a tile."""
    tensors = arguments(10, sizes, batch=1, heads=3 if sizes[0] < 64 else 1)
    log_decay, replace = tensors[0], tensors[5]
    log_decay[..., ::5], replace[..., ::5] = -torch.inf, 0  # else the table would grow
    log_decay[..., 1::5] = 0
    tensors = of_type(dtype, tensors)
    with on_ptx():
        found = with_gradients(table_fused, tensors)
    exact = [x.double() for x in tensors]
    assert_near(found, with_gradients(table_recurrent, exact), ERRORS[dtype])


def test_the_oldest_gpus_compute_the_same():
    tensors = of_type(torch.bfloat16, arguments(17, (33, 20)))
    with on_ptx("sm_75"):
        found = with_gradients(table_fused, tensors)
    with on_ptx():
        wanted = with_gradients(table_fused, tensors)
    assert all(map(torch.equal, found, wanted))


def test_no_bit_depends_on_the_order_of_threads_or_the_number_of_blocks():
    tensors, found = of_type(torch.float32, arguments(17, (16, 33))), []
    for order in ("all in one block", "first to last", "last to first"):
        with on_ptx() as driver:
            run = driver.run

            def in_order(program, words, grid, block, order=order, run=run):
                if order == "all in one block":
                    return run(program, words, 1, block)
                threads = np.arange(grid * block)[:: -1 if order[0] == "l" else 1]
                return run(program, words, grid, block, threads=threads)

            driver.run = in_order
            found.append(with_gradients(table_fused, tensors))
            driver.run = run
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_arrays_of_16_bits_may_begin_anywhere():
    """A view without the first number: aligned to 2 bytes, and to nothing else."""

    def odd(x):
        if x.dtype != torch.bfloat16:
            return x
        one = torch.full((1,), torch.nan).bfloat16()
        view = torch.cat([one, x.flatten()])[1:].view(x.shape)
        assert view.data_ptr() % 4
        return view

    tensors = of_type(torch.bfloat16, arguments(9, (64, 33), batch=1, heads=1))
    grad_out = tensors[3].flip(1)
    found = []
    with on_ptx():
        for seen_as in (torch.clone, odd):
            given = list(map(seen_as, tensors))
            out, after, removed = kernels.forward(*given, False, True)
            grad = seen_as(grad_out)
            grads = kernels.backward(*given, removed, grad, None, False)
            found.append([out, after, removed, *grads])
    assert all(map(torch.equal, *found))


FAULTS = {
    "off by one": ("index t = T - 1; t >= 0; t--", "index t = T; t >= 0; t--"),
    "a missing clamp": (
        "index row = token(at, smaller(t, T - 1), T, H);",
        "index row = token(at, t, T, H);",
    ),
    "no barrier after a row is shared": ("meet(), ask(t - AHEAD)", "ask(t - AHEAD)"),
    "no barrier before it is": (
        "{};\n      meet();\n      get(decay, log_decay + row * N);\n"
        "      get(r, receptance + row * N);\n      get(k, key + row * N);\n      if",
        "{};\n      get(decay, log_decay + row * N);\n"
        "      get(r, receptance + row * N);\n      get(k, key + row * N);\n      if",
    ),
    "no barrier after a tile is shared": (
        "      }\n      meet();\n      for (int m = 0; m < PADDED; m += ROWS) {\n"
        "        for (index i = m / ROWS; i < TILE; i += PADDED / ROWS) if (t >= TILE)",
        "      }\n      for (int m = 0; m < PADDED; m += ROWS) {\n"
        "        for (index i = m / ROWS; i < TILE; i += PADDED / ROWS) if (t >= TILE)",
    ),
    "a race": (
        "DEVICE index room_of(index thread) { return thread / KEY_THREADS; }",
        "DEVICE index room_of(index) { return 0; }",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_text_is_caught(fault):
    text = replaced(kernels.SOURCE.text, *FAULTS[fault])
    tensors = of_type(torch.float32, arguments(19))
    sentence = "outside of every array|another thread|nobody wrote"
    ends = pytest.raises(Exception, match="STAND_IN")
    with pytest.raises(machine.Fault, match=sentence), on_ptx(text=text), ends:
        with_gradients(table_fused, tensors)
