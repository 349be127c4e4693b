"""A figure can be made as large as the window and larger: by touch and by keyboard."""

import pytest
from helpers.browser import WIDTHS, tab_to

NAME = "book/05_rwkv_in_100_lines.html"
WIDTH = "(figure) => figure.getBoundingClientRect().width"

pytestmark = pytest.mark.browser


def test_a_figure_opens_grows_and_closes_by_keyboard(visit):
    page = visit(NAME, WIDTHS["desktop"], formulas=False)
    opener = page.locator("article .enlarge").last
    place = opener.locator("xpath=..")
    before = place.inner_html()
    tab_to(page, opener)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="The figure, enlarged")
    room = dialog.locator(".enlarged-room")
    assert room.evaluate("(e) => document.activeElement === e")
    figure = room.locator("svg[role=img]").first
    whole, wide = figure.evaluate(WIDTH), room.evaluate("(e) => e.clientWidth")
    assert wide / 2 < whole <= wide
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert figure.evaluate(WIDTH) == pytest.approx(2.25 * whole, rel=0.01)
    left = room.evaluate("(e) => e.scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([room, left]) => room.scrollLeft > left", arg=[room.element_handle(), left]
    )
    assert page.url.endswith(NAME)  # and this arrow turned no page
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert opener.evaluate("(e) => document.activeElement === e")
    assert place.locator("svg[role=img]").count() and room.locator("svg").count() == 0
    # The width that it had in the dialog is all that is left on it.
    tidy = place.inner_html().replace(" --enlarged-width:", "--enlarged-width:")
    assert len(tidy) - len(before) < 60 * place.locator("svg[role=img]").count()
    assert page.problems == []


def test_on_a_phone_the_whole_figure_can_be_seen_and_then_its_parts(visit):
    page = visit(NAME, WIDTHS["phone"], formulas=False)
    openers = page.locator("article .enlarge")
    places = page.locator("article .figure-place:has(svg[role=img])")
    assert openers.count() == places.count() > 5
    names = openers.evaluate_all("all => all.map((e) => e.getAttribute('aria-label'))")
    assert all(len(name) > len("Enlarge: ") + 5 for name in names)
    openers.first.click()
    room = page.locator(".enlarged-room")
    figure = room.locator("svg[role=img]").first
    wide = room.evaluate("(e) => e.clientWidth")
    assert figure.evaluate(WIDTH) <= wide
    larger = page.get_by_role("button", name="Larger", exact=True)
    for _ in range(3):
        larger.click()
    assert figure.evaluate(WIDTH) > 2 * wide
    assert page.evaluate("siteChecks.wide()") == []
    page.get_by_role("button", name="Close", exact=True).click()
    page.locator("#enlarged").wait_for(state="hidden")


def test_a_figure_that_moves_still_moves_after_it_was_enlarged(visit):
    page = visit(NAME, WIDTHS["desktop"], formulas=False)
    place = page.locator(
        "article .figure-place:has([data-live] input[type=range])"
    ).first
    place.hover()
    place.locator(".enlarge").click()
    page.keyboard.press("Escape")
    page.locator("#enlarged").wait_for(state="hidden")
    shown = place.locator(".live-output")
    before = shown.inner_html()
    place.locator("input[type=range]").first.press("ArrowRight")
    assert shown.inner_html() != before


def test_paper_has_no_button(visit):
    page = visit(NAME, WIDTHS["desktop"], formulas=False)
    page.emulate_media(media="print")
    assert not page.locator("article .enlarge").first.is_visible()
