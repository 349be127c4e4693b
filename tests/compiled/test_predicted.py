"""The model of a scheduler does on a few instructions what can be counted by hand."""

import gpu_rungs
import predicted
import pytest
from predicted import cycles_of_a_tile, instruction

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
    store = instruction("STG.E", " [R2.64], R6 ")
    assert store.writes == () and set(store.reads) == {"R2", "R3", "R6"}


def test_a_warp_waits_for_memory_and_others_work_meanwhile():
    one = cycles_of_a_tile([LOAD, USE], 1)
    assert one >= predicted.MEMORY_LATENCY
    assert cycles_of_a_tile([LOAD, USE], 8) < 1.1 * one


def test_loads_that_no_one_waits_for_are_in_flight_together():
    others = [instruction("LDG.E", f" R{8 + i}, [R2.64] ") for i in range(8)]
    together = cycles_of_a_tile([*others, *(8 * [USE])], 1)
    in_a_row = [
        (load, instruction("FADD", f" R40, R{8 + i}, R5 "))
        for i, load in enumerate(others)
    ]
    apart = cycles_of_a_tile([x for pair in in_a_row for x in pair], 1)
    assert apart > 5 * together


@pytest.mark.parametrize(
    ("name", "cycles"), [("FADD", 1), ("ISETP", 2), ("MUFU.EX2", 8)]
)
def test_without_waiting_a_unit_sets_the_pace(name, cycles):
    body = [instruction(name, f" R{i}, R60, R61 ") for i in range(40)]
    assert cycles_of_a_tile(body, 4) == pytest.approx(4 * 40 * cycles, rel=0.02)


def test_the_loop_over_tiles_is_the_innermost_long_one():
    row = "        /*{:04x}*/                   FADD R6, R4, R5 ;"
    text = LISTING.format("\n".join(row.format(16 * i) for i in range(200)))
    assert len(predicted.tile_loop(text)) == 201
    assert predicted.used_registers(text) == 7


def test_warps_that_find_no_room_wait_for_those_before_them():
    assert list(predicted.waves(5, 2)) == [2, 2, 1]


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
    assert gpu_rungs.resident(registers) == warps
