"""The page's evaluator says what `diagnose` says, to hundreds of answers."""

import importlib
import json
import random
import re
import struct
from itertools import chain, combinations, permutations
from pathlib import Path

import pytest
from helpers.javascript import STATIC, javascript

from rwkv_book.exercises import CHECKS, diagnose, export
from rwkv_book.exercises.answers import (
    ChoiceQuestion,
    NameQuestion,
    NumberQuestion,
    OrderQuestion,
    span_of,
)
from tools import contents
from tools.notebooks import plain_markdown

EVALUATE = STATIC / "answers" / "evaluate.js"
CHAPTERS = sorted(
    path.stem.removeprefix("chapter_")
    for path in Path(export.__file__).parent.glob("chapter_*.py")
)
WRITTEN = """
7 | 7.0 | 07 | +7 | -7 | \u22127 | 7. | .5 | 1e3 | 1E-3 | 1.5e+2 | 1e999 | -1e999
1,500 | 12,345,678.9 | 1_000 | 1_5 | 1,50,000 | 1,5 | 12.345,6 | 12 345,6 | 1 500
1 500.5 | 1.000.000 | 50% | 50 % | 1,500% | 1e999% | 0.00001% | 1/3 | 2 * (3 + 4)
2**10 | 3-1 | (1+2) | 7 tokens | 7tokens | 1,500 bytes | 102.9 steps | 1e3x | 7\u00b2
7\u2167 | 7 \u00b5s | 7\u20ac | $7 | seven | nan | inf | -inf | infinity | 0x10 | 1__0
- | . | e5 | 1e | --7 | \u0667 | \uff17 | <b>7</b> | 7;8 | [7] | 7,\u00a0000
1\u202f500 | \u00a07\u00a0 | \ufeff7 | {answer} | 0 | -0 | 1.00.000
"""
TEXTS = [text.strip(" \n") for text in WRITTEN.replace("\n", "|").split("|")]
TEXTS += [
    "",
    "   ",
    "\t7\n",
    "7 a\nb",
    "7\u2028",
    "7 a\u2028b",
    "9" * 400,
    "x" * 20_000,
]
TEXTS += [
    "x" * 20_000,
    "1" + ",000" * 3000,
    "1-" * 5000 + "x",
    " " * 5000 + "7",
    "\U0001f600",
]
EXERCISE = re.compile(r":::\{exercise\} (.+)\n:label: ex-(\d\d)-(\d+)")


def answers(question):
    """Answers to a question: what is right, each mistake, what is near them, others.

    Of an order of six names or fewer, every order; of letters, every choice.
    """
    if isinstance(question, ChoiceQuestion):
        letters = question.letters
        sizes = range(len(letters) + 1)
        chosen = chain.from_iterable(combinations(letters, size) for size in sizes)
        return [*map(list, chosen), list("abba"), list("zB"), ["?"]]
    if isinstance(question, NameQuestion):
        known = [*question.right, *question.mistakes]
        near = [name[:-1] for name in known] + [f"{name} 2" for name in known]
        spelt = [name.upper().replace(" ", "-") + " " for name in known]
        return known + near + spelt + TEXTS
    if isinstance(question, OrderQuestion):
        names = question.right
        odd = [[], list(names[:-1]), [*names, names[0]], [names[0]] * len(names), ["x"]]
        return [list(order) for order in permutations(names)][:720] + odd
    values = []
    for known in (question.right, *question.mistakes):
        low, high = span_of(known, question.relative, question.absolute)
        edge = max(abs(low), abs(high), 1e-300)
        values += [low, high, (low + high) / 2, low - 1e-9 * edge, high + 1e-9 * edge]
    return [repr(float(value)) for value in values] + TEXTS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_page_says_what_the_kernel_says(chapter):
    data = json.loads(export.script_text(export.of_chapter(chapter)))
    asked = [
        (number, answer)
        for number in data
        if data[number]["kind"] != "code"
        for answer in answers(CHECKS[number])
    ]
    said = javascript(
        "([question, answer]) => evaluate.judged(question, answer)",
        [(data[number], answer) for number, answer in asked],
        [EVALUATE],
    )
    for (number, answer), found in zip(asked, said, strict=True):
        wanted = diagnose(number, answer)
        assert found["text"] == wanted, (number, str(answer)[:80])
        assert found["right"] == wanted.startswith("Right.")


def test_every_question_has_its_data():
    kinds = {
        NumberQuestion: "number",
        OrderQuestion: "order",
        ChoiceQuestion: "choice",
        NameQuestion: "name",
    }
    for chapter in CHAPTERS:
        importlib.import_module(f"rwkv_book.exercises.chapter_{chapter}")
        for number, data in export.of_chapter(chapter).items():
            assert data["kind"] == kinds.get(type(CHECKS[number]), "code")


def test_every_check_of_a_chapter_has_a_field_in_the_page():
    titles = {
        f"{chapter}.{number}": title
        for page in contents.chapters()
        for cell in plain_markdown.cells(page)
        for title, chapter, number in EXERCISE.findall(cell.source)
    }
    checks = [number for number, title in titles.items() if "(check" in title]
    assert len(titles) > 80 and len(checks) > 30
    kinds = {n: d["kind"] for c in CHAPTERS for n, d in export.of_chapter(c).items()}
    assert not [number for number in checks if kinds[number] == "code"]


@pytest.mark.parametrize("spec", ["g", ",.0f", ".2f", ".2e"])
def test_numbers_are_written_as_python_writes_them(spec):
    draw = random.Random(0)
    values = [0.0, -0.0, 0.5, 1.5, 2.5, 0.125, 1234565, 999999.5, 1e21, 5e-324, 9.995]
    values += [draw.uniform(-1, 1) * 10 ** draw.randint(-9, 25) for _ in range(500)]
    bits = [struct.pack("<Q", draw.getrandbits(62)) for _ in range(200)]
    values += [struct.unpack("<d", one)[0] for one in bits]
    said = javascript(
        "([value, spec]) => evaluate.formatted(Number(value), spec)",
        [(repr(value), spec) for value in values],
        [EVALUATE],
    )
    assert said == [format(value, spec) for value in values]


def test_an_order_is_not_to_be_read_in_the_data():
    question = CHECKS["05.4"]
    shown = export.script_text(export.exported("05.4", question)["right"])
    assert not any(name in shown for name in question.right)


def test_neither_letters_nor_a_name_are_to_be_read_in_the_data():
    letters = export.exported("08.2", CHECKS["08.2"])
    assert letters["right"] == 4 and letters["names"] == list("abcdefg")
    assert not set(letters["mistakes"]) & set("abcdefg")
    name = export.exported("16.2", CHECKS["16.2"])
    assert "gated" not in export.script_text(name["right"]).lower()


def test_no_text_ends_the_script_that_holds_it():
    text = export.script_text({"a": "</script><!-- & \u2028"})
    assert "<" not in text and "&" not in text
    assert json.loads(text) == {"a": "</script><!-- & \u2028"}
