"""The box at the head of a chapter promises seconds and memory: those on record."""

import json
import re

import nbformat
import pytest

from tools import contents
from tools.checks import tables
from tools.contents import ROOT

MEASURED = {
    row["notebook"]: row
    for row in json.loads(tables.RECORD.read_text(encoding="utf-8"))["rows"]
}
TIME = re.compile(r"to read, (?:about |(under) )?(?:(\d+) seconds|a minute) to run")
MEMORY = re.compile(r"\*\*Memory\*\*: ([\d,]+) MiB")
every_chapter = pytest.mark.parametrize(
    "path", contents.chapters(), ids=lambda path: path.stem
)


def head(path):
    cells = nbformat.read(path, as_version=4).cells[:3]
    return " ".join(" ".join(cell.source for cell in cells).split())


def measured(path):
    return MEASURED[path.relative_to(ROOT).as_posix()]


@every_chapter
def test_a_chapter_takes_the_time_that_its_box_says(path):
    under, seconds = TIME.search(head(path)).groups()
    promised, took = int(seconds or 60), measured(path)["seconds"]
    assert took <= promised * (1 if under else 1.25), took
    assert took >= promised / 4, took


@every_chapter
def test_a_chapter_takes_no_more_memory_than_its_box_says(path):
    promised = int(MEMORY.search(head(path))[1].replace(",", ""))
    assert promised - 400 <= measured(path)["peak_mib"] <= promised
