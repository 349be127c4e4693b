"""The machine for PTX computes what the manual says, and sees every fault."""

import math
import re

import numpy as np
import pytest
import torch
from helpers.kernels import needs_compiler

from tools.ptx import machine
from tools.ptx.program import bits_of, programs

pytestmark = needs_compiler
KERNEL = """
.shared .align 4 .b8 together[8];
.visible .entry kernel(
	.param .u64 kernel_param_0,
	.param .u64 kernel_param_1
)
{
	.local .align 16 .b8 	__local_depot0[32];
	.reg .pred 	%p<9>;

	ld.param.u64 	%rd1, [kernel_param_0];
	ld.param.u64 	%rd2, [kernel_param_1];
	mov.u32 	%r1, %tid.x;
	mul.wide.u32 	%rd3, %r1, 4;
	add.s64 	%rd4, %rd1, %rd3;
	add.s64 	%rd5, %rd2, %rd3;
BODY
	ret;
}
"""  # %rd4 and %rd5 point to this thread's numbers of 32 bits in two arrays


def run(body, *arrays, count=1, **options):
    """Run a body of PTX on two arrays, with so many threads."""
    program = programs(KERNEL.replace("BODY", body))["kernel"]
    arrays = (*arrays, np.zeros(count, "u4"), np.zeros(count, "u4"))[:2]
    memory = [(x.ctypes.data, x.nbytes) for x in arrays]
    words = [begin for begin, _ in memory]
    machine.run(program, words, 1, count, memory, **options)


def result(name, *operands, bits=32, units=False):
    """What an instruction gives for its operands, as that many bits."""
    text = f"{name} %d, " + ", ".join(str(x) for x in operands) + ";"
    found = np.zeros(1, f"u{bits // 8}")
    run(f"{text}\nst.global.b{bits} [%rd1], %d;", found, units=units)
    return int(found[0])


@pytest.mark.parametrize(
    ("name", "operands", "wanted"),
    [
        ("add.s32", (-5, 3), 2**32 - 2),
        ("sub.s32", (3, 5), 2**32 - 2),
        ("mul.lo.s32", (65537, 65537), 131073),
        ("mul.hi.u32", (2**31, 6), 3),
        ("mad.lo.s32", (7, 6, -2), 40),
        ("div.s32", (-7, 2), 2**32 - 3),
        ("div.u32", (2**32 - 7, 2), 2**31 - 4),
        ("rem.s32", (-7, 2), 2**32 - 1),
        ("min.s32", (-1, 1), 2**32 - 1),
        ("min.u32", (-1, 1), 1),
        ("max.s32", (-1, 1), 1),
        ("neg.s32", (1,), 2**32 - 1),
        ("abs.s32", (-9,), 9),
        ("and.b32", (12, 10), 8),
        ("or.b32", (12, 10), 14),
        ("xor.b32", (12, 10), 6),
        ("not.b32", (0,), 2**32 - 1),
        ("shl.b32", (3, 4), 48),
        ("shl.b32", (3, 32), 0),
        ("shr.u32", (2**31, 31), 1),
        ("shr.u32", (2**31, 32), 0),
        ("shr.s32", (-8, 1), 2**32 - 4),
        ("shr.s32", (-8, 99), 2**32 - 1),
        ("bfi.b32", (5, 2**31 + 2**8, 7, 2), 2**31 + 2**7),
        ("cvt.u32.u16", (65535,), 65535),
        ("cvt.s32.s16", (65535,), 2**32 - 1),
        ("cvt.u32.u64", (2**32 + 3,), 3),
        ("mov.b32", ("{1, 2}",), 2**17 + 1),
        ("cvt.rzi.s32.f32", (bits_of(-2.7),), 2**32 - 2),
        ("cvt.rzi.s32.f32", (bits_of(1e10),), 2**31 - 1),
        ("cvt.rn.f16.f32", (bits_of(65519.9),), 0x7BFF),
        ("cvt.rn.f16.f32", (bits_of(65520),), 0x7C00),
        ("cvt.rn.f16.f32", (bits_of(-(2.0**-24)),), 0x8001),
        ("cvt.rn.bf16.f32", (bits_of(1 + 3 * 2.0**-8),), 0x3F82),
        ("cvt.rn.bf16.f32", (bits_of(1 + 2.0**-8),), 0x3F80),
    ],
)  # fmt: skip
def test_an_instruction_on_integers_gives(name, operands, wanted):
    assert result(name, *operands) == wanted


def bits(x):
    return int(bits_of(x)[2:], 16)


