"""What checks of chapter 10 say about right answers and about the usual mistakes."""

import shutil
from functools import cached_property, partial
from itertools import product

import pytest
import torch
from helpers.exercises import Answer, all_heard, of, told

from rwkv_book.compiled import cpu, nvrtc
from rwkv_book.compiled.source import replaced
from rwkv_book.exercises import chapter_10
from rwkv_book.rwkv4 import threads, trial
from rwkv_book.rwkv4.fused import from_source
from rwkv_book.rwkv4.kernels import SOURCE

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
MERGE = "real smaller = exponential(-absolute(gap));"
THE_WRONG, THE_RIGHT = "decay(carried, 1)", "decay(carried, steps)"
ON_NO_SCALE = """DEVICE Sums merge(Sums x, Sums y, real w) {
  real of_x = exponential(x.log_scale - x.age * w);
  real of_y = exponential(y.log_scale - y.age * w);
  return {of_x * x.num + of_y * y.num, of_x * x.den + of_y * y.den, real{}, real{}};
}"""

SHIFT = """
__global__ void shift(const float* x, const float* mix, float* out,
                      int B, int T, int C) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= B * T * C) return;
  int c = i % C, t = i / C % T;
  float before = t > 0 ? x[i - C] : 0;
  out[i] = mix[c] * x[i] + (1 - mix[c]) * before;
}"""
BY_TOKEN = """
__global__ void shift(const float* x, const float* mix, float* out,
                      int B, int T, int C) {
  int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= B * T) return;
  for (int c = 0; c < C; c++) {
    float before = row % T ? x[(row - 1) * C + c] : 0;
    out[row * C + c] = mix[c] * x[row * C + c] + (1 - mix[c]) * before;
  }
}"""
BY_CHANNEL = """
__global__ void shift(const float* x, const float* mix, float* out,
                      long long B, long long T, long long C) {
  long long i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < B * C) {
    float before = 0;  // a thread a channel: it goes through the text
    for (long long t = 0; t < T; t++) {
      long long at = (i / C * T + t) * C + i % C;
      out[at] = mix[i % C] * x[at] + (1 - mix[i % C]) * before;
      before = x[at];
    }
  }
}"""


def shift(old, new):
    """The kernel for token shift with one place changed."""
    return replaced(SHIFT, old, new)


ROWS = """
__global__ void shift(const float* x, const float* mix, float* out,
                      int B, int T, int C) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= C) return;
  float before = 0;
  for (int row = blockIdx.y; row < B * T; row += gridDim.y) {
    if (row % T == 0) before = 0;
    out[row * C + c] = mix[c] * x[row * C + c] + (1 - mix[c]) * before;
    before = x[row * C + c];
  }
}"""
ON_A_PLANE = shift(
    "int i =",
    "int c0 = blockIdx.x * blockDim.x + threadIdx.x; if (c0 >= C) return;"
    "int i = blockIdx.y * C +",
)
ALONE = (
    shift(
        "int i = blockIdx.x * blockDim.x + threadIdx.x;\n  if (i >= B * T * C) return;",
        "if (threadIdx.x + blockIdx.x) return; for (int i = 0; i < B * T * C; i++) {",
    )
    + "}"
)
CALLED = "__device__ __noinline__ float old(const float* x, int i) { return x[i]; }\n"
CALLED += shift("x[i - C]", "old(x, i - C)")
LAST = "  out[i] = t < T ? out[i] : 0;\n}"


def swap(old, new):
    return replaced(SOURCE.text, old, new)


def merging(old="", new=""):
    """The source with a merge on no scale, and a mistake in it."""
    merge = replaced(ON_NO_SCALE, old, new) if old else ON_NO_SCALE
    return SOURCE.text.replace(SOURCE.part("merge"), merge)


class WithoutCompiler(Answer):
    @property
    def said(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", "")
            return super().said


def attempt_here(text):
    """What `trial.attempt` gives, without a process that imports PyTorch first."""
    form = from_source(text)
    found = {
        (scale, chunks): trial.outputs(partial(form, chunks=chunks), scale)
        for scale, chunks in product(trial.SCALES, trial.CHUNKS)
    }
    return found | {"one step": trial.one_step(text)}


class OnNoGpu(Answer):
    """One of which NVRTC would complain."""

    @cached_property
    def said(self):
        def complaint(text):
            raise nvrtc.Complaint("it is not known on a GPU")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chapter_10.nvrtc, "ptx", complaint)
            return super().said


