"""The file that a chapter takes apart, beside its text, in Chromium."""

import inspect
import re

import pytest
from helpers.browser import AXE, WIDTHS, set_theme, tab_to
from playwright.sync_api import expect

from rwkv_book.rwkv4 import minimal as minimal4
from rwkv_book.rwkv7 import minimal as minimal7

pytestmark = pytest.mark.browser
PAGES = {
    "book/05_rwkv_in_100_lines.html": minimal4,
    "zh_CN/book/05_rwkv_in_100_lines.html": minimal4,
    "book/13_learning_while_reading.html": minimal7,
}
LIT = "#beside .beside-line.lit"
AXE_BESIDE = "axe.run('#beside').then(({ violations }) => violations.map((x) => x.id))"
ONLY_BESIDE = (
    "document.querySelectorAll('article section > *').forEach((e) => e.remove())"
)


def opened(page):
    page.locator(".beside-button").first.click()
    expect(page.locator("#beside")).to_be_visible()
    page.evaluate("document.fonts.ready.then(() => true)")
    return page


def go_to(page, section):
    page.locator(f"section#{section}").evaluate("(e) => e.scrollIntoView()")
    expect(page.locator("#beside")).to_have_attribute("data-section", section)


def lines_of(*functions):
    """The lines of these functions as the file has them, from inspect."""
    found = {}
    for function in functions:
        code, first = inspect.getsourcelines(function)
        found |= {first + n: line.rstrip("\n") for n, line in enumerate(code)}
    return [f"{number:3} {found[number]}".rstrip() for number in sorted(found)]


def lit(page):
    return [line.rstrip() for line in page.locator(LIT).all_text_contents()]


LIGHT = {  # what the sections of a page light: the functions that their words name
    "book/05_rwkv_in_100_lines.html": {
        "one-stream-two-sublayers-in-each-layer": ["step"],
        "time-mixing-where-tokens-meet": ["time_mix", "wkv", "merge", "sigmoid"],
        "going-on-with-an-old-state": [],
        "the-mix-in-the-other-sense": ["token_shift"],  # which its code names
    },
    "book/13_learning_while_reading.html": {
        "what-a-token-chooses": ["low_rank", "shifted"],
    },
}


@pytest.mark.parametrize("name", LIGHT)
def test_the_lines_of_the_section_are_lit(visit, name):
    page = opened(visit(name, WIDTHS["desktop"], formulas=False))
    for section, functions in LIGHT[name].items():
        go_to(page, section)
        wanted = lines_of(*(getattr(PAGES[name], each) for each in functions))
        assert lit(page) == wanted, section
        said = page.locator("#beside p").inner_text()
        assert set(re.findall(r"(\w+) \d+–\d+", said)) == set(functions), said
        if functions:
            expect(page.locator(LIT).first).to_be_in_viewport()


def test_a_function_leads_to_where_it_is_explained(visit):
    page = opened(
        visit("book/05_rwkv_in_100_lines.html", WIDTHS["desktop"], formulas=False)
    )
    page.locator("#beside a", has_text="channel_mix").click()
    section = "channel-mixing-where-channels-meet"
    expect(page.locator(f"section#{section} > h2")).to_be_in_viewport()
    expect(page.locator("#beside")).to_have_attribute("data-section", section)


def test_it_opens_closes_and_stays_open_by_keyboard(visit):
    page = visit("book/05_rwkv_in_100_lines.html", WIDTHS["desktop"], formulas=False)
    button = page.get_by_role("button", name="These lines in the whole file").nth(1)
    tab_to(page, button.element_handle())
    place = button.bounding_box()["y"]
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    assert abs(button.bounding_box()["y"] - place) < 2  # the text narrows around it
    assert lit(page) == lines_of(minimal4.step)
    page.reload()
    expect(page.locator("#beside")).to_be_visible()
    close = page.get_by_role("button", name="Close the file")
    close.focus()
    page.keyboard.press("Escape")
    expect(page.locator("#beside")).to_be_hidden()
    page.reload()
    page.wait_for_function("siteChecks.settled(false)")
    assert page.locator("#beside").count() == 0


@pytest.mark.parametrize("name", PAGES)
def test_the_file_stands_whole_beside_the_text_on_a_desk_and_on_a_phone(visit, name):
    """For axe as for all pages: what it finds hangs on the width or on the theme."""
    page = opened(visit(name, WIDTHS["desktop"], formulas=False))
    check_file(page, PAGES[name])
    for device in WIDTHS:
        page.set_viewport_size({"width": WIDTHS[device], "height": 900})
        assert page.evaluate("siteChecks.wide()") == []
        check_room(page, device)
    page.add_script_tag(path=AXE)
    page.evaluate(ONLY_BESIDE)  # axe would walk through the chapter as well
    for device, theme in (("phone", "light"), ("desktop", "dark")):
        page.set_viewport_size({"width": WIDTHS[device], "height": 900})
        set_theme(page, theme)
        assert page.evaluate(AXE_BESIDE) == []
    assert page.problems == []


def check_file(page, module):
    shown = page.locator("#beside .beside-line").all_text_contents()
    source = inspect.getsource(module).splitlines()
    wanted = [f"{n:3} {line}".rstrip() for n, line in enumerate(source, 1)]
    assert [line.rstrip() for line in shown] == wanted


def check_room(page, device):
    text = page.locator("article h1").bounding_box()
    beside = page.locator("#beside").bounding_box()
    if device == "desktop":
        assert text["x"] + text["width"] <= beside["x"]
        code = page.locator("#beside .highlight")
        assert code.evaluate("(e) => e.scrollWidth <= e.clientWidth")
    else:
        assert beside["height"] <= 0.41 * 900


def test_a_page_without_such_a_file_loads_nothing_for_it(visit):
    page = visit("book/06_two_faces.html", WIDTHS["desktop"])
    assert page.locator("script[src*='beside.js']").count() == 0
    assert page.locator(".beside-button").count() == 0
