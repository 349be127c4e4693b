"""Each exercise that only Python can check has a worked wrong answer on its page."""

import importlib
import re
import shutil

import pytest
from helpers.exercises import of, told

from rwkv_book import language
from rwkv_book.exercises import export, slips
from tools.contents import chapters
from tools.notebooks import translated
from tools.notebooks.plain_markdown import cells

CHAPTERS = [f"{chapter:02d}" for chapter in range(1, 17)]
OF_CODE = [
    number
    for chapter in CHAPTERS
    for number, data in export.of_chapter(chapter).items()
    if data["kind"] == "code"
]
TO_BUILD = [
    number.replace("-", ".")
    for page in chapters()
    for cell in cells(page)
    for number in re.findall(r"{exercise}.*\(build.*\n:label: ex-(.+)", cell.source)
]
# What each slip is told: a mistake that has a sentence of its own, no fallback.
SENTENCES = {
    "01.3": "The input gate comes first",
    "01.4": "forgets that both answered the same questions",
    "01.5": "has changed too: copy it",
    "01.6": "behind the end of a review",
    "02.3": "A product of 0 has the weight",
    "02.4": "not of the tokens in the cache",
    "02.5": "tril(-1) takes a diagonal away",
    "03.3": "does not hear itself",
    "03.4": "Only num fades",
    "03.5": "These keys are orthogonal",
    "04.3": "A neighbour has faded",
    "04.4": "faded by one step, not by `length`",
    "05.3": "not from those of the last ending",
    "05.5": "made at probability `least` itself",
    "06.3": "hand the state of one piece to the next",
    "06.5": "by the length of the earlier part",
    "07.2": "You added up the means of the pieces",
    "07.3": "warm-up included",
    "08.1": "Or is it a loss?",
    "08.3": "Paired by their places",
    "08.4": "a factor below 1",
    "09.3": "the mean of the pieces' means",
    "10.3": "stands in 5 places",
    "10.4": "they are on no scale",
    "10.5": "A tile has 1, 2, 3",
    "10.6": "hears the last one of the first",
    "11.3": "The price is for an hour",
    "11.4": "Put each block back",
    "12.3": "asks the table after it was written",
    "12.4": "The second table has faded already",
    "13.3": "after it has decayed",
    "13.4": "as if nobody had ever taken anything out",
    "13.5": "nothing grows",
    "14.3": "The vector has length √2",
    "14.4": "Removal keys have length 1",
    "15.3": "by their own mean and deviation",
    "15.4": "hears those who asked before",
    "16.3": "before it fades: that is RWKV-7's way",
    "16.4": "the shortest ending",
    "16.5": "It foretells letter 4",
}
HERE = [number for number in SENTENCES if slips.can_be_checked(number)]
ANSWERS = [
    answer
    for number in HERE
    for answer in of(number, (getattr(slips, slips.name_of(number)), SENTENCES[number]))
]

test_a_slip_is_told_its_own_sentence = told(ANSWERS)


def test_every_exercise_of_code_has_one_and_no_other_exercise():
    assert list(SENTENCES) == OF_CODE
    assert sorted(slips.sources()) == sorted(map(slips.name_of, OF_CODE))
    missing = set(OF_CODE) - set(HERE)
    assert missing <= {number for number, tool in slips.NEEDS.items()}
    assert all(shutil.which(slips.NEEDS[number]) is None for number in missing)


@pytest.mark.parametrize("number", TO_BUILD)
def test_an_exercise_to_build_tells_three_mistakes_apart(number):
    tables = vars(importlib.import_module(f"test_exercises_{number[:2]}")).values()
    rows = [row for table in tables if isinstance(table, list) for row in table]
    told = {row.sentence for row in rows if getattr(row, "number", "") == number}
    assert sum(not sentence.startswith("Right.") for sentence in told) >= 3


def test_every_chapter_has_an_exercise_to_build():
    assert sorted({number[:2] for number in TO_BUILD}) == CHAPTERS


@pytest.mark.parametrize("number", OF_CODE)
def test_a_slip_is_short(number):
    lines = slips.source(number).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 88


def test_where_a_check_can_not_run_nothing_is_shown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not slips.can_be_checked("10.4")
    assert slips.can_be_checked("10.3")
    assert not slips.can_be_checked("04.1")


@pytest.mark.parametrize("code", [each.code for each in translated.published()])
def test_a_slip_is_told_so_in_the_language_of_its_page(code):
    chapters = [page.split("/")[-1][:2] for page in translated.language(code).pages]
    numbers = [number for number in HERE if number[:2] in chapters]
    assert numbers
    for number in numbers:
        english = f"{number}: {slips.diagnosis(number)}"
        said = language.words(code).say(english)
        assert said.startswith(f"{number}：还不对。") and "Not yet" not in said
        assert SENTENCES[number] not in said
