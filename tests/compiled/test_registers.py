"""How many registers a GPU's kernels take, and that they keep none in memory.

A multiprocessor has 65,536 registers: what a thread takes says how many threads can
wait for memory at the same time. NVRTC's assembler reports it; it takes no GPU.
"""

import pytest
from helpers.ptx.nvrtc import needs_nvrtc
from registers import ARCHITECTURES, rows_for

from rwkv_book import results
from rwkv_book.rwkv4.kernels import SOURCE, STORED

(RECORD,) = results.of("registers")
(TABLES,) = results.of("table-registers")
PLACES = [(stored, sm) for stored in STORED.values() for sm in ARCHITECTURES]
COMPILED = [("bfloat16", sm) for sm in ARCHITECTURES]
COMPILED += [("float", "sm_90"), ("float16", "sm_120")]
# With 168 registers a thread, 12 warps share a multiprocessor, with 128 they are 16.
MOST = {"sum_chunks": 80, "forward": 112, "sum_adjoints": 116, "backward": 168}
MOST |= {"forward_in_one_pass": 128, "backward_in_one_pass": 128}


def row_name(row):
    return [str(row[x]) for x in ("kernel", "type", "architecture", "head")]


def recorded(stored, architecture):
    place = stored, architecture
    return [
        row for row in RECORD["rows"] if (row["type"], row["architecture"]) == place
    ]


@pytest.mark.parametrize(("stored", "architecture"), PLACES)
def test_every_kernel_keeps_to_its_limit_and_nothing_in_memory(stored, architecture):
    rows = recorded(stored, architecture)
    assert [row["kernel"] for row in rows] == list(SOURCE.parameters)
    for row in rows:
        if stored == "double" and row["kernel"] == "backward":
            assert row["spilled"] < 1000  # a tile in 64 bits: more than there are
            continue
        assert row["spilled"] == row["stack"] == 0, row
        once = row["kernel"].endswith("in_one_pass")  # one block, in double
        most = (255 if once else 192) if stored == "double" else MOST[row["kernel"]]
        assert row["registers"] <= most, row


@needs_nvrtc
@pytest.mark.parametrize(("stored", "architecture"), COMPILED)
def test_the_record_is_what_the_assembler_says_today(stored, architecture):
    assert rows_for(stored, architecture) == recorded(stored, architecture)


@pytest.mark.parametrize("row", TABLES["rows"], ids=lambda row: "-".join(row_name(row)))
def test_a_row_of_a_table_fits_into_the_registers_of_a_thread(row):
    """What a tile's tokens have for a key is read by its number, and so in memory."""
    kernel, stored, _, head = row_name(row)
    if (stored, head) == ("double", "128"):  # a row takes more registers than there are
        assert row["spilled"] < 2100
        return
    by_keys = kernel == "backward_keys"
    assert row["spilled"] == 0
    assert row["stack"] <= (1500 if by_keys else 0)
    if not by_keys and stored != "double":
        assert row["registers"] <= {"16": 128, "64": 192, "128": 255}[head]


@needs_nvrtc
def test_the_record_of_tables_is_what_the_assembler_says_today():
    place = {"type": "bfloat16", "architecture": "sm_90", "head": 64}
    rows = [row for row in TABLES["rows"] if place.items() <= row.items()]
    assert rows_for("bfloat16", "sm_90", 64) == rows