class Here(Answer):
    """One whose kernels run to their end and do no harm, however slowly."""

    @cached_property
    def said(self):
        slowly = [flag.replace("-O3", "-O0") for flag in cpu.FLAGS]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trial, "attempt", attempt_here)
            patch.setattr(cpu, "FLAGS", slowly)  # a third of the compiler's time
            return super().said


def test_two_chunks_take_65_ticks():
    arguments = [torch.ones(4), torch.ones(4), *torch.ones(2, 1, 64, 4)]
    _, steps = threads.run(*arguments, chunks=2, slots=64)
    assert steps[-1].tick + 1 == 65


ANSWERS = [
    *of(
        "10.1",
        (45, "Right."),
        (45.07, "Right."),
        (90.1, "2 bytes, not 4"),
        (30.05, "have to be written"),
        (75.1, "That is the backward pass"),
        (120.2, "forward alone"),
        (15.02, "That is one array"),
        (0.04507, "not in milliseconds"),
        (45.07e-6, "not in seconds"),
        (360.6, "Those are bits"),
        (5.63, "B = 8"),
        (7, "Count numbers"),
    ),
    *of(
        "10.2",
        (65, "Right."),
        (33, "both count"),
        (32, "replay alone"),
        (64, "walks over the first one"),
        (66, "passes one chunk only"),
        (97, "last chunk is not summed"),
        (129, "at the same time"),
        (128, "at the same time"),
        (5, "Add the ticks"),
    ),
    *of(
        "10.3",
        (5, "should be two texts"),
        (SOURCE.text, "should be two texts"),
        ((chapter_10.with_a_planted_bug(), SOURCE.text), "more than a line"),
        (("x.age - y.age) / w", "x.age - y.age) * w"), "does not stand in the text"),
        (("", THE_RIGHT), "does not stand in the text"),
        (("decay(sums, 1)", "decay(sums, steps)"), "stands in 2 places"),
        ((THE_WRONG, THE_WRONG), "are the same"),
    ),
    *of("10.4", (5, "source, as a text")),
    *of("10.5", (16, "try another one"), (2.5, "1, 2, 3"), (0, "1, 2, 3")),
    WithoutCompiler(
        "10.3", (THE_WRONG, THE_RIGHT), "no g++ here to compile your kernel"
    ),
    WithoutCompiler("10.4", SOURCE.text, chapter_10.INSTALL),
]
AS_READERS_DO = [  # in a process of its own
    *of(
        "10.3",
        ((THE_WRONG, THE_RIGHT), "Right."),
        ((THE_WRONG, "decay(carried, stepz)"), "did not run: ‘stepz"),
        ((THE_WRONG, "decay(carried, -steps)"), "An age came out that no token has"),
    ),
]
IN_THIS_PROCESS = [
    *of("10.4", (merging(), "Right.")),
    *of("10.5", (5, "Right.")),
    *of(
        "10.3",
        ([f"merge({THE_WRONG}, load", f"merge({THE_RIGHT}, load"], "Right."),
        ((THE_WRONG, "decay(carried, chunk - 1)"), "with three they are still wrong"),
        (("x.age - y.age) * w", "y.age - x.age) * w"), "with one chunk, too"),
        (
            (THE_WRONG, "decay(carried, reverse ? 1 : steps)"),
            "but not grad_decay_rate",
        ),
    ),
    *of(
        "10.4",
        (SOURCE.text, "survives keys of 300"),
        (swap(MERGE, "real smaller = exponential(gap);"), "for keys of 1 already"),
        (merging("real{}, real{}", "x.log_scale, real{}"), "comes back as their scale"),
        (merging("real{}, real{}", "real{}, x.age"), "the age that comes back is 1"),
        (
            merging("exponential(x.log_scale - x.age * w)", "exponential(x.log_scale)"),
            "have not faded",
        ),
        (merging("x.log_scale - x.age", "x.log_scale + x.age"), "grow with their age"),
        (
            merging(
                "of_x * x.num + of_y * y.num, of_x * x.den + of_y * y.den",
                "of_y * x.num + of_x * y.num, of_y * x.den + of_x * y.den",
            ),
            "are swapped",
        ),
        (
            merging(
                "of_x * x.num + of_y * y.num, of_x * x.den + of_y * y.den",
                "x.num + y.num, x.den + y.den",
            ),
            "added as they are",
        ),
    ),
]
KERNELS = AS_READERS_DO + [
    Here(each.number, each.answer, each.sentence) for each in IN_THIS_PROCESS
]

