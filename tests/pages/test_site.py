"""The built site in a browser, with the network cut off: `make check-site`.

Every page is opened in Chromium at two widths, in light and in dark, and has to be
whole: no error, nothing fetched from elsewhere, maths set, sliders that move, nothing
that sticks out of a phone, little to load, nothing that axe finds. Axe takes seconds a
look, and what it finds hangs on the width (what is hidden, what scrolls) or on the
theme (contrast): it looks at a phone in light and at a desktop in dark, and at all four
where the page's furniture is of every kind. With BOOK_SCREENSHOTS=folder in the
environment, pictures of all four are kept there; with BOOK_AXE=all, axe looks at them.
"""

import gzip
import json
import os
import re
import shutil
import threading
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
CHECKS = Path(__file__).with_name("site_checks.js")
AXE = ROOT / ".vendor" / "node_modules" / "axe-core" / "axe.min.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDGET = re.compile(r"<script[^>]*widget-view\+json")
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
HEAVIEST = 2_000_000  # bytes, compressed: of a page and all that it loads
AXE_LOOKS = {("phone", "light"), ("desktop", "dark")}
AXE_LOOKS_AT_ALL = {
    "book/index.html",
    "book/one_sitting.html",
    "book/playground.html",
    "book/workshop/cheat_sheet.html",
    "search.html",
}
BUILT = [
    path for folder in ("book", "_modules") for path in (SITE / folder).rglob("*.html")
]
PAGES = sorted(str(path.relative_to(SITE)) for path in BUILT)
PAGES += ["index.html", "search.html", "genindex.html"]


def has_widgets(name):
    path = SITE / name
    return path.exists() and WIDGET.search(path.read_text(encoding="utf-8"))


pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address():
    """The site, served on this machine from a thread."""
    assert (SITE / "index.html").exists(), "no built site; run `make book` first"

    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # many files through one connection

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None and os.environ.get("CI"):
        pytest.fail("Chromium is not installed, and CI has to run this check")
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def context(browser):
    """One reader's browser for all pages: what they share is fetched once."""
    with browser.new_context() as context:
        context.add_init_script(path=CHECKS)
        yield context


@pytest.fixture
def visit(context, address):
    """Opens a page at a width; collects what goes wrong on it and what it asks for."""
    pages = []

    def open_page(name, width):
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.problems = problems = []

        def note_request(request):
            if urlsplit(request.url).hostname not in ("127.0.0.1", None):
                problems.append(f"asks another host: {request.url}")

        def note_response(response):
            if response.status >= 400:
                problems.append(f"{response.status}: {response.url}")

        def note_message(message):
            if message.type == "error":
                problems.append(f"console: {message.text}")

        page.on("request", note_request)
        page.on("response", note_response)
        page.on("console", note_message)
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.goto(f"{address}/{name}")
        page.wait_for_function("siteChecks.settled()", timeout=30_000)
        return page

    yield open_page
    for page in pages:
        page.close()


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


def move_slider(slider):
    """What the output around a slider shows before and after an arrow key."""
    handle = slider.locator(".noUi-handle").first
    output = slider.locator("xpath=ancestor::div[contains(@class, 'cell_output')]")
    tab_to(slider.page, handle)
    assert handle.get_attribute("aria-label")
    now, most = (handle.get_attribute(f"aria-value{name}") for name in ("now", "max"))
    before = output.evaluate("output => siteChecks.shown(output)")
    handle.press("ArrowLeft" if float(now) >= float(most) else "ArrowRight")
    slider.page.wait_for_timeout(200)
    return before, output.evaluate("output => siteChecks.shown(output)")


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole(visit, name):
    """Loaded as a phone does it, looked at in both themes, and again after a resize."""
    page = visit(name, WIDTHS["phone"])
    if name != "index.html":  # which sends the reader on to the first page
        check_weight(page, name)
        page.add_script_tag(path=AXE)
        for device in devices(name):
            page.set_viewport_size({"width": WIDTHS[device], "height": 900})
            for theme in ("light", "dark"):
                check_look(page, name, device, theme)
    if page.locator("article").count():
        assert page.evaluate("siteChecks.unfinishedMarkup()") == []
        assert page.evaluate("siteChecks.namelessPictures()") == []
        assert page.evaluate("siteChecks.silentFormulas()") == []
    if has_widgets(name):
        check_sliders(page)
    page.wait_for_load_state("networkidle")
    assert page.problems == []


def devices(name):
    """Pages of source code are all made alike: the width that can fail is enough."""
    return ["phone"] if "_modules" in name else ["phone", "desktop"]


def check_look(page, name, device, theme):
    set_theme(page, theme)
    folder = os.environ.get("BOOK_SCREENSHOTS")
    if folder:
        picture = name.removesuffix(".html").replace("/", "-")
        path = Path(folder) / f"{picture}-{device}-{theme}.png"
        page.screenshot(path=path, full_page=True)
    assert page.evaluate("siteChecks.wide()") == [], (device, theme)
    all_looks = name in AXE_LOOKS_AT_ALL or os.environ.get("BOOK_AXE") == "all"
    if all_looks or (device, theme) in AXE_LOOKS:
        assert page.evaluate("siteChecks.violations()") == [], (device, theme)


def check_sliders(page):
    """Every slider changes its picture, by keyboard."""
    sliders = page.locator(".widget-slider").all()
    assert sliders, "widgets without a slider: what does the reader move?"
    for number, slider in enumerate(sliders):
        before, after = move_slider(slider)
        assert before, f"slider {number} has nothing to show"
        assert before != after, f"slider {number} changes nothing"


def check_weight(page, name):
    weight = {path: compressed(path) for path in loaded(page)}
    assert name in weight and len(weight) > 10
    assert sum(weight.values()) < HEAVIEST, sorted(weight.items(), key=lambda x: -x[1])


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
def compressed(path):
    """The bytes of a file of the site on its way to the reader."""
    return len(gzip.compress((SITE / path).read_bytes(), 6))


def test_a_search_finds_the_glossary(visit):
    page = visit("search.html?q=receptance", WIDTHS["desktop"])
    page.wait_for_selector("#search-results a", timeout=10_000)
    found = page.locator("#search-results a").evaluate_all("e => e.map(a => a.href)")
    assert any("glossary" in link for link in found)
    assert page.problems == []


def test_every_page_is_built_with_its_outputs():
    """A build that publishes nothing, or pages without results, must not pass."""
    for path in [*(ROOT / "book").rglob("*.md"), *(ROOT / "book").rglob("*.ipynb")]:
        if ".ipynb_checkpoints" in path.parts:
            continue
        page = SITE / path.relative_to(ROOT).with_suffix(".html")
        html = page.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            shown = [cell for cell in cells if cell.get("outputs")]
            assert html.count('class="cell_output ') == len(shown), path.name


def test_the_site_holds_no_address_of_a_script_elsewhere():
    """What a page would fetch only later, or only in another browser, counts too."""
    for name in PAGES:
        text = (SITE / name).read_text(encoding="utf-8")
        for tag in ("<script src=", '<link rel="stylesheet" href=', "<img src="):
            for quote in "\"'":
                assert tag + quote + "http" not in text, (name, tag)
