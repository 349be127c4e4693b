"""What is predicted of RWKV-7's loop is what machine code, and the texts, say."""

import json
from pathlib import Path

import pytest
import table_predicted
import torch
from helpers.ptx.nvrtc import needs_nvdisasm, needs_nvrtc

from rwkv_book import results
from rwkv_book.family.kernels import SOURCE, source_for

(RECORD,) = results.of("table-predicted")
ROWS = {row["kernel"]: row for row in RECORD["rows"]}
CHAPTER = Path(__file__).parents[2] / "book" / "10_the_fast_path.ipynb"


@needs_nvrtc
@needs_nvdisasm
def test_a_prediction_is_what_the_machine_code_says_today():
    head = RECORD["head"]
    found = table_predicted.rows_for(source_for(head, head, True, False))
    assert list(found) == RECORD["rows"]


def test_the_floors_are_those_of_the_chunked_form():
    assert list(table_predicted.floors()) == RECORD["floors"]


def test_a_thread_reads_its_share_of_five_rows_and_takes_one_of_decays():
    """Not all of them: a block of 32 threads has two numbers a row for each."""
    for kernel in ("forward", "backward_rows"):
        assert ROWS[kernel]["reads"] == 5 * RECORD["head"] // 32 + 1
        assert ROWS[kernel]["exponentials"] == RECORD["head"] // 32


def test_the_texts_say_what_is_recorded():
    loop, (floor, _) = ROWS["forward"]["µs"], RECORD["floors"]
    assert floor["chunks, µs"] == floor["bytes, µs"] > floor["tensor cores, µs"]
    comment = " ".join(SOURCE.text.partition("constexpr")[0].split("\n// "))
    assert f"at least {floor['chunks, µs']:.0f} µs" in comment
    assert f"({floor['tensor cores, µs']:.0f} µs of products)" in comment
    assert f"predicted to take {loop / 1000:.1f} ms" in comment
    cells = json.loads(CHAPTER.read_text("utf-8"))["cells"]
    (text,) = (x for c in cells if "`table.cu` is" in (x := "".join(c["source"])))
    assert f"predicted {loop / 1000:.1f} ms forward at (8,4096,768)" in text
    assert f"at least {floor['chunks, µs'] / 1000:.2f} (" in text


@pytest.mark.parametrize("backward", [0, 1])
def test_bytes_are_those_of_tensors_that_training_must_read_and_write(backward):
    shape = vectors = 1, 5, 3, table_predicted.HEAD
    decay = torch.zeros(vectors)  # in 32 bits; five more are read, and one is written
    others = [torch.zeros(vectors, dtype=table_predicted.DTYPE) for _ in range(6)]
    moved = sum(x.nbytes for x in (decay, *others)) * (1 + backward)
    moved -= backward * others[0].nbytes  # no gradient by the output is written
    numbers = torch.Size(shape).numel()
    name = list(table_predicted.BYTES)[backward]
    assert table_predicted.BYTES[name] * numbers == moved
