"""What is predicted of RWKV-7's loop is what machine code, and the texts, say."""

import json
from collections import Counter
from pathlib import Path

import predicted
import pytest
import table_predicted
import torch
from helpers.ptx.nvrtc import needs_nvdisasm, needs_nvrtc

from rwkv_book import results
from rwkv_book.compiled import gpu
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


@needs_nvrtc
@needs_nvdisasm
def test_a_tile_of_keys_is_written_out_once_and_whole():
    """As many sums and products as table.cu has for 16 tokens and 64 rows, no more."""
    head, tokens = RECORD["head"], 16
    code = gpu.compile_for(source_for(head, head, True, False), "bfloat16", "sm_90")
    counted = []
    for rows in table_predicted.tiles(
        predicted.listing(code)["backward_keys"], tokens, 4
    ):
        names = Counter(name.partition(".")[0] for name, _ in rows)
        counted.append([names[x] for x in ("FFMA", "FMUL", "MUFU", "LDG", "STG")])
    numbers = tokens * head  # of which each sum is written out once, and each product
    reads = 3 + 2 * 2, 5 + 4 * 2  # of keys, and of rows, by two each
    assert counted == [
        [2 * numbers, numbers + tokens, tokens, tokens * reads[0], head],
        [
            9 * numbers,
            2 * (numbers + tokens),
            tokens,
            tokens * reads[1] + head,
            5 * tokens,
        ],
    ]


def test_the_keys_take_most_of_a_training_step():
    assert RECORD["together"] == sum(row["µs"] for row in RECORD["rows"])
    assert ROWS["backward_keys"]["µs"] > 0.5 * RECORD["together"]
    arithmetic = 3 + 3 + 8  # for each number of a table and token, one a cycle
    assert ROWS["backward_keys"]["cycles a token"] > arithmetic * RECORD["head"]


def test_the_texts_say_what_is_recorded():
    loop, (floor, _) = ROWS["forward"]["µs"], RECORD["floors"]
    assert floor["chunks, µs"] == floor["bytes, µs"] > floor["tensor cores, µs"]
    comment = " ".join(SOURCE.text.partition("constexpr")[0].split("\n// "))
    assert f"at least {floor['chunks, µs']:.0f} µs" in comment
    assert f"({floor['tensor cores, µs']:.0f} µs of products)" in comment
    assert f"predicted to take {loop / 1000:.1f} ms" in comment
    backward = sum(row["µs"] for row in RECORD["rows"]) - loop
    both = f"{loop / 1000:.1f} ms forward and {backward / 1000:.1f} backward at"
    bytes_ms = " and ".join(f"{x['bytes, µs'] / 1000:.2f}" for x in RECORD["floors"])
    said = f"| {both} (8,4096,768), predicted, and {bytes_ms} for their bytes |"
    readme = Path(table_predicted.__file__).with_name("README.md").read_text("utf-8")
    assert said in readme
    keys = ROWS["backward_keys"]
    assert 0.5 < 1 - keys["instructions"] / keys["cycles a token"] < 0.6
    said = f"{keys['µs'] / 1000:.1f} ms: {keys['instructions']:,.0f} instructions a"
    assert f"`backward_keys` takes {said} token" in readme
    cells = json.loads(CHAPTER.read_text("utf-8"))["cells"]
    (text,) = (x for c in cells if "`table.cu` is" in (x := "".join(c["source"])))
    assert f"predicted {both} (8,4096,768)" in text
    assert f"at least {bytes_ms} (" in text


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
