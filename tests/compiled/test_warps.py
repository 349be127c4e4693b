"""What the machine for one `__global__` function sees, by kernels that do one thing."""

import numpy as np
import pytest
from helpers.kernels import needs_compiler

from rwkv_book.compiled.warps import Fault, launch

pytestmark = needs_compiler
TWICE = """
__global__ void twice(const float* __restrict__ x, float *out, int n) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = 2 * x[i];  // the last block has too many threads
}"""


def kernel(body):
    return f"__global__ void it(const float* x, float* out, int n) {{ {body} }}"


I = "int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return; "  # noqa: E741


def run(text, size=100, **options):
    x = np.arange(size, dtype=np.float32)
    return launch(text, [x, np.full(size, np.nan, np.float32), size], size, **options)


@pytest.mark.parametrize("block", [1, 32, 64])
def test_every_number_has_its_thread(block):
    found = run(TWICE, block=block)
    assert np.array_equal(found.arrays["out"], 2 * np.arange(100))
    assert np.array_equal(found.arrays["x"], np.arange(100))


def test_neighbours_share_sectors_and_strangers_do_not():
    size = 1024
    for stride, sectors in ((1, size // 8), (2, size // 4), (8, size), (32, size)):
        found = run(
            kernel(I + f"out[i] = x[i * {stride} % n + i * {stride} / n];"), size
        )
        assert found.sectors == {"x": sectors, "out": size // 8}
        assert found.least == {"x": size // 8, "out": size // 8}


def test_a_number_that_all_threads_of_a_warp_read_travels_once_for_it():
    found = run(kernel(I + "out[i] = x[0];"), 128)
    assert found.sectors["x"] == found.least["x"] == 4


def test_a_row_that_does_not_begin_with_a_sector_takes_one_more():
    found = run(kernel(I + "out[i] = i ? x[i - 1] : 0;"), 128)
    assert (found.sectors["x"], found.least["x"]) == (4 + 3 * 5, 16)


def test_numbers_are_counted_once_for_a_warp():
    found = run(kernel(I + "out[i] = x[i] + x[i / 2];"), 128)
    assert found.numbers == {"x": 128 + 64, "out": 128}


def test_blocks_and_threads_stand_in_a_line():
    for axis in "yz":
        body = f"threadIdx.{axis} + blockIdx.{axis} + 10 * blockDim.{axis}"
        found = run(kernel(I + f"out[i] = {body} + 100 * gridDim.{axis};"))
        assert np.array_equal(found.arrays["out"], np.full(100, 110))


def test_what_the_compiler_says_is_english_whatever_the_reader_speaks(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with pytest.raises(
        Fault, match="'j' was not declared in this scope: give it a type"
    ):
        run(kernel(I + "out[j] = 1;"))


def test_pointers_may_be_moved_and_numbers_changed_where_they_are():
    body = (
        "const float* here = x + i; float* to = out; to += i; *to = *here; to[0] *= 3;"
    )
    found = run(kernel(I + body))
    assert np.array_equal(found.arrays["out"], 3 * np.arange(100))


def test_the_order_of_threads_is_another_for_another_seed():
    """One thread's number is kept where all write, as on a GPU: so it is a fault."""
    met = set()
    for seed in range(4):
        with pytest.raises(Fault) as found:
            run(kernel(I + "out[0] = i;"), seed=seed)
        assert found.value.kind == "twice"
        met.add(tuple(found.value.threads))
    assert len(met) > 1


FAULTS = {
    "reads": (I + "out[i] = x[i + 1];", r"reads x\[100\].* x has 100 numbers"),
    "writes": (
        "out[blockIdx.x * blockDim.x + threadIdx.x] = 1;",
        r"writes out\[1\d\d\]",
    ),
    "twice": (I + "out[i / 2] = 1;", r"so does thread \d+ of block"),
    "race": (I + "out[i] = 1 + out[n - 1 - i];", "one writes what the other reads"),
    "endless": (I + "while (true) out[i] = 1;", "does not come to an end"),
    "divides": (I + "out[i] = i % (n - 100);", "by 0"),
    "compiler": (I + "x[i] = 1;", "line 1: "),
    "together": (I + "__syncthreads();", "threads that run together"),
    "crash": (I + "int y[4]; out[i] = y[n * 10000000];", "broke the process"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_seen_and_said(kind):
    body, sentence = FAULTS[kind]
    with pytest.raises(Fault, match=sentence) as found:
        run(kernel(body))
    assert found.value.kind == kind


def test_what_waits_for_nothing_is_stopped():
    with pytest.raises(Fault, match=r"within 0\.5 seconds"):
        run(kernel("volatile int y = 0; while (!y);"), patience=0.5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("void it() {}", "and 0 are"),
        (TWICE + TWICE, "and 2 are"),
        (
            "// __global__ void it(int n) {\n" + TWICE.replace("int n", "bool n"),
            "bool n",
        ),
    ],
)
def test_a_text_that_is_no_kernel_is_refused(text, sentence):
    with pytest.raises(Fault, match=sentence):
        run(text)


def test_arguments_are_what_the_parameters_ask_for():
    x = np.zeros(3, np.float32)
    for arguments in ([x, x], [x, x, x], [x, 1, 3], [x.astype(float), x, 3]):
        with pytest.raises(ValueError, match=r"arguments|should be"):
            launch(TWICE, arguments, 3)


def test_without_a_compiler_there_is_a_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="no g\\+\\+"):
        run(TWICE)
