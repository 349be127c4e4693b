"""The table that a reader's sentence fills: the page draws what Python draws, and both
write as RWKV-5 does."""

import re
from html import unescape

import numpy as np
import pytest
from helpers.javascript import STATIC, javascript

from rwkv_book.rwkv5 import minimal
from rwkv_book.show import filling

MODULES = [STATIC / "live" / "filling.js"]
FIGURE = filling.FIGURE
KEEPS = [keep for _, keep in FIGURE.controls[2]["options"]]
MANY = "".join(map(chr, range(0x100, 0x100 + 40)))
SENTENCES = [
    filling.SENTENCE,
    "",
    "a",
    "aaaa",
    "balloon ␣ ",
    '<b> & "it\'s"',
    "é—🙂é—🙂\tだだ",
    MANY,
    "ab" * 50,
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_page_fills_as_python_does(sentence):
    """At every letter, and where the slider is behind the last."""
    counts = range(len(sentence[: filling.MOST]) + 2)
    all_values = [
        {"sentence": sentence, "read": read, "keep": keep}
        for read in counts
        for keep in KEEPS
    ]
    given = [[values, FIGURE.data] for values in all_values]
    found = javascript("each => filling.filling(...each)", given, MODULES)
    for values, page in zip(all_values, found, strict=True):
        assert page == FIGURE.picture(**values).html()


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("sentence", [filling.SENTENCE, "aaaa", "balloon"])
def test_letters_are_written_and_asked_for_as_rwkv_5_does_it(sentence, keep):
    letters = list(sentence)
    names = list(dict.fromkeys(letters))
    one, table = np.ones((1, len(names))), np.zeros((len(names), len(names)))
    key = np.zeros(len(names))  # the first letter follows none
    for count, letter in enumerate(letters, start=1):
        now = np.eye(len(names))[names.index(letter)]
        answer, table = minimal.ask_and_write(keep * one, one, now, key, now, table)
        found = filling.filled(letters, count, keep)
        np.testing.assert_allclose(found[0], table, atol=1e-12)
        np.testing.assert_allclose(found[1], answer[0], atol=1e-12)
        key = now


def numbers(text):
    return [float(each) for each in re.findall(r"\d+(?:\.\d+)?", text)]


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("read", [2, 11, 37])
def test_what_cannot_be_seen_is_said(read, keep):
    """All numbers of the table, of the answer, and how much of it faded."""
    picture = filling.Filling(filling.SENTENCE, read, keep)
    shown = picture.table.T[picture.table.T > 0]
    np.testing.assert_allclose(numbers(picture.alt), shown, atol=0.005)
    (label,) = re.findall(r'aria-label="([^"]*)"', picture.html())
    assert unescape(label) == picture.alt
    if picture.heard:
        stored, out = (sum(each[n] for each in picture.heard) for n in (1, 2))
        told = [stored, out, *(out for *_, out in picture.heard)]
        np.testing.assert_allclose(numbers(picture.title), told, atol=0.005)


def test_fading_leaves_less_than_was_written():
    asked = filling.Filling(filling.SENTENCE, 11, 0.5)
    assert [value for value, *_ in asked.heard] == ["␣", "e", "h"]  # the newest first
    assert [out for *_, out in asked.heard] == [1, 0.5**4, 0.5**8]
    assert "Written under it: 3. Left of that: 1.07." in asked.title


def test_a_letter_after_itself_is_heard_with_its_bonus():
    assert filling.Filling("aa", 2, 0.5).heard == [("a", 1, 1)]
    assert filling.Filling("aaa", 3, 0.5).heard == [("a", 2, 2)]
    assert filling.Filling("aaaa", 4, 0.5).heard == [("a", 3, 2.5)]


@pytest.mark.parametrize(
    ("sentence", "read"), [("ab" * 50, filling.MOST), (MANY, filling.COLUMNS)]
)
def test_a_line_that_is_too_long_is_told_so(sentence, read):
    picture = filling.Filling(sentence, 100, 1)
    assert f"Only the first {read} letters are read" in picture.html()
    fits = filling.Filling(sentence[:read], 100, 1)
    assert "Only the first" not in fits.html()
    np.testing.assert_array_equal(picture.table, fits.table)


def test_no_sentence_and_no_letter_are_no_errors():
    assert filling.Filling("", 11, 1).html() == (
        "<p><strong>Type a sentence.</strong></p>"
    )
    picture = filling.Filling("abc", 0, 1)
    assert picture.alt == "The table is empty." and "No letter" in picture.title


def test_in_a_kernel_the_slider_ends_where_the_sentence_does():
    sentence, read, _, shown = FIGURE.widget().children
    assert (read.value, read.max) == (11, len(filling.SENTENCE))
    sentence.value = "a"
    assert (read.value, read.max) == (1, 1)
    sentence.value = "abab"  # at its end it stays at the end
    assert (read.value, read.max) == (4, 4)
    assert shown.value == filling.Filling("abab", 4, 1).html()
    read.value = 2
    sentence.value = "abab" * 50
    assert (read.value, read.max) == (2, filling.MOST)
    sentence.value = ""
    assert (read.value, read.max) == (0, 0)
    assert "Type a sentence." in shown.value
