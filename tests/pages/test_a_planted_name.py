"""A reader plants a name of their own in chapter 6, in Chromium."""

import re

import pytest
from helpers.browser import AXE, WIDTHS, set_theme, tab_to
from playwright.sync_api import expect

from rwkv_book import checkpoint
from rwkv_book.labs import recall
from rwkv_book.rwkv4.model import RWKV
from rwkv_book.show import planted

pytestmark = pytest.mark.browser
PAGE = "book/06_two_faces.html"
WEIGHTS = "**/shakespeare.safetensors"
FIGURE = "[data-live*='planted']"
ANSWER = 120_000  # milliseconds at most
# The figure in its section alone, as axe would walk through the chapter as well.
ONLY_FIGURE = """figure => document.querySelectorAll("article section > *").forEach(
  (e) => e.querySelector(figure) || e.remove())"""

AXE_OF_FIGURE = """figure => axe.run(figure).then(({ violations }) =>
  violations.map(({ id }) => id))"""


@pytest.fixture
def chapter(visit):
    def open_page(width=1280):
        page = visit(PAGE, width, formulas=False)
        page.figure = page.locator(FIGURE)
        page.name = page.figure.locator("input[type=text]")
        page.later = page.figure.locator("input[type=range]")
        page.button = page.figure.locator("button")
        page.said = page.figure.locator("[role=status]")
        return page

    return open_page


def gains_in(page):
    """The numbers of the table, from top to bottom."""
    cells = page.figure.locator("tbody td:nth-child(2)").all_inner_texts()
    return [float(each.replace("−", "-")) for each in cells]


def gains_of(name, time):
    """The same numbers, by the lab."""
    network = RWKV.load(checkpoint.shipped())
    found = recall.plant(network, name, recall.SPEECHES[:time])[-1]
    return planted.gained(found.log_p.tolist())[0]


def test_a_name_of_a_reader_s_own_by_keyboard_alone(chapter):
    page, asked = chapter(), []
    page.on("request", lambda request: asked.append(request.url.split("/")[-1]))
    tab_to(page, page.name)
    page.keyboard.press("Control+A")
    page.keyboard.type("Ria")
    expect(page.button).to_have_text(re.compile(r"Load the model \(7\.\d MB\)"))
    assert asked == []  # nothing comes before it was asked for
    tab_to(page, page.button)
    page.keyboard.press("Enter")
    expect(page.figure.locator("progress")).to_be_visible()
    expect(page.said).to_contain_text("The model")
    expect(page.figure.locator("strong")).to_contain_text("RIA, said 0", timeout=ANSWER)
    expect(page.said).to_contain_text("RIA, said 0 bytes ago")
    assert gains_in(page) == pytest.approx(gains_of("RIA", 0), abs=0.015)
    tab_to(page, page.later)
    page.keyboard.press("ArrowRight")
    expect(page.figure.locator("strong")).to_contain_text(
        "RIA, said 58", timeout=ANSWER
    )
    assert gains_in(page) == pytest.approx(gains_of("RIA", 1), abs=0.015)
    assert sorted(asked) == ["live-worker.js", "shakespeare.safetensors"]
    assert page.problems == []


def test_of_names_typed_while_the_model_reads_the_last_one_is_answered(
    chapter,
):
    page = chapter()
    page.name.fill("Ria")
    page.button.click()
    page.name.fill("Ada")
    page.later.fill("3")
    expect(page.figure.locator("progress")).to_be_visible()
    page.later.fill("0")
    expect(page.figure.locator("strong")).to_contain_text("ADA, said 0", timeout=ANSWER)
    assert gains_in(page) == pytest.approx(gains_of("ADA", 0), abs=0.015)
    page.name.fill("Zoë")
    expect(page.figure.locator(".live-output")).to_have_text(
        "“Zoë” is no name here: type 2 to 12 letters, A to Z."
    )
    page.name.fill("")
    expect(page.said).to_have_text("Type a name of 2 to 12 letters, A to Z.")
    assert page.problems == []


def test_a_model_that_does_not_come_is_one_sentence_and_the_button_tries_again(chapter):
    page = chapter()
    page.route(WEIGHTS, lambda route: route.fulfill(body="<html>Log in</html>"))
    page.name.fill("Ria")
    page.button.click()
    expect(page.figure).to_contain_text("a web page came in place of its weights")
    expect(page.said).to_contain_text("press the button again")
    page.unroute(WEIGHTS)
    page.button.click()
    expect(page.said).to_contain_text("The model reads", timeout=ANSWER)


def test_it_is_whole_before_and_after_on_a_phone_and_on_a_desk(chapter):
    page = chapter(WIDTHS["phone"])
    page.evaluate(ONLY_FIGURE, FIGURE)
    page.add_script_tag(path=AXE)
    for name, part in (("Malvorn", "table"), ("Malvornistel", "button")):
        page.name.fill(name)
        expect(page.figure.locator(part)).to_be_visible()
        for device, theme in (("phone", "light"), ("desktop", "dark")):
            page.set_viewport_size({"width": WIDTHS[device], "height": 900})
            set_theme(page, theme)
            box = page.figure.locator(".live-output")
            assert box.evaluate("(e) => e.scrollWidth <= e.clientWidth")
            assert page.evaluate("siteChecks.wide()") == []
            assert page.evaluate(AXE_OF_FIGURE, FIGURE) == [], (device, theme)
            if part == "button":
                assert page.button.bounding_box()["height"] >= 44
    assert page.problems == []
