"""The built site and a browser: where it is, how a reader moves in it."""

import gzip
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from tools.contents import ROOT
from tools.notebooks.translated import published
from tools.site.sphinx_moved import MOVED

SITE = ROOT / "_build" / "html"
CHECKS = Path(__file__).with_name("site_checks.js")
AXE = ROOT / ".vendor" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the network is off
]
WIDTHS = {"desktop": 1280, "phone": 390}
FOLDERS = ["book", "_modules", *(f"{each.code}/book" for each in published())]
BUILT = [path for folder in FOLDERS for path in (SITE / folder).rglob("*.html")]
PAGES = sorted(
    {str(path.relative_to(SITE)) for path in BUILT} - {f"{old}.html" for old in MOVED}
)
PAGES += ["index.html", "search.html", "genindex.html"]


def set_theme(page, theme):
    """As when the reader's system changes: the book's default theme follows it."""
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")


# Puts the focus on what comes before an element in the order of Tab and can have it.
FOCUS_BEFORE = """(element) => {
  const all = [...document.querySelectorAll(
    "a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((e) => e.getClientRects().length && !e.disabled);
  let before = all.indexOf(element);
  do all[--before].focus(); while (document.activeElement !== all[before]);
}"""
FOCUSED = """(element) => {
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return document.activeElement === element &&
    outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
}"""


def tab_to(page, element):
    """From what comes before it, past what only scrolls, to an element."""
    element.evaluate(FOCUS_BEFORE)
    for _ in range(4):
        page.keyboard.press("Tab")
        if element.evaluate("(e) => document.activeElement === e"):
            break
    assert element.evaluate(FOCUSED)


def move(field):
    """What a live figure shows before and after a key moved one of its controls."""
    page = field.page
    tab_to(page, field)
    said = field.locator("xpath=ancestor::*[@data-live]").locator(".live-output")
    before = said.inner_html()
    if field.get_attribute("type") == "text":
        page.keyboard.press("End")
        page.keyboard.type("1")  # where numbers are asked for, a letter is none
    else:
        first = field.evaluate("(e) => (e.selectedIndex ?? +e.value) === 0")
        page.keyboard.press("ArrowUp" if first else "ArrowDown")
        if first and field.evaluate("(e) => e.selectedIndex === 0"):
            page.keyboard.press("ArrowDown")  # in a menu, down is the way on
    return before, said.inner_html()


def open_search(page):
    """By the button, which is beside the page or, on a phone, above it."""
    page.locator(".search-button__button:visible").first.click()


def loaded(page):
    """The files of the site that a page has loaded, itself among them."""
    page.wait_for_load_state("networkidle")
    entries = page.evaluate(
        "['navigation', 'resource'].flatMap((kind) =>"
        " performance.getEntriesByType(kind).map(({ name }) => name))"
    )
    paths = {urlsplit(entry).path.lstrip("/") for entry in entries if "://" in entry}
    return {path for path in paths if (SITE / path).is_file()}


@cache
def packed(path):
    """A file of the site as it travels to the reader."""
    return gzip.compress((SITE / path).read_bytes(), 6)


def compressed(path):
    """The bytes of a file of the site on its way to the reader."""
    return len(packed(path))
