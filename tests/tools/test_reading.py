"""How long the chapters take to read: one sitting each, as they say themselves."""

import pytest

from tools.checks import reading
from tools.contents import BOOK, chapters

every_chapter = pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)


@every_chapter
def test_a_chapter_is_one_sitting_and_says_how_long(path):
    time = reading.minutes(path)
    assert time <= reading.SITTING
    assert reading.said(path) == reading.rounded(time)


def test_what_is_folded_or_comes_after_the_exercises_is_not_counted():
    def code(source, *tags, outputs=()):
        metadata = {"tags": list(tags)}
        return dict(
            cell_type="code", source=source, metadata=metadata, outputs=list(outputs)
        )

    def markdown(source):
        return dict(cell_type="markdown", source=source)

    printed = dict(output_type="stream", text=["1\n", "\n", "2\n"])
    drawn = dict(data={"image/svg+xml": "<svg/>", "text/plain": "<Figure>"})
    cells = [
        markdown("three words here, and $$x\n= y$$ a formula"),
        code("a = 1\n\nprint(a)", outputs=[printed]),
        code("draw()", "hide-input", outputs=[drawn]),
        code("draw_more()", "hide-cell", outputs=[drawn]),
        markdown("two more\n## Exercises\nnot counted"),
        code("not_counted()"),
    ]
    words, stops = reading.counts(cells)
    assert words == 6 + 2
    assert stops == {
        "line of code": 2,
        "line of output": 2,
        "figure": 1,
        "formula": 1,
    }


def test_a_page_that_says_nothing_is_told_what_to_write():
    with pytest.raises(ValueError, match="about N minutes to read"):
        reading.said(BOOK / "workshop" / "guide.md")
    assert reading.minutes(BOOK / "workshop" / "guide.md") > 5
    assert reading.rounded(1) == 5 and reading.rounded(42.4) == 40