@pytest.mark.parametrize(
    ("name", "operands", "wanted"),
    [
        ("add.f32", (1, 2.0**-24), 1),
        ("sub.f32", (1, 2), -1),
        ("mul.f32", (3, -0.5), -1.5),
        ("fma.rn.f32", (1 + 2.0**-23, 1 - 2.0**-23, -1), -(2.0**-46)),
        ("div.rn.f32", (1, 4), 0.25),
        ("neg.f32", (0,), -0.0),
        ("abs.f32", (-3,), 3),
        ("min.f32", (math.nan, 3), 3),
        ("max.f32", (2, 3), 3),
        ("ex2.approx.f32", (-1.5,), 2**-1.5),
        ("ex2.approx.f32", (-130,), 2.0**-130),
        ("ex2.approx.ftz.f32", (-130,), 0),
        ("rcp.approx.ftz.f32", (4,), 0.25),
        ("rcp.approx.ftz.f32", (2.0**127,), 0),
        ("div.full.f32", (1, 4), 0.25),
    ],
)
def test_an_instruction_on_floats_gives(name, operands, wanted):
    assert result(name, *map(bits_of, operands)) == bits(wanted)


def test_blocks_and_threads_stand_in_a_line():
    for axis in "yz":
        for name, wanted in {"tid": 0, "ctaid": 0, "ntid": 1, "nctaid": 1}.items():
            assert result("mov.u32", f"%{name}.{axis}") == wanted
    assert result("mov.u32", "WARP_SZ") == 32


def test_a_byte_fills_the_register_that_it_comes_into():
    for t, wanted in {"u8": 250, "s8": 2**32 - 6}.items():
        found = np.array([250 + 7 * 256], "u4")
        run(f"ld.global.{t} %r2, [%rd4]; st.global.u32 [%rd4], %r2;", found)
        assert found[0] == wanted
        assert result(f"cvt.s32.{t}", 250 + 7 * 256) == wanted
    found = np.zeros(1, "u4")
    run("st.global.v2.u8 [%rd1], {258, 3};", found)
    assert found[0] == 2 + 3 * 256


def test_a_comparison_with_what_is_no_number_is_false_unless_it_says_so():
    nan, one = bits_of(math.nan), bits_of(1)
    for name, wanted in {"lt": 0, "ge": 0, "ne": 0, "geu": 1, "neu": 1}.items():
        found = np.zeros(1, "u4")
        run(
            f"setp.{name}.f32 %p1, {nan}, {one};\nselp.b32 %r2, 1, 0, %p1;\n"
            "st.global.u32 [%rd1], %r2;",
            found,
        )
        assert found[0] == wanted, name


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_every_number_of_16_bits_is_read_and_rounded_as_torch_does(kind):
    every = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(kind)
    name = "f16" if kind == torch.float16 else "bf16"
    given, found = every.view(torch.uint16).numpy(), np.zeros(2**16, "u4")
    body = f"""
	shr.u64 %rd6, %rd3, 1;
	add.s64 %rd7, %rd1, %rd6;
	ld.global.b16 %rs1, [%rd7];
	cvt.f32.{name} %f1, %rs1;
	st.global.f32 [%rd5], %f1;
	cvt.rn.{name}.f32 %rs2, %f1;
	st.global.b16 [%rd7], %rs2;"""
    given = given.copy()
    run(body, given, found, count=2**16, watch=False)
    assert torch.equal(
        torch.from_numpy(found.view("f4")).nan_to_num(7), every.float().nan_to_num(7)
    )
    again = torch.from_numpy(given).view(kind)
    assert torch.equal(again.nan_to_num(7), every.nan_to_num(7))
    between = torch.from_numpy(np.linspace(-70000, 70000, 1001, dtype="f4"))
    between = torch.cat([between, between * 1e-9, between * 1e-6])
    rounded = [
        result(f"cvt.rn.{name}.f32", bits_of(x), bits=16)
        for x in between[::37].tolist()
    ]
    wanted = between[::37].to(kind).view(torch.uint16)
    assert rounded == wanted.tolist()


def test_approximate_instructions_are_as_wrong_as_they_may_be_and_always_alike():
    errors = set()
    for x in np.linspace(-3, 3, 101, dtype="f4"):
        exact, found = (
            result("ex2.approx.f32", bits_of(x), units=units) for units in (False, True)
        )
        assert found == result("ex2.approx.f32", bits_of(x), units=True)
        errors.add(found - exact)
    assert errors == {-2, -1, 0, 1, 2}


def test_a_guard_a_loop_and_a_vector():
    found = np.zeros(4, "u4")
    run(
        """
	mov.u64 %SPL, __local_depot0;
	mov.u32 %r2, 0;
$AGAIN:
	add.s32 %r2, %r2, 1;
	setp.lt.s32 %p1, %r2, 10;
	@%p1 bra $AGAIN;
	@!%p1 bra $ON;
	mov.u32 %r2, 99;
$ON:
	st.local.v2.u32 [%SPL+8], {%r2, 7};
	ld.local.v2.u32 {%r3, %r4}, [%SPL+8];
	st.global.v4.u32 [%rd1], {%r3, %r4, 5, 6};""",
        found,
    )
    assert found.tolist() == [10, 7, 5, 6]


