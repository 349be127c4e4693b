"""A reader's kernel by a GPU's own instructions: `python -m tools.ptx my_kernel.cu`."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from exercises.test_exercises_10 import (
    BY_CHANNEL,
    BY_TOKEN,
    CALLED,
    ON_A_PLANE,
    ROWS,
    SHIFT,
    shift,
)
from helpers.kernels import a_compiler, needs_compiler
from helpers.ptx.nvrtc import needs_nvrtc

from rwkv_book.compiled.warps import Fault
from tools.contents import ROOT
from tools.ptx.__main__ import main
from tools.ptx.kernel import launch

UNSIGNED = shift("int i =", "unsigned i =")
BYTES = shift("t > 0 ?", "t > flags[c % 4] ?").replace(
    "  float before",
    "  char flags[4];\n"
    "  for (int j = 0; j < 4; j++) flags[j] = (j - c % 4) * 120;\n  float before",
)
WRONG = {
    "outside": (
        shift("  if (i >= B * T * C) return;\n", ""),
        r"(reads x|writes out)\[3\d\d\], which is not there.* let those return",
    ),
    "race": (
        shift("x[i - C]", "out[i - C]"),
        r"meet in out\[\d+\]: one writes .*Read from x, write to out",
    ),
    "twice": (
        shift("blockIdx.x * blockDim.x + ", ""),
        r"writes out\[\d+\], and so does thread \d+ of block \d.*in every block",
    ),
    "before": (
        shift("t > 0 ?", "t >= 0 ?"),
        r"reads x\[-\d+\], which is not there: .*take 0 there",
    ),
    "mix": (shift("mix[c] *", "mix[t * C] *"), r"reads mix\[\d+\].*is i % C"),
    "the numbers": (shift("t > 0 ?", "i >= C ?"), "ask whether t is 0"),
    "endless": (shift("int c =", "while (true) out[i] = 0; int c ="), "does not end"),
    "NVRTC's complaint": (shift("float before", "flowt before"), "line 7: identifier"),
    "a whole number": (shift("float before", "int before"), "behind its point"),
    "a number nobody wrote": (
        shift(
            "before = t > 0 ? x[i - C] : 0;", "before; if (t > 0) before = x[i - C];"
        ),
        "reads what nobody wrote: give it a value first",
    ),
    "no header": ("#include <cstdio>" + SHIFT, "an #include finds no file"),
    "a function on no GPU": (
        "float one() { return 1; }" + shift("(1 -", "(one() -"),
        "line 1: beside a kernel, a function is __device__",
    ),
    "another axis": (ON_A_PLANE, "333 are never written. Blocks and threads stand in"),
    "below 0": (
        shift("int i", "unsigned i").replace("t > 0", "i - C >= 0"),
        r"reads x\[4294967\d+\], which is not there.*It was below 0",
    ),
    "print": (shift("int c =", 'printf("%d", i); int c ='), "nobody sees here"),
    "a function apart": (CALLED, "take __noinline__ away"),
    "recursion": (
        "__device__ float sum(const float* x, int n) {\n"
        "  return n ? sum(x, n / 2) * 0.5f + sum(x, n / 3) : x[0];\n}"
        + shift("float before = t > 0", "float before = T > 5 ? sum(x, t) : t > 0"),
        "a function that calls itself as a loop",
    ),
    "the clock": (
        shift("int c =", "if (clock() == 7) return; int c ="),
        "an operand is not known: '%clock.*ask exercises.check",
    ),
    "no instruction": (
        shift("(1 - mix[c])", "__sinf(1 - mix[c])"),
        "gives up: line .* no meaning is known of sin.*ask exercises.check",
    ),
}


@pytest.fixture
def said(tmp_path, capsys):
    """What the command says of a kernel."""

    def say(text):
        path = tmp_path / "my_kernel.cu"
        path.write_text(text)
        main([str(path)])
        return capsys.readouterr().out

    return say


@needs_compiler
@needs_nvrtc
@pytest.mark.parametrize("text", [SHIFT, UNSIGNED, BYTES, ROWS, BY_CHANNEL, BY_TOKEN])
def test_a_right_kernel_is_right_instruction_by_instruction(text, said):
    assert re.match(r"Right\. 384 threads did [12]\d,", said(text))


@needs_compiler
@needs_nvrtc
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_kernel_is_told_what_is_wrong(name, said):
    text, sentence = WRONG[name]
    with pytest.raises(SystemExit, match=f"Not yet.*{sentence}"):
        said(text)


@needs_compiler
@needs_nvrtc
def test_instructions_are_counted_and_arrays_keep_their_shapes():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    body = "if (threadIdx.x < n) out[threadIdx.x] = 2 * x[threadIdx.x];"
    text = f"__global__ void it(const float* x, float* out, int n) {{ {body} }}"
    one, two = (launch(text, [x, 0 * x, n], 1, block=8) for n in (6, 3))
    assert np.array_equal(one.arrays["out"], 2 * x)
    assert two.arrays["out"].tolist() == [[0, 2, 4], [0, 0, 0]]
    returned = one.instructions - two.instructions  # what three threads do beyond it
    assert one.threads == 8 and returned > 0 and returned % 3 == 0


@needs_compiler
@needs_nvrtc
def test_an_access_that_is_not_aligned_is_no_crash():
    body = "((double*)out)[0] = 1; *(double*)(out + 1) = 2;"
    text = f"__global__ void it(float* out) {{ {body} }}"
    with pytest.raises(Fault, match="thread 0 of block 0 is not aligned"):
        launch(text, [np.zeros(4, np.float32)], 1, block=1)


def test_without_the_packages_for_cuda_it_says_which_and_what_else(tmp_path):
    path = tmp_path / "my_kernel.cu"
    path.write_text(SHIFT)
    program = (
        "import sys; sys.modules['cuda'] = None  # not to be found\n"
        f"from tools.ptx.__main__ import main; main([{str(path)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PATH": str(a_compiler(tmp_path / "bin", "exit 1"))},
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"The packages that reach a GPU are missing .*: install 'rwkv-book.cuda.', or "
        r"let exercises\.check.*run your kernel\.\n",
        done.stderr,
    )


def test_what_is_missing_is_named(said, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"nothing\.cu can't be read as a text"):
        main([str(tmp_path / "nothing.cu")])

    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"no g\+\+ to build the machine with"):
        said(SHIFT)
