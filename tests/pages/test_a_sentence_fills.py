"""A reader's sentence fills a table, and the slider goes along while it is typed."""

import json

import pytest
from helpers.browser import WIDTHS, tab_to

pytestmark = pytest.mark.browser


def test_the_table_fills_while_a_reader_types(visit):
    page = visit("book/12_a_matrix_for_a_state.html", WIDTHS["phone"], formulas=False)
    figures = page.locator("[data-live]").all()
    names = [json.loads(each.get_attribute("data-live"))["figure"] for each in figures]
    figure = figures[names.index("filling")]
    sentence, read = figure.locator("input").all()[:2]
    bold = figure.locator("strong")
    assert "It hears: h 1, e 1, ␣ 1." in bold.inner_text()
    tab_to(page, sentence)
    page.keyboard.press("Control+A")
    page.keyboard.type("abra")
    assert (read.input_value(), read.get_attribute("max")) == ("4", "4")
    assert bold.inner_text() == (
        "“a” asks what came after it. Written under it: 1. Left of that: 1. "
        "It hears: b 1."
    )
    tab_to(page, read)
    page.keyboard.press("Home")
    assert "No letter has been read" in bold.inner_text()
    tab_to(page, sentence)
    page.keyboard.press("End")
    page.keyboard.type("cadabra " * 9)
    assert (read.input_value(), read.get_attribute("max")) == ("0", "60")
    assert "Only the first 60 letters are read" in figure.inner_text()
    assert page.evaluate("siteChecks.wide()") == []
    assert page.problems == []
