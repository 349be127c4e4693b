"""How soon a page is there on a phone with a slow connection, and its figures move.

The connection is what browsers' tools call fast 3G. How fast a phone computes can't be
told here, as a browser makes it so many times slower than a machine of which nothing is
known; so it computes as fast as it can, and the bounds leave room for that.
"""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.browser import SITE, packed

LATENCY, DOWN, UP = 0.150, 200_000, 93_750  # seconds of a round trip, bytes a second
ROUND_TRIPS = 2  # before a word can be drawn: for the page, and for its styles
FLOOR = 0.75  # seconds, of what the bytes and the round trips alone would take
PAINTED, MOVABLE = 2.5, 6.0  # seconds
MOST_FILES = 9  # before the first word, the page among them
PAGES = [
    "book/index.html",
    "book/04_wkv_operator.html",
    "book/05_rwkv_in_100_lines.html",
    "book/07_training.html",
]
WATCH = """
  new PerformanceObserver((list) => {
    for (const { name, startTime } of list.getEntries()) {
      if (name === "first-contentful-paint") window.paintedAt = startTime;
    }
  }).observe({ type: "paint", buffered: true });
  new MutationObserver(() => {
    if (document.querySelector("[data-live][data-mounted] :is(input, select)"))
      window.movableAt ??= performance.now();
  }).observe(document, { subtree: true, childList: true, attributes: true });
"""
BEFORE = """performance.getEntriesByType("resource")
  .filter((entry) => entry.renderBlockingStatus === "blocking")
  .map(({ name, encodedBodySize }) => [name, encodedBodySize])"""

pytestmark = pytest.mark.browser


class Compressing(SimpleHTTPRequestHandler):
    """Sends texts as the server of the published site does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0].lstrip("/")
        if not path.endswith((".html", ".css", ".js")) or not (SITE / path).is_file():
            return super().do_GET()
        body = packed(path)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def compressing():
    handler = partial(Compressing, directory=SITE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def phone(browser):
    """A page of a phone that has never been here, on a slow connection."""
    size = {"width": 390, "height": 844}
    with browser.new_context(viewport=size, is_mobile=True, has_touch=True) as context:
        context.add_init_script(WATCH)
        page = context.new_page()
        network = context.new_cdp_session(page)
        network.send("Network.enable")
        network.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": 1000 * LATENCY,
                "downloadThroughput": DOWN,
                "uploadThroughput": UP,
            },
        )
        yield page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_there_soon_and_its_first_figure_moves(phone, compressing, name):
    phone.goto(f"{compressing}/{name}", wait_until="commit")
    phone.wait_for_function("window.paintedAt && window.movableAt", timeout=30_000)
    waited = phone.evaluate("[window.paintedAt, window.movableAt]")
    painted, movable = (each / 1000 for each in waited)
    before = phone.evaluate(BEFORE)
    bytes_before = sum(size for _, size in before)
    floor = ROUND_TRIPS * LATENCY + bytes_before / DOWN
    told = (
        f"{name}: first words after {painted:.2f} s, a figure moves after "
        f"{movable:.2f} s; {bytes_before:,} bytes come before, which alone take "
        f"{floor:.2f} s: {before}"
    )
    assert before, told
    assert floor < FLOOR and 1 + len(before) <= MOST_FILES, told
    assert painted < PAINTED and movable < MOVABLE, told
