"""What the checks of chapter 8 say about right answers and about the usual mistakes."""

import shutil

import pytest

from rwkv_book.compiled.source import replaced
from rwkv_book.exercises import chapter_08, diagnose
from rwkv_book.rwkv4.kernels import SOURCE

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
MERGE = "real smaller = exponential(gap < 0 ? gap : -gap);"
ON_NO_SCALE = """DEVICE Sums merge(Sums x, Sums y, real w) {
  real of_x = exponential(x.log_scale - x.age * w);
  real of_y = exponential(y.log_scale - y.age * w);
  return {of_x * x.num + of_y * y.num, of_x * x.den + of_y * y.den, real{}, real{}};
}"""


@pytest.mark.parametrize(
    ("number", "answer"), [("08.1", 45.07), ("08.1", 45), ("08.2", 65)]
)
def test_a_right_number_is_right(number, answer):
    assert diagnose(number, answer).startswith("Right.")


@pytest.mark.parametrize(
    ("number", "answer", "sentence"),
    [
        ("08.1", 90.1, "2 bytes, not 4"),
        ("08.1", 30.05, "have to be written"),
        ("08.1", 75.1, "That is the backward pass"),
        ("08.1", 120.2, "forward alone"),
        ("08.1", 15.02, "That is one array"),
        ("08.1", 0.04507, "not in milliseconds"),
        ("08.1", 45.07e-6, "not in seconds"),
        ("08.1", 7, "Count numbers"),
        ("08.2", 32, "replay alone"),
        ("08.2", 64, "there is the scan"),
        ("08.2", 66, "over one border only"),
        ("08.2", 97, "last chunk is not summed"),
        ("08.2", 129, "at the same time"),
        ("08.2", 128, "at the same time"),
        ("08.2", 5, "Add the ticks"),
        ("08.3", 5, "source, as a text"),
        ("08.4", 5, "source, as a text"),
        ("08.5", 16, "try another one"),
        ("08.5", 2.5, "1, 2, 3"),
        ("08.5", 0, "1, 2, 3"),
    ],
)
def test_a_usual_mistake_is_named(number, answer, sentence):
    found = diagnose(number, answer)
    assert found.startswith("Not yet.") and sentence in found, found


def swap(old, new):
    return replaced(SOURCE.text, old, new)


def without_maximum():
    return SOURCE.text.replace(SOURCE.part("merge"), ON_NO_SCALE)


@needs_compiler
@pytest.mark.parametrize(
    ("number", "answer"),
    [("08.3", lambda: SOURCE.text), ("08.4", without_maximum), ("08.5", lambda: 5)],
)
def test_a_right_kernel_is_right(number, answer):
    assert diagnose(number, answer()).startswith("Right."), diagnose(number, answer())


@needs_compiler
@pytest.mark.parametrize(
    ("number", "text", "sentence"),
    [
        ("08.3", chapter_08.with_a_planted_bug, "still is the text that you got"),
        ("08.3", lambda: swap(chapter_08.AGES, "x.age * w"), "with three not"),
        ("08.3", lambda: swap(chapter_08.AGES, "(y.age - x.age) * w"), "with one"),
        ("08.3", lambda: swap(chapter_08.AGES, "x.agee * w"), "did not run: ‘struct"),
        ("08.3", lambda: swap("-now.log_scale, -now.age}", "-now.log_scale, now.age}"),
         "but not grad_decay_rate"),
        ("08.3", lambda: swap("carried = merge(decay(carried, steps)",
                              "carried = merge(decay(carried, -steps)"),
         "An age came out that no token has"),
        ("08.3", without_maximum, "With keys of 300, these are wrong: out"),
        ("08.4", lambda: SOURCE.text, "survives keys of 300"),
        ("08.4", lambda: swap(MERGE, "real smaller = one;"), "for keys of 1 already"),
    ],
)  # fmt: skip
def test_a_usual_mistake_in_a_kernel_is_named(number, text, sentence):
    found = diagnose(number, text())
    assert found.startswith("Not yet.") and sentence in found, found


def test_where_there_is_no_compiler_the_check_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for number in ("08.3", "08.4"):
        found = diagnose(number, SOURCE.text)
        assert "no g++ here" in found and "install" in found
