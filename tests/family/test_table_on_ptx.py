"""The instructions that a GPU gets for `table.cu`, run without one.

What `rwkv4/test_wkv_on_ptx.py` does for the other source, in less: the machine, the
launches and the faults that they would see are the same.
"""

import pytest
import torch
from helpers.ptx import device, machine
from helpers.ptx.device import on_ptx
from helpers.table import arguments, assert_near, of_type, with_gradients

from rwkv_book.compiled.source import replaced
from rwkv_book.family import kernels
from rwkv_book.family.equation import table_recurrent
from rwkv_book.family.fused import table_fused

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


FAULTS = {
    "off by one": ("index t = T - 1; t >= 0; t--", "index t = T; t >= 0; t--"),
    "a missing clamp": (
        "token(at, t + 1 < T ? t + 1 : t, T, H) * N);\n        for",
        "token(at, t + 1, T, H) * N);\n        for",
    ),
    "a race": (
        "DEVICE index room_of(index thread) { return thread / KEY_THREADS; }",
        "DEVICE index room_of(index) { return 0; }",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_text_is_caught(fault, monkeypatch):
    text = replaced(kernels.SOURCE.text, *FAULTS[fault])
    changed = kernels.changed(kernels.SOURCE, text=text, kept=False)
    monkeypatch.setattr(kernels, "SOURCE", changed)
    plain = kernels.source_for.__wrapped__
    monkeypatch.setattr(kernels, "source_for", plain)
    tensors = of_type(torch.float32, arguments(19))
    sentence = "outside of every array|another thread"
    ends = pytest.raises(Exception, match="STAND_IN")
    with pytest.raises(machine.Fault, match=sentence), on_ptx(), ends:
        with_gradients(table_fused, tensors)