WRITE, READ = "st.global.u32 [%rd4], %r1;", "ld.global.u32 %r2, [%rd4];"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("ld.global.u32 %r2, [%rd4+8];", "O"),
        ("st.global.u32 [%rd4+-4], %r1;", "O"),
        ("st.global.u32 [%rd4+-4], %r1;", "O"),
        ("ld.global.u32 %r2, [%rd1+2];", "A"),
        ("ld.global.v2.u32 {%r2, %r3}, [%rd1+4];", "A"),
        ("st.global.u32 [%rd1], %r1;", "W"),
        (f"{WRITE} ld.global.u32 %r2, [%rd1];", "R"),
        (f"ld.global.u32 %r2, [%rd1]; {WRITE}", "R"),
        (f"{WRITE} ld.global.nc.u32 %r2, [%rd4];", "C"),
        ("add.s32 %r2, %r3, 1;", "U"),
        ("@%p3 bra $ON;\n$ON:", "U"),
        ("mov.u64 %SPL, __local_depot0; ld.local.u32 %r2, [%SPL];", "U"),
        ("mov.u64 %SPL, __local_depot0; st.local.u32 [%SPL+32], 1;", "O"),
        ("div.u32 %r2, 1, 0;", "0"),
    ],
)
def test_a_fault_is_seen(body, kind):
    """Two threads, each of which has a place of its own in an array of two."""
    for order in ((0, 1), (1, 0)):
        with pytest.raises(machine.Fault, match=re.escape(machine.FAULTS[kind])):
            run(body, np.zeros(2, "u4"), np.zeros(2, "u4"), count=2, threads=order)


# Of what two threads share: this one's number, and the other one's.
OWN = """
	mov.u64 %rd6, together;
	add.s64 %rd7, %rd6, %rd3;
	xor.b64 %rd8, %rd3, 4;
	add.s64 %rd8, %rd6, %rd8;
	st.shared.u32 [%rd7], %r1;"""
OTHER, BARRIER = "ld.shared.u32 %r2, [%rd8];", "bar.warp.sync -1;"
ALL_MEET = "bar.sync 0;"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("ld.shared.u32 %r2, [together];", "U"),
        ("st.shared.u32 [together+8], 1;", "O"),
        ("st.shared.u32 [together+2], 1;", "A"),
        ("st.shared.u32 [together], 1;", "W"),
        (f"{OWN} {OTHER}", "U"),
        (f"{OWN} {BARRIER} {OWN} {OTHER}", "R"),
        (f"{OWN} {BARRIER} {OTHER} {OWN}", "R"),
        (f"{OWN} setp.eq.s32 %p1, %r1, 0; @%p1 bra $ON; {BARRIER}\n$ON:", "B"),
        (f"{OWN} {ALL_MEET} {OWN} {OTHER}", "R"),
        (f"{OWN} setp.eq.s32 %p1, %r1, 0; @%p1 bra $ON; {ALL_MEET}\n$ON:", "B"),
        (f"{OWN} bar.sync 1; {OTHER}", "B"),
    ],
)
def test_a_fault_in_what_threads_share_is_seen(body, kind):
    for order in ((0, 1), (1, 0)):
        with pytest.raises(machine.Fault, match=re.escape(machine.FAULTS[kind])):
            run(body, count=2, threads=order)


def test_threads_exchange_numbers_at_a_barrier():
    for order in ((0, 1), (1, 0)):
        found = np.zeros(2, "u4")
        body = f"{OWN} {BARRIER} {OTHER} {BARRIER} {OWN} st.global.u32 [%rd4], %r2;"
        run(body, found, count=2, threads=order)
        assert found.tolist() == [1, 0]


def test_what_is_allowed_is_no_fault():
    numbers = np.zeros(2, "u4")
    run(f"{WRITE}{READ}{WRITE}", numbers, count=2)
    run("ld.global.u32 %r2, [%rd1]; ld.global.nc.u32 %r2, [%rd1];", numbers, count=2)
    assert numbers.tolist() == [0, 1]


def test_a_thread_that_does_not_end_is_stopped():
    with pytest.raises(machine.Fault, match="does not end"):
        run("$AGAIN:\n bra.uni $AGAIN;", patience=1000)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bar.arrive 0, 64;", r"line \d+: no meaning is known of bar\.arrive"),
        ("add.s32 %r2, %r1, nonsense;", "an operand is not known: 'nonsense'"),
        ("mov.u32 %r2, %laneid;", "an operand is not known: '%laneid'"),
        ("mov.u64 %rd6, %clock64;", "an operand is not known: '%clock64'"),
    ],
)
def test_what_is_not_known_is_named(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(text)
