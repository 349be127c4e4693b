"""The text of kernels is read in parts, changed, and joined with the hardware."""

import subprocess
from dataclasses import replace

import pytest
from helpers.kernels import TIMES, needs_compiler, times

from rwkv_book.compiled import cpu
from rwkv_book.compiled.source import HARDWARE, replaced


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("every", "// So many times every number.", "}"),
        ("times", "DEVICE real times(real x) {", "x * (scalar)FACTOR; }"),
        ("Pair", "struct Pair {", "real one, other; };"),
    ],
)
def test_a_part_is_cut_out_with_its_comment(name, first, last):
    part = times.part(name)
    assert part in TIMES and part.startswith(first) and part.endswith(last)
    assert part.count("{") == part.count("}")


@pytest.mark.parametrize(("name", "count"), [("nonsense", 0), ("times", 2)])
def test_a_part_that_is_not_one_is_refused(name, count):
    twice = replace(times, text=TIMES + times.part("times"))
    with pytest.raises(ValueError, match=f"times.cu has {count} parts called '{name}'"):
        twice.part(name)


def test_a_change_has_one_place():
    assert replaced("abc", "b", "x") == "axc"
    for text, count in (("abcb", 2), ("ac", 0)):
        with pytest.raises(ValueError, match=f"'b' is in the text {count} times"):
            replaced(text, "b", "x")


def test_a_number_is_read_from_the_text():
    assert times.number("FACTOR") == 2
    for text in ("", "constexpr int FACTOR = N;", 2 * TIMES):
        with pytest.raises(ValueError, match=r"times\.cu must have one line `const"):
            replace(times, text=text).number("FACTOR")


def test_the_parameters_of_a_kernel_are_counted():
    assert times.parameters == {"every": 3}
    times.check("every", (1, 2, 3))
    with pytest.raises(TypeError, match=r"every of times\.cu takes 3 arguments, got 2"):
        times.check("every", (1, 2))
    with pytest.raises(TypeError, match=r"times\.cu has no KERNEL\(nothing, "):
        times.check("nothing", (1, 2))


@needs_compiler
@pytest.mark.parametrize("changed", ["text", "hardware"])
def test_a_compiler_counts_the_lines_of_the_text_that_is_wrong(changed):
    texts = {"text": TIMES, "hardware": HARDWARE}
    names = {"text": "times.cu", "hardware": "hardware.h"}
    lines = texts[changed].splitlines()
    end = 5 + lines[5:].index("")  # between two definitions
    lines[end] = "nonsense;"
    source = replace(times, **{changed: "\n".join(lines) + "\n"}, kept=False)
    with pytest.raises(RuntimeError, match=rf"{names[changed]}:{end + 1}:\d+: error"):
        cpu.library(source, "float")


@needs_compiler
def test_no_word_of_the_hardware_is_about_one_kernel():
    """It compiles with no kernel behind it."""
    subprocess.run(
        ["g++", *cpu.FLAGS, "-DSTORED=float", "-fsyntax-only", "-"],
        input=HARDWARE.encode(),
        check=True,
    )
