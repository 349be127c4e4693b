"""The book as one PDF: how its pages become one, and what Chromium makes of it."""

import pytest

from tools.site.pdf import HOST, Page, first_pages, printed

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
