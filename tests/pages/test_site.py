"""The built site in a browser, with the network cut off: `make check-site`.

Every page is opened in Chromium at two widths, in light and in dark, and has to be
whole: no error, nothing fetched from elsewhere, maths set, nothing
that sticks out of a phone, little to load, nothing that axe finds. Axe takes seconds a
look, and what it finds hangs on the width (what is hidden, what scrolls) or on the
theme (contrast): it looks at a phone in light and at a desktop in dark; at a translated
page, whose elements are those of the original, at a phone alone; at all four where the
page's furniture is of every kind; and of what a page has hundreds of it sees a few.
What sticks out hangs on the width alone. Pages of source code are all made alike: those
are opened that have a kind of element which none before them has.
With BOOK_SCREENSHOTS=folder in the environment, pictures of all four are kept there;
with BOOK_AXE=all, every page is opened, and axe looks at all of it in all four.
"""

import json
import os
import re
from pathlib import Path

import pytest
from helpers.browser import (
    AXE,
    PAGES,
    SITE,
    WIDTHS,
    compressed,
    loaded,
    set_theme,
)

from tools import contents
from tools.notebooks.translated import published

HEAVIEST = 1_000_000  # bytes, compressed: of a page and all that it loads
AXE_LOOKS = [("desktop", "dark"), ("phone", "light")]
AXE_ALWAYS = os.environ.get("BOOK_AXE") == "all"
AXE_LOOKS_AT_ALL = {
    "book/index.html",
    "book/one_sitting.html",
    "book/playground.html",
    "book/workshop/cheat_sheet.html",
    "search.html",
}

pytestmark = pytest.mark.browser


def opened():
    """The pages to open: of those of source code, the ones that add an element, which
    is a name and a class, to those before them."""
    seen = set()
    for name in PAGES:
        if "_modules" in name and not AXE_ALWAYS:
            html = (SITE / name).read_text(encoding="utf-8")
            article = html.partition("<article")[2].partition("</article")[0]
            elements = set(re.findall(r"<(\w+(?: class=\"[^\"]*\")?)", article))
            if elements <= seen:
                continue
            seen |= elements
        yield name


OPENED = list(opened())


@pytest.mark.parametrize("name", OPENED)
def test_page_is_whole(visit, name):
    """Loaded as a phone does it, in both widths, and by axe in both themes."""
    page = visit(name, WIDTHS["phone"])
    if name != "index.html":  # which sends the reader on to the first page
        check_weight(page, name)
        for device, theme in looks(name):
            check_look(page, name, device, theme)
    if page.locator("article").count():
        assert page.evaluate("siteChecks.unfinishedMarkup()") == []
        assert page.evaluate("siteChecks.namelessPictures()") == []
        assert page.evaluate("siteChecks.silentFormulas()") == []
    if name != "index.html":
        check_with_axe(page, name)  # last, as it thins the page
    page.wait_for_load_state("networkidle")
    assert page.problems == []


def test_pages_of_source_code_of_every_kind_are_opened():
    pages = [(SITE / name).read_text("utf-8") for name in OPENED if "_modules" in name]
    assert len(pages) > 1 and any('class="mi"' in page for page in pages)
    assert len(pages) < 30 or AXE_ALWAYS


def test_some_pages_that_are_opened_have_commands():
    pages = [(SITE / name).read_text("utf-8") for name in OPENED]
    assert any('class="highlight-bash' in page for page in pages)


def looks(name):
    """(device, theme); of a page of source code the width that can fail is enough."""
    some = ["phone"] if "_modules" in name else ["phone", "desktop"]
    return [(device, theme) for device in some for theme in ("light", "dark")]


def look(page, device, theme):
    page.set_viewport_size({"width": WIDTHS[device], "height": 900})
    set_theme(page, theme)


def check_look(page, name, device, theme):
    folder = os.environ.get("BOOK_SCREENSHOTS")
    if theme == "dark" and not folder:
        return
    look(page, device, theme)
    if folder:
        picture = name.removesuffix(".html").replace("/", "-")
        path = Path(folder) / f"{picture}-{device}-{theme}.png"
        page.screenshot(path=path, full_page=True)
    assert page.evaluate("siteChecks.wide()") == [], (device, theme)
    if (device, theme) == ("phone", "light"):
        assert page.evaluate("siteChecks.smallestLetters()") >= 10
        assert page.evaluate("siteChecks.cutCommands()") == []


def check_with_axe(page, name):
    page.add_script_tag(path=AXE)
    for device, theme in axe_looks(name):
        look(page, device, theme)
        found = page.evaluate("siteChecks.violations", AXE_ALWAYS)
        assert found == [], (device, theme)


def axe_looks(name):
    if AXE_ALWAYS or name in AXE_LOOKS_AT_ALL:
        return looks(name)
    place = name.partition("/")[0]
    made_alike = {"_modules", *(each.code for each in published())}
    return AXE_LOOKS[1:] if place in made_alike else AXE_LOOKS


def check_weight(page, name):
    weight = {path: compressed(path) for path in loaded(page)}
    assert name in weight and len(weight) > 10
    assert sum(weight.values()) < HEAVIEST, sorted(weight.items(), key=lambda x: -x[1])


def test_a_search_finds_the_glossary(visit):
    page = visit("search.html?q=receptance", WIDTHS["desktop"])
    page.wait_for_selector("#search-results a", timeout=10_000)
    found = page.locator("#search-results a").evaluate_all("e => e.map(a => a.href)")
    assert any("glossary" in link for link in found)
    assert page.problems == []


def test_every_page_is_built_with_its_outputs():
    """A build that publishes nothing, or pages without results, must not pass."""
    for source in contents.pages():
        page = SITE / source.relative_to(contents.ROOT).with_suffix(".html")
        html = page.read_text(encoding="utf-8")
        notebook = source.with_suffix(".ipynb")
        if notebook.exists():
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            shown = [cell for cell in cells if cell.get("outputs")]
            assert html.count('class="cell_output ') == len(shown), source.name


def test_the_site_holds_no_address_of_a_script_elsewhere():
    """What a page would fetch only later, or only in another browser, counts too."""
    for name in PAGES:
        text = (SITE / name).read_text(encoding="utf-8")
        for tag in ("<script src=", '<link rel="stylesheet" href=', "<img src="):
            for quote in "\"'":
                assert tag + quote + "http" not in text, (name, tag)
