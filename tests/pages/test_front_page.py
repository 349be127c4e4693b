"""The model on top of the front page, in Chromium: both faces on a reader's text."""

import re

import numpy as np
import pytest
from helpers.browser import AXE, WIDTHS, set_theme, tab_to
from playwright.sync_api import expect

from rwkv_book import checkpoint
from rwkv_book.rwkv4 import minimal
from rwkv_book.show import faces

pytestmark = pytest.mark.browser
PAGE = "book/index.html"
WEIGHTS = "**/shakespeare.safetensors"


@pytest.fixture
def front(visit):
    """Opens the page; notes which weights it asks for."""

    def open_page(width=1280, name=PAGE):
        page = visit(name, width)
        page.asked = []
        page.on(
            "request",
            lambda request: (
                page.asked.append(request.url) if "safetensors" in request.url else None
            ),
        )
        page.figure = page.locator(".live:has(.live-faces)")
        return page

    return open_page


def wrote(page, text):
    """The rows of the table, letters first, once the page has answered."""
    page.figure.locator("input").fill(text)
    last = page.figure.locator("tbody td").last
    expect(last).to_have_text(re.compile(r"^\d+\.\d$"), timeout=60_000)
    return rows_of(page)


def rows_of(page):
    rows = page.figure.locator("tr").all()
    cells = "th[scope=col], td:not(:empty)"
    return [row.locator(cells).all_inner_texts() for row in rows]


def one_by_one(text):
    params, found = checkpoint.load(checkpoint.shipped()), []
    state, before = minimal.initial_state(params), 0
    for token in text.encode():
        logits, state = minimal.step(before, state, params)
        found.append(float(faces.probabilities(logits)[token]))
        before = token
    return found


def test_the_three_ways_in_stand_in_one_line(front):
    links = front().locator(".hero li a")
    tops = {box["y"] for box in (link.bounding_box() for link in links.all())}
    assert links.count() == 3 and len(tops) == 1


def test_the_first_text_needs_no_model(front):
    page = front()
    letters, *rows = rows_of(page)
    assert "".join(letters).replace("␣", " ") == "To be, or not"
    assert rows[0] == rows[1]
    assert page.asked == [] and page.problems == []


def test_both_faces_answer_what_a_reader_types(front):
    page, text = front(), "KING: My lord"
    letters, *rows = wrote(page, text)
    assert "".join(letters).replace("␣", " ") == text
    for row in rows:
        wanted = 100 * np.array(one_by_one(text))
        np.testing.assert_allclose([float(p) for p in row], wanted, atol=0.051)
    said = page.figure.locator(".live-output > p").first.inner_text()
    assert page.figure.locator("[role=status]").text_content().startswith(said)
    assert "Largest difference between the two rows: 0.000" in said
    assert "5,120 numbers" in page.figure.locator("svg").get_attribute("aria-label")
    assert len(page.asked) == 1
    wrote(page, text + "s")
    assert len(page.asked) == 1 and page.problems == []
    page.figure.locator("input").fill("")
    expect(page.figure).to_contain_text("What comes first")


def test_a_model_that_does_not_come_is_one_sentence_and_a_letter_tries_again(front):
    page = front()
    page.route(WEIGHTS, lambda route: route.fulfill(body="<html>Log in</html>"))
    page.figure.locator("input").fill("No")
    expect(page.figure).to_contain_text("a web page came in place of its weights")
    expect(page.figure).to_contain_text("type one more letter to try again")
    page.unroute(WEIGHTS)
    assert wrote(page, "Now")[0] == ["N", "o", "w"]


def test_it_is_whole_while_it_answers_and_has_the_newest_letter_in_sight(front):
    page = front()
    tab_to(page, page.figure.locator("input"))
    for device, text in {
        "desktop": "When shall we three meet again?!",
        "phone": "In thunder, lightning or in rain",
    }.items():
        page.set_viewport_size({"width": WIDTHS[device], "height": 900})
        wrote(page, text)
        newest = page.figure.locator("thead th").last
        expect(newest).to_have_text(text[-1])
        box = page.figure.locator(".live-faces").bounding_box()
        newest = newest.bounding_box()
        assert box["x"] <= newest["x"] and newest["x"] + newest["width"] <= (
            box["x"] + box["width"] + 1
        )
        assert page.evaluate("siteChecks.wide()") == []
    page.add_script_tag(path=AXE)
    for device, theme in (("phone", "light"), ("desktop", "dark")):
        page.set_viewport_size({"width": WIDTHS[device], "height": 900})
        set_theme(page, theme)
        assert page.evaluate("siteChecks.violations()") == [], (device, theme)
    assert page.problems == []


def test_it_speaks_chinese_and_takes_the_same_weights(front):
    page = front(name="zh_CN/book/index.html")
    letters, *rows = wrote(page, "Yes")
    assert letters == ["Y", "e", "s"] and rows[0] == rows[1]
    said = page.figure.locator(".live-output").inner_text()
    assert "两行之间最大的差：0.000" in said and "Largest" not in said
    assert [url.split("/", 3)[3] for url in page.asked] == [
        "_static/shakespeare.safetensors"
    ]
    assert page.problems == []
