"""The model of a scheduler does on a few instructions what can be counted by hand."""

import math
import re
from pathlib import Path

import gpu_rungs
import predicted
import pytest
import torch
from helpers.ptx.nvrtc import needs_nvdisasm, needs_nvrtc
from predicted import cycles_of_a_tile, instruction

from rwkv_book import results
from rwkv_book.rwkv4 import rungs
from rwkv_book.rwkv4.kernels import SOURCE

(RECORD,) = results.of("predicted")
(LADDER,) = results.of("gpu-rungs")
README = Path(predicted.__file__).with_name("README.md").read_text("utf-8")

LOAD = instruction("LDG.E.U16.CONSTANT", " R4, [R2.64] ")
USE = instruction("FADD", " R6, R4, R5 ")
LISTING = """
.L_x_1:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
.L_x_2:
{}
        /*0990*/              @!P0 BRA `(.L_x_2) ;
        /*09a0*/               @P1 BRA `(.L_x_1) ;
"""


def test_what_an_instruction_reads_and_writes():
    assert LOAD.writes == ("R4",) and set(LOAD.reads) == {"R2", "R3"}
    assert LOAD.latency == predicted.MEMORY_LATENCY
    wide = instruction("IMAD.WIDE", " R8, R4, 0x2, R6 ")
    assert set(wide.writes) == {"R8", "R9"} and set(wide.reads) == {"R4", "R6"}
    four = instruction("LDS.128", " R48, [R96+0x2000] ")
    assert set(four.writes) == {"R48", "R49", "R50", "R51"} and four.reads == ("R96",)
    store = instruction("STG.E", " [R2.64], R6 ")
    assert store.writes == () and set(store.reads) == {"R2", "R3", "R6"}


def test_a_warp_waits_for_memory_and_others_work_meanwhile():
    one = cycles_of_a_tile((LOAD, USE), 1)
    assert one >= predicted.MEMORY_LATENCY
    assert cycles_of_a_tile((LOAD, USE), 8) < 1.1 * one


def test_loads_that_no_one_waits_for_are_in_flight_together():
    others = [instruction("LDG.E", f" R{8 + i}, [R2.64] ") for i in range(8)]
    together = cycles_of_a_tile((*others, *(8 * [USE])), 1)
    in_a_row = [
        (load, instruction("FADD", f" R40, R{8 + i}, R5 "))
        for i, load in enumerate(others)
    ]
    apart = cycles_of_a_tile(tuple(x for pair in in_a_row for x in pair), 1)
    assert apart > 5 * together


@pytest.mark.parametrize(
    ("name", "cycles"), [("FADD", 1), ("ISETP", 2), ("MUFU.EX2", 8)]
)
def test_without_waiting_a_unit_sets_the_pace(name, cycles):
    body = tuple(instruction(name, f" R{i}, R60, R61 ") for i in range(40))
    assert cycles_of_a_tile(body, 4) == pytest.approx(4 * 40 * cycles, rel=0.02)


def test_the_loop_over_tiles_is_the_innermost_long_one():
    row = "        /*{:04x}*/                   FADD R6, R4, R5 ;"
    text = LISTING.format("\n".join(row.format(16 * i) for i in range(200)))
    assert len(predicted.tile_loop(text)) == 201
    assert predicted.used_registers(text) == 7


def test_warps_that_find_no_room_wait_for_those_before_them():
    two, one = (cycles_of_a_tile((LOAD, USE), warps) for warps in (2, 1))
    assert predicted.cycles_of_all((LOAD, USE), 5, 2) == 2 * two + one


def test_reads_that_wait_for_each_other_are_counted_as_trips():
    others = [instruction("LDG.E", f" R{8 + i}, [R2.64] ") for i in range(4)]
    uses = [instruction("FADD", f" R40, R{8 + i}, R5 ") for i in range(4)]
    assert gpu_rungs.waits([*others, *uses]) == (4, 1, 4)
    apart = [x for pair in zip(others, uses, strict=True) for x in pair]
    assert gpu_rungs.waits(apart) == (4, 4, 1)


@pytest.mark.parametrize(
    ("registers", "warps"), [(30, 16), (78, 6), (168, 3), (174, 2)]
)
def test_registers_say_how_many_warps_find_room(registers, warps):
    assert predicted.resident(registers) == warps


def test_a_walk_reads_the_sums_of_some_chunks_at_once_and_waits_for_them():
    reads = [f" R{8 + i}, [R2.64] " for i in range(2 * predicted.STATE)]
    loads = [instruction("LDG.E", operands) for operands in reads]
    walk = (*loads, instruction("FADD", " R6, R8, R15 "))
    one = predicted.walked(walk, 2, 1)
    assert predicted.MEMORY_LATENCY <= one < 1.1 * predicted.MEMORY_LATENCY
    assert predicted.walked(walk, 3, 1) == one == predicted.walked(walk, 4, 1) / 2
    assert predicted.walked(walk, 1, 1) == predicted.walked((), 8, 1) == 0


def test_the_walk_over_chunks_is_short_beside_the_tiles():
    for row in RECORD["kernels"]:
        walks = row["kernel"] in ("forward", "backward")
        assert (row["walk, µs"] > 0) == walks
        assert row["walk, µs"] < row["compute, µs"] / 20


