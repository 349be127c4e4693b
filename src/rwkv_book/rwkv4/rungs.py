"""`wkv.cu` as it was, rung by rung: what made it faster on a GPU, one edit at a time.

An edit is a place of the text as it is now, and what stood there before. The first rung
undoes all of them; each of the next ones takes one back, or cuts time into chunks. The
last one is `one_pass.cu`.
"""

from dataclasses import replace
from typing import NamedTuple

from rwkv_book.compiled.source import replaced
from rwkv_book.rwkv4.kernels import SOURCE


class Edit(NamedTuple):
    """A place of wkv.cu, or of hardware.h: what stood there, and what stands there."""

    before: str
    now: str


class Rung(NamedTuple):
    """A step of the ladder: its edits are those that are not made yet."""

    name: str
    chunks: int
    undone: tuple
    one_pass: bool = False


EDITS = {
    "tiles": [Edit("constexpr int TILE = 1;", "constexpr int TILE = 16;")],
    "loads": [
        Edit(
            """if (i < rows) {
    const stored* row = from + i * C;""",
            """if (LANES == 1 || i < rows) {
    const stored* row = from + (i < rows ? i : rows - 1) * C;""",
        )
    ],
    "walk": [
        Edit(
            "sums = load(first + at.batch * 4 * C + at.channel, C, at.lanes);",
            "sums = entering(at, T, C, chunks, chunk, w, first, parts, false);",
        )
    ],
    "bounds": [Edit("void name(", "void __launch_bounds__(32, WARPS) name(")],
    "instructions": [
        Edit(
            "  return __expf(x);\n",
            """  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
  return y;
""",
        ),
        Edit("#if 0  //", "#if __CUDA_ARCH__ >= 800  //"),
        Edit(
            "  return x / y;\n",
            """  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(y));
  return x * inverse;
""",
        ),
        Edit("exponential(gap < 0 ? gap : -gap)", "exponential(-absolute(gap))"),
    ],
    "whole tiles": [
        Edit(
            """for (index t = begin; t < end; t += TILE) {
      int rows = least(TILE, end - t);
      index row = (at.batch * T + t) * C + at.channel;
      index tile =""",
            """each_tile(begin, end, [&](index t, int rows) INLINE {
      index row = (at.batch * T + t) * C + at.channel;
      index tile =""",
        ),
        Edit("}\n    if (end == T)", "});\n    if (end == T)"),
    ],
}
LATER = ("bounds", "instructions", "whole tiles")
ONE_CHUNK = ("walk", *LATER)  # which begins with the first state
RUNGS = (
    Rung("a token at a time", 1, ("tiles", "loads", *ONE_CHUNK)),
    Rung("16 tokens at a time", 1, ("loads", *ONE_CHUNK)),
    Rung("reads without a branch", 1, ONE_CHUNK),
    Rung("time in 8 chunks", 8, LATER),
    Rung("launch bounds", 8, LATER[1:]),
    Rung("the chip's instructions", 8, LATER[2:]),
    Rung("whole tiles", 8, ()),
    Rung("one pass", 1, (), one_pass=True),
)


def source(rung):
    """The Source of a rung: wkv.cu with some edits undone."""
    text, hardware = SOURCE.text, SOURCE.hardware
    on_gpu = SOURCE.on_gpu if rung.one_pass else ""
    for name in rung.undone:
        for edit in EDITS[name]:
            if edit.now in text:
                text = replaced(text, edit.now, edit.before)
            else:
                hardware = replaced(hardware, edit.now, edit.before)
    return replace(SOURCE, text=text, hardware=hardware, kept=False, on_gpu=on_gpu)
