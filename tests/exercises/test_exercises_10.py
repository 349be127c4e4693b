"""What checks of chapter 10 say about right answers and about the usual mistakes."""

import shutil
from functools import cached_property, partial
from itertools import product

import pytest
import torch
from helpers.exercises import Answer, all_heard, of, told

from rwkv_book.compiled.source import replaced
from rwkv_book.exercises import chapter_10
from rwkv_book.rwkv4 import threads, trial
from rwkv_book.rwkv4.fused import from_source
from rwkv_book.rwkv4.kernels import SOURCE

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
MERGE = "real smaller = exponential(gap < 0 ? gap : -gap);"
THE_WRONG, THE_RIGHT = "decay(carried, 1)", "decay(carried, steps)"
ON_NO_SCALE = """DEVICE Sums merge(Sums x, Sums y, real w) {
  real of_x = exponential(x.log_scale - x.age * w);
  real of_y = exponential(y.log_scale - y.age * w);
  return {of_x * x.num + of_y * y.num, of_x * x.den + of_y * y.den, real{}, real{}};
}"""


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


class Here(Answer):
    """One whose kernels run to their end and do no harm."""

    @cached_property
    def said(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trial, "attempt", attempt_here)
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
        (7, "Count numbers"),
    ),
    *of(
        "10.2",
        (65, "Right."),
        (32, "replay alone"),
        (64, "there is the scan"),
        (66, "over one border only"),
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
        (("decay(sums, 1)", "decay(sums, steps)"), "stands in 3 places"),
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
    *of("10.4", (merging(), "Right.")),
    *of("10.5", (5, "Right.")),
]
IN_THIS_PROCESS = [
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

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_a_kernel_is_told_its_sentence = needs_compiler(told(KERNELS))
test_no_sentence_goes_without_an_answer = needs_compiler(
    all_heard(chapter_10, ANSWERS + KERNELS)
)
