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

LIMITS = "compute, µs", "bytes, µs"

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


def test_warps_of_a_block_wait_for_the_last_and_others_do_not():
    work = tuple(instruction("FADD", f" R{i}, R60, R61 ") for i in range(40))
    meet = (instruction("BAR.SYNC.DEFER_BLOCKING", " 0x0 "),)
    late = (LOAD, USE, *work, *meet)
    together = predicted.cycles_of((late, (*work, *meet)), (0, 0))
    assert together > predicted.MEMORY_LATENCY
    apart = predicted.cycles_of(((*work, *meet), (*work, *meet)), (0, 1))
    assert apart == pytest.approx(2 * 41, rel=0.05)


@needs_nvrtc
@needs_nvdisasm
def test_a_warp_of_one_pass_goes_through_the_sums_of_the_tiles_before_its_own():
    """The scheduler with most to do has the last warp and the one four before it."""
    kernels = predicted.listed(SOURCE, torch.bfloat16)
    for name in ("forward_in_one_pass", "backward_in_one_pass"):
        bodies, tokens, _, warps = kernels[name]
        assert (tokens, warps, len(bodies)) == (128, 8, 2)
        last, before = map(len, bodies)
        assert last - before == 4 * 27  # what it takes to read a sum and to merge it
        meetings = [[x.unit for x in body].count("MEETING") for body in bodies]
        assert meetings == [1, 1]


def test_what_is_left_out_of_one_pass_is_in_its_text():
    for old, _ in predicted.UNEVEN:
        assert SOURCE.on_gpu.count(old) == 1


@pytest.mark.parametrize("shape", predicted.SHAPES, ids=str)
def test_the_rule_is_never_slower_than_one_chunk_and_close_to_the_best(shape):
    rows = [row for row in RECORD["rows"] if row["(B, T, C)"] == str(shape)]
    (classic,) = (row["both, µs"] for row in rows if row["classic"])
    times = {row["chunks"]: row["both, µs"] for row in rows if not row["classic"]}
    (chosen,) = (row["chunks"] for row in rows if row["chosen"])
    length = shape[1]
    assert chosen == predicted.cut(length, predicted.chosen(shape), 16)[0]
    assert len(times) >= 6 and times[chosen] <= min(times[1], classic)
    assert times[chosen] <= 1.01 * min(times.values())


def test_sixteen_chunks_would_lose_to_one_pass_and_more_would_not():
    """Why the rule wants seventeen: fewer are for texts with channels enough."""
    times = {}
    for shape in ("(4, 4096, 768)", "(1, 4096, 2048)"):
        rows = [row for row in RECORD["rows"] if row["(B, T, C)"] == shape]
        times |= {(shape, x["chunks"]): x["both, µs"] for x in rows if not x["classic"]}
    assert times["(4, 4096, 768)", 1] < times["(4, 4096, 768)", 16]
    assert times["(1, 4096, 2048)", 24] < times["(1, 4096, 2048)", 1]


@needs_nvrtc
@needs_nvdisasm
def test_a_prediction_is_what_the_machine_code_says_today():
    dtype, shape = getattr(torch, RECORD["dtype"]), tuple(RECORD["shape"])
    kernels = predicted.listed(SOURCE, dtype)
    rows = predicted.predict(kernels, dtype, shape, 1, ["forward"])
    assert list(rows) == RECORD["kernels"][:1]


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
    found += re.findall(r"211, for (\d+ µs) \| out \|", README)
    assert len(found) == 5 and found[2:] == 3 * [total]
    states = 2 * math.prod(RECORD["shape"]) / predicted.BANDWIDTH / predicted.SUSTAINED
    copy = RECORD["floor"] / predicted.SUSTAINED
    parts = re.search(
        r"Of the (\d+ µs) a copy .* take (\d+), .*\n.* pass (\d+)\.\n", README
    )
    assert list(parts.groups()) == [total, f"{copy:.0f}", f"{1e6 * states:.0f}"]
    limits = [[f"{row[x]:.0f}" for row in rows.values()] for x in LIMITS]
    sentence = "takes {} µs forward and {} backward, where the bytes\ntake {} and {}"
    assert sentence.format(*limits[0], *limits[1]) in README


def test_arithmetic_is_a_little_longer_than_memory():
    """In one pass, on the multiprocessors that have two blocks, as the README says."""
    for row in RECORD["kernels"]:
        assert 1 < row["compute, µs"] / row["bytes, µs"] < 1.2
