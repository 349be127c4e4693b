"""The book as one PDF: how its pages become one, and what Chromium makes of it."""

import io
import re

import pytest
from helpers.browser import SITE
from pypdf import PdfReader

from tools.site.pdf import (
    HOST,
    PACKAGE,
    Page,
    Solutions,
    document_of,
    first_pages,
    listed,
    names_of,
    parted,
    printed,
    with_pages,
)

HTML = """<head><title>1 · One &#8212; A book</title></head>
<article class="bd-article"><h1 id="one">One</h1>
<section id="first">
<h2>First<a href="#first">#</a></h2>
<a href="two.html">2</a> <a href="two.html#there">there</a>
<a href="other.html">other</a> <a href="https://example.org/x">away</a>
<div class="live">First<script src="../_static/live.js" defer></script></div>
<img src="../i.svg">
</section></article>"""


@pytest.fixture
def page(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "one.html").write_text(HTML, encoding="utf-8")
    return Page(tmp_path, "book/one.html", {"book/one.html": 0, "book/two.html": 1})


def test_links_stay_within_the_book_and_ids_are_of_their_page(page):
    assert page.title == "1 · One"
    assert page.sections == [("p0-first", "First")]
    for text in (
        'id="p0-first"', 'href="#p0-first"', 'href="#p1"', 'href="#p1-there"',
        '.io/rwkv-book/book/other.html"', 'href="https://example.org/x"',
        f'src="{HOST}i.svg"',
    ):  # fmt: skip
        assert text in page.text, text


def test_a_figure_that_moves_stands_as_it_begins(page):
    assert '<div class="live">First</div>' in page.text


def test_a_sheet_with_a_paper_of_its_own_keeps_it_from_the_book(page, tmp_path):
    styles = "<style>@page { margin: 1mm } h2 { font-size: 1pt }</style>"
    drawing = "<svg><defs><style>* { stroke-width: 1 }</style></defs></svg>"
    path = tmp_path / "book" / "one.html"
    html = HTML.replace('<h1 id="one">', f'{drawing}{styles}<h1 id="one">')
    path.write_text(html, encoding="utf-8")
    found = Page(tmp_path, page.name, page.numbers)
    assert found.text == drawing + page.text


EXERCISE = """<div class="exercise admonition" id="p3-ex-01-2">
<p class="admonition-title"><span class="caption-number">Exercise 01.2 </span> Halves
<span class="exercise-kind">check</span><a class="headerlink" href="#">#</a></p></div>
<div class="solution dropdown admonition" id="s">
<p class="admonition-title">Solution</p>
<div>It is <div>7</div></div></div><p>Next</p>"""


def test_a_solution_stands_at_the_end_and_each_says_where_the_other_is():
    text, [(exercise, title, solution)] = parted(EXERCISE)
    assert exercise == "p3-ex-01-2" and " ".join(title.split()).endswith("Halves")
    assert "It is" not in text and text.endswith("<p>Next</p>")
    assert "It is <div>7</div></div></div>" in solution

    class Solved:
        number, title, solutions = 3, "1 · One", [(exercise, "Halves", solution)]

    last = Solutions([Solved], 9)
    assert last.sections == [("p9-3", "1 · One")]
    begins = {"p3-solution-of-ex-01-2": 71, "p3-ex-01-2": 5}
    assert '<a href="#p3-solution-of-ex-01-2">page 71</a>' in with_pages(text, begins)
    assert '<a href="#p3-ex-01-2">page 5</a>' in with_pages(last.text, begins)


def test_pages_without_exercises_have_no_solutions(page):
    assert Solutions([page], 9).text == ""


def test_of_the_package_there_are_modules_and_where_the_rest_is(tmp_path):
    text = """<h1>The package</h1><section id="p0-module-rwkv_book.a"><h2>a</h2>
    <p>One sentence, 2.5 long. Another.</p><dl><dt id="p0-rwkv_book.a.f">f(x)</dt></dl>
    </section>"""
    short = listed(text, "https://example.org/api.html")
    assert "<dd>One sentence, 2.5 long.</dd>" in short and "f(x)" not in short
    assert 'href="https://example.org/api.html"' in short
    (tmp_path / "book" / "appendix").mkdir(parents=True)
    html = HTML.replace("two.html", "appendix/api.html").replace("#there", "#rwkv_book")
    (tmp_path / "book" / "one.html").write_text(html, encoding="utf-8")
    one = Page(tmp_path, "book/one.html", {"book/one.html": 0, PACKAGE: 1})
    assert 'href="#p1"' in one.text  # the list is in the book, a function is not
    assert '.io/rwkv-book/book/appendix/api.html#rwkv_book"' in one.text


def test_a_chapter_that_there_is_not_is_named():
    assert names_of("04") == {"": ["book/04_wkv_operator.html"]}
    with pytest.raises(ValueError, match="no chapter '4'"):
        names_of("4")


@pytest.mark.browser
def test_a_printed_exercise_is_where_its_solution_says_and_the_other_way(browser):
    """Read from the text of the pages: a chapter alone, printed as `make pdf` does."""
    document = document_of(browser, SITE, "08")
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(document)).pages]
    solved = next(n for n, text in enumerate(pages) if text.startswith("Solutions"))
    there = {
        number: page
        for page, text in enumerate(pages[solved:], solved + 1)
        for number in re.findall(r"Exercise (\d\d\.\d)", text)
    }
    assert there
    referred = re.findall(r"Solution: page (\d+)", "".join(pages[:solved]))
    assert [int(page) for page in referred] == list(there.values())
    back = re.findall(r"Exercise: page (\d+)", "".join(pages[solved:]))
    for number, page in zip(there, back, strict=True):
        assert f"Exercise {number}" in pages[int(page) - 1]
    assert f'exercises.check("{min(there)}", solution' not in "".join(pages[:solved])


@pytest.mark.browser
def test_chromium_prints_an_outline_and_places_that_can_be_found(browser, tmp_path):
    tall = '<div style="height: 280mm"></div>'
    html = f"""<!DOCTYPE html><title>A book</title>
      <script>window.MathJax = {{ startup: {{ promise: Promise.resolve() }} }}</script>
      <a href="#p0">one</a><a href="#p1-there">there</a>
      <h1 id="p0" style="break-before: page">One</h1>{tall}
      <h1 style="break-before: page">Two</h1><h2 id="p1-there">There</h2>"""
    document = printed(browser, tmp_path, html)
    assert first_pages(document) == {"p0": 2, "p1-there": 4}
    for title in (b"(One)", b"(Two)", b"(There)", b"(A book)"):
        assert b"/Title " + title in document, title