GUARD, FAST = "  if (i >= B * T * C) return;\n", "warps touch 258 sectors"
SHIFTS = [
    *of(
        "10.6",
        (SHIFT, f"Right. All 370 numbers, whichever thread comes first; its {FAST}"),
        (BY_CHANNEL, "Right."),
        (5, "should be a kernel, as a text"),
        (BY_TOKEN, "let neighbouring threads have neighbouring channels"),
        (shift(GUARD, ""), "the last one has threads too many"),
        (shift("blockIdx.x * blockDim.x + ", ""), "begins again in every block"),
        (shift(" + threadIdx.x", ""), "threadIdx.x has to be added"),
        (shift("out[i]", "out[i / 2]"), "should belong to one thread"),
        (shift("x[i - C]", "out[i - C]"), "threads come in any order"),
        (shift("t > 0 ?", "t >= 0 ?"), "none before it: take 0 there"),
        (shift("t > 0 ?", "i >= C ?"), "ask whether t is 0"),
        (shift(": 0;", ": x[i];"), "not the token itself"),
        (shift("t > 0 ? x[i - C]", "t + 1 < T ? x[i + C]"), "hears the token after"),
        (shift("x[i - C]", "x[i - 1]"), "the channel next door"),
        (shift("i % C", "i"), "the channel is i % C"),
        (shift("i % C", "i / C"), "It takes mix by the token"),
        (shift("i % C", "i / C % T"), "It takes mix by the token"),
        (
            shift("c = i % C, t = i / C % T", "c = i / T % C, t = i % T").replace(
                "x[i - C]", "x[i - 1]"
            ),
            "neighbours in memory for neighbouring tokens",
        ),
        (
            SHIFT.replace("mix[c]", "m").replace(
                "int c", "float m = 1 - mix[i % C]; int c"
            ),
            "The shares are swapped",
        ),
        (shift("(1 - mix[c]) * ", ""), "comes in whole"),
        (shift("(1 - mix[c]) * ", "mix[c] * "), "Both tokens have the share"),
        (shift(": 0;", ": 0; before = x[i];"), "This token has both shares"),
        (shift("x[i - C]", "x[i - T]"), "T numbers back"),
        (shift("out[i] =", "out[i] +="), "write to it with ="),
        (shift("(1 - mix[c]) * ", "2 * "), "line by line"),
        (shift("out[i] =", "if (t > 0) out[i] ="), "Of 370 numbers in out, 74"),
        (shift("out[i] =", "out[i] = out[i] +"), "made of what stood there before"),
        (shift("int B, int T, int C", "int C, int T, int B"), "as B, T and C, in this"),
        (shift("x[i - C]", "0"), "is never heard: is `before` still 0"),
        (shift("float before", "int before"), "lost what is behind its point"),
        (
            shift("int c =", "for (int j = 0; j < C; j++) out[j] = 0; int c ="),
            "out[0], and so does thread 44 of block 1. Every",
        ),
        (shift("float before", "flowt before"), "does not run: line 7: "),
        (shift("__global__ ", ""), "should be one `__global__ void"),
        (shift("shift(", "__launch_bounds__(64) mine("), "Right."),
        (SHIFT.removesuffix("}"), "each { needs its }: it has 1 and 0"),
        ("#include <cstdio>" + SHIFT, "an #include finds no file"),
        (SHIFT + "int main() { shift<<<6, 64>>>(); }", "the launch comes from here"),
        ("template <class F>" + SHIFT, "a template is no kernel yet"),
        (shift("float before", "static float before"), "one of the thread's own"),
        (shift("const float* x", "const float x[]"), "x[]` is of no type known here"),
        (shift("int C)", "int C = 37)"), "C = 37` is of no type known here"),
        (SHIFT.replace("float*", "double*"), "write float* or const float*"),
        (shift("x[i - C]", "*(&x[i] - C)"), "write x + i for &x[i]"),
        (SHIFT.replace("int B, int T, int C", ""), "It should take const float*"),
        (shift("int c =", "__shared__ float y; int c ="), "threads that run together"),
        (shift("int c =", "while (true) out[i] = 0; int c ="), "not come to an end"),
        (shift("i % C", "i % (T - T)"), "divides an integer by 0"),
        (ROWS, "Right."),
        (
            ON_A_PLANE,
            "Of 370 numbers in out, 333 are never written. Blocks and threads",
        ),
        (shift(" * blockDim.x", " * blockDim.x * blockDim.y + threadIdx.y"), "Right."),
        (ALONE, "give every number a thread of its own"),
        (shift("int i", "unsigned i").replace("t > 0", "i - C >= 0"), "was below 0"),
        (shift("t > 0 ?", "t > 1 ?"), "second token hears nothing"),
        (shift("i / C % T", "i / C / T"), "the text's number for the token's"),
        (shift("(1 - mix[c])", "1 - mix[c]"), "1 - mix needs parentheses"),
        (
            SHIFT.replace("mix[c]", "m").replace("int c", "int m = 0, c"),
            "mix has become",
        ),
        (replaced(ROWS, "before = x[", "before = out["), "hears what came out"),
        (shift("x, const float* mix", "mix, const float* x"), "x, mix and out: x is"),
        (shift("x[i - C]", "x[0, t - 1, c]"), "in C++ x[b, t, c] is x[c]"),
        (shift("int c =", "# its channel\n  int c ="), "begins with //, not with #"),
        (f"```{SHIFT}\n```", "the lines of ``` belong to a page"),
        (SHIFT + "\nint main() { return 0; }", "the launch comes from here"),
        (shift("__global__", "static __global__"), "take static away"),
        ("__constant__ float one = 1;" + SHIFT, "write constexpr if it never changes"),
        ("__device__ float one = 1;" + SHIFT, "write constexpr if it never changes"),
        ("__device__ constexpr int N = 64;" + shift("blockDim.x", "N"), "Right."),
        (
            shift("int c =", 'printf("%d", i); int c ='),
            "nobody sees here what a kernel",
        ),
        (shift("int c =", "assert(i >= 0); int c ="), "an assert stops more"),
        (shift("int c =", "float* y = new float[C]; int c ="), "no memory to ask for"),
        (shift("return;", "exit(0);"), "a thread ends with return"),
        (shift("int c = i % C, t", "c = i % C; int t"), "scope: give it a type where"),
        (shift("threadIdx.x", "threadIdx"), "as in threadIdx.x."),
        (shift("out[i] =", "float* to = &out[i]; *to ="), "write out + i for &out[i]"),
        (shift("(1 - mix[c])", "max(1 - mix[c], 0)"), "as in max(y, 0.f)"),
        (SHIFT.removesuffix("}") + LAST, "beside out[i] a 0 has to be 0.f"),
        (shift("out[i] =", "int y; out[i] = y ="), "right up to the point"),
        (SHIFT.removesuffix("}") + LAST.replace(": 0", ": 0.f"), "Right."),
        (shift("i % C", "i % (warpSize + C - 32)"), "Right."),
        (shift("x[i - C]", "__ldg(x + i - C)"), "Right."),
        (CALLED, "Right."),
    ),
    OnNoGpu("10.6", SHIFT, "whose compiler says: it is not known on a GPU"),
    WithoutCompiler("10.6", SHIFT, "To install it: apt-get"),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_a_kernel_from_nothing_is_told_its_sentence = needs_compiler(told(SHIFTS))
test_a_kernel_is_told_its_sentence = needs_compiler(told(KERNELS))
test_no_sentence_goes_without_an_answer = needs_compiler(
    all_heard(chapter_10, ANSWERS + KERNELS + SHIFTS)
)