@pytest.mark.parametrize("shape", predicted.SHAPES, ids=str)
def test_the_rule_is_never_slower_than_one_chunk_and_close_to_the_best(shape):
    rows = [row for row in RECORD["rows"] if row["(B, T, C)"] == str(shape)]
    times = {row["chunks"]: row["both, µs"] for row in rows}
    (chosen,) = (row["chunks"] for row in rows if row["chosen"])
    length = shape[1]
    assert chosen == predicted.cut(length, predicted.chosen(shape), 16)[0]
    assert len(times) >= 6 and times[chosen] <= times[1]
    assert times[chosen] <= 1.01 * min(times.values())


def test_two_chunks_would_lose_somewhere():
    """Why the rule wants three: with this many sums two are already enough."""
    times = {
        row["chunks"]: row["both, µs"]
        for row in RECORD["rows"]
        if row["(B, T, C)"] == "(32, 1024, 768)"
    }
    assert times[2] > times[1]


@needs_nvrtc
@needs_nvdisasm
def test_a_prediction_is_what_the_machine_code_says_today():
    dtype, shape = getattr(torch, RECORD["dtype"]), tuple(RECORD["shape"])
    kernels = predicted.listed(SOURCE, dtype)
    rows = predicted.predict(kernels, dtype, shape, 8, ["forward"])
    assert list(rows) == RECORD["kernels"][:2]


def test_the_readme_says_what_is_recorded():
    part = README.partition("`predicted.py` **predicts**")[2].partition("What to look")[
        0
    ]
    rows = [row for row in RECORD["rows"] if row["chosen"]]
    chosen = {row["(B, T, C)"].replace(" ", ""): row for row in rows}
    said = re.findall(r"([\d.]+)(?: floors)?\s+at\s+(\([\d,]+\))", part)
    assert len(said) == 4
    for floors, shape in said:
        assert floors == f"{chosen[shape]['floors']:.1f}", shape
    assert f"{chosen['(8,4096,768)']['both, µs']:.0f} µs" in part
    first, *_, last = (
        sum(row["predicted, µs"] for row in LADDER["rows"] if row["rung"] == rung.name)
        for rung in rungs.RUNGS
    )
    floor = LADDER["floor"]
    assert f"from {first / floor:.1f}\nfloors to {last / floor:.1f}" in part


def test_the_readme_says_what_is_recorded_of_the_shape_that_it_speaks_of():
    """Every time that is not an older text's: what to measure, and where it goes."""
    rows = {row["kernel"]: row for row in RECORD["kernels"]}
    total = f"{sum(row['all, µs'] for row in rows.values()):.0f} µs"
    assert f"| {total} at (8,4096,768), predicted |" in README
    found = re.findall(r"\d+ to (\d+ µs)[^|]*\| in \|", README)
    found += re.findall(r"(\d+ µs) as before", README)
    assert len(found) == 3 and found[-2:] == [total, total]
    twice = [row["bytes, µs"] for name, row in rows.items() if predicted.is_sum(name)]
    states = 2 * math.prod(RECORD["shape"]) / predicted.BANDWIDTH / predicted.SUSTAINED
    copy = RECORD["floor"] / predicted.SUSTAINED
    parts = re.search(
        r"Of the (\d+ µs) a copy .* take (\d+), .*\n.* takes (\d+), .* (\d+)\.\n",
        README,
    )
    said = [f"{x:.0f}" for x in (copy, sum(twice), 1e6 * states)]
    assert list(parts.groups()) == [total, *said]
    for one_pass, name in predicted.PASSES.values():  # which a look back would save
        saved = rows[one_pass]["all, µs"] + rows[name]["walk, µs"]
        assert f"{saved:.0f} µs less {name}" in README
    assert f": {rows['sum_adjoints']['instructions']:.0f} instructions" in README


@needs_nvrtc
@needs_nvdisasm
def test_pieces_that_fit_a_cache_cost_in_launches_what_they_save():
    dtype, shape = getattr(torch, RECORD["dtype"]), tuple(RECORD["shape"])
    whole, by_time, by_text = RECORD["pieces"]
    kernels = predicted.listed(SOURCE, dtype)
    found = predicted.in_pieces(kernels, dtype, shape, (1, 4), by_time["chunks"])
    assert found == by_time["both, µs"]
    said = (
        f"gradients, {by_time['read twice, MB']:.0f} MB, are in the L2 cache (50 MB; "
    )
    assert said in README and f"; {by_time['more launches']} more launches |" in README
    times = [f"{x['both, µs']:.0f}" for x in (by_time, by_text, whole)]
    now = f"{sum(row['all, µs'] for row in RECORD['kernels']):.0f} µs"
    assert f"{times[0]} for {now}, and by texts instead of time {times[1]};" in README
    assert f"at once, {times[2]}, or {whole['floors']:.1f} floors" in README


def test_three_chunks_lose_a_little_of_the_forward_pass():
    """As the README says; what they gain in the backward pass is more."""
    for shape in map(str, predicted.SHAPES):
        rows = [row for row in RECORD["rows"] if row["(B, T, C)"] == shape]
        (cut,) = (row["forward, µs"] for row in rows if row["chosen"])
        assert rows[0]["chunks"] == 1 and cut <= 1.05 * rows[0]["forward, µs"]


def test_memory_limits_all_kernels_but_one():
    slow = {x["kernel"] for x in RECORD["kernels"] if x["compute, µs"] > x["bytes, µs"]}
    assert slow == {"sum_adjoints"}
