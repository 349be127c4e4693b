"""Fixtures of every test that opens the built site: a server, Chromium, a reader."""

import os
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from helpers.browser import CHECKS, FLAGS, SITE
from playwright.sync_api import sync_playwright

from tools.site.browser import chromium

FORMULAS = re.compile(r"/tex-mml-chtml\.js(\?|$)")  # what typesets them


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def browser():
    """Started once; each module has a context, and so a storage, of its own in it."""
    path = chromium()
    if path is None and os.environ.get("CI"):
        pytest.fail("Chromium is not installed, and CI has to run this check")
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def context(browser):
    """One reader's browser for all pages: what they share is fetched once."""
    with browser.new_context() as context:
        context.add_init_script(path=CHECKS)
        yield context


@pytest.fixture
def visit(context, address):
    """Opens a page at a width; collects what goes wrong on it and what it asks for.

    Without `formulas` they stay as they were written, which spares a third of a
    chapter's loading: for what has nothing to do with them.
    """
    pages = []

    def open_page(name, width, formulas=True):
        page = context.new_page()
        if not formulas:
            page.route(FORMULAS, lambda route: route.fulfill(body=""))
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
        page.wait_for_function(
            "formulas => siteChecks.settled(formulas)", arg=formulas, timeout=30_000
        )
        assert formulas or not page.locator("mjx-container").count()
        return page

    yield open_page
    for page in pages:
        page.close()
