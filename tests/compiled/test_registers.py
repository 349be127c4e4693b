"""How many registers a GPU's kernels take, and that none keeps them in memory.

A multiprocessor has 65,536 registers: what a thread takes says how many threads can
wait for memory at the same time. NVRTC's assembler reports it; it takes no GPU.
"""

import pytest
from helpers.ptx.nvrtc import needs_nvrtc, statistics

from rwkv_book.family.kernels import source_for
from rwkv_book.rwkv4.kernels import SOURCE

pytestmark = needs_nvrtc
# With 168 registers a thread, 12 warps share a multiprocessor.
MOST = {"sum_chunks": 80, "scan_chunks": 64, "forward": 128, "sum_adjoints": 112}
MOST |= {"backward": 168}
GPUS = [("bfloat16", sm) for sm in ("sm_75", "sm_80", "sm_90", "sm_120")]
GPUS += [("float", "sm_90"), ("float16", "sm_90")]


@pytest.mark.parametrize(("stored", "architecture"), GPUS)
def test_no_kernel_of_wkv_keeps_registers_in_memory(stored, architecture):
    found = statistics(SOURCE.whole, stored, architecture)
    assert set(found) == set(SOURCE.parameters)
    for kernel, used in found.items():
        assert used.spilled == used.stack == 0, (kernel, used)
        assert used.registers <= MOST[kernel], (kernel, used)


def test_a_row_of_64_numbers_fits_into_the_registers_of_a_thread():
    found = statistics(source_for(64, 64, True, False).whole, "bfloat16", "sm_90")
    for kernel in ("forward", "backward_rows"):
        assert found[kernel].spilled == found[kernel].stack == 0, found
    assert found["backward_keys"].spilled == 0  # its arrays of a tile are in memory
