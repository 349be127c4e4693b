"""The book as one PDF: how its pages become one, and what Chromium makes of it."""

import json

import pytest

from tools.site.pdf import HOST, Page, first_pages, printed

FRAME = {"value": "<svg><g id='a'/></svg>"}
MODELS = {
    "box": {"children": ["IPY_MODEL_slider", "IPY_MODEL_stack"]},
    "slider": {"description": "age", "_options_labels": ["1", "2", "3"], "index": 1},
    "stack": {"children": ["IPY_MODEL_frame", "IPY_MODEL_other"], "selected_index": 1},
    "other": FRAME,
    "frame": {"value": "not this one"},
}
STATE = json.dumps({"state": {name: {"state": m} for name, m in MODELS.items()}})
WIDGET = "application/vnd.jupyter.widget"
HTML = f"""<head><title>1 · One &#8212; A book</title></head>
<script type="{WIDGET}-state+json">{STATE}</script>
<article class="bd-article"><h1 id="one">One</h1>
<section id="first">
<h2>First<a href="#first">#</a></h2>
<a href="two.html">2</a> <a href="two.html#there">there</a>
<a href="other.html">other</a> <a href="https://example.org/x">away</a>
<script type="{WIDGET}-view+json">{{"model_id": "box"}}</script><img src="../i.svg">
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


def test_a_slider_shows_where_it_begins_and_says_so(page):
    assert "<svg><g id='a'/></svg>" in page.text and "not this one" not in page.text
    assert "Here: age 2 (1 to 3)." in page.text
    assert "<script" not in page.text


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
