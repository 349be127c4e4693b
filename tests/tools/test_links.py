"""Links: what the checker finds, on a site made for the purpose."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import links
import pytest


@pytest.fixture
def site(tmp_path):
    (tmp_path / "index.html").write_text(
        '<h1 id="top">A</h1> <a href="b.html#here">b</a> <a href="folder/">folder</a>'
    )
    (tmp_path / "b.html").write_text(
        '<p id="here">B</p> <img src="no.png"> <a href="index.html#nowhere">a</a>'
        '<a href="c.html">c</a> <a href="#here">above</a> <a href="https://x.org/#y">x</a>'
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").write_text('<a href="../b.html">b</a>')
    return tmp_path


def test_links_that_lead_somewhere_are_not_named(site):
    assert list(links.broken_inside(site / "index.html")) == []
    assert list(links.broken_inside(site / "folder" / "index.html")) == []


def test_missing_files_and_places_are_named(site):
    assert list(links.broken_inside(site / "b.html")) == [
        ("no.png", "no such file"),
        ("index.html#nowhere", "no such place in index.html"),
        ("c.html", "no such file"),
    ]


def test_markdown_links_are_read_outside_of_code_alone(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(
        "# Two words\n[here](#two-words) [there](#three-words) [no](missing.md)\n"
        "`[code](code.md)`\n\n```bash\n[code](code.md)\n```\n<https://x.org>\n"
    )
    assert list(links.broken_inside(readme)) == [
        ("#three-words", "no such place in README.md"),
        ("missing.md", "no such file"),
    ]
    assert links.elsewhere([readme]) == {"https://x.org": readme}


def test_addresses_elsewhere_are_asked_once_each(site):
    found = links.elsewhere([site / "b.html", site / "index.html"])
    assert found == {"https://x.org/": site / "b.html"}


@pytest.fixture
def server():
    """Answers with the number in the path; the first time /flaky with 500."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            flaky = 500 if asked.count(self.path) == 1 else 200
            code = flaky if self.path == "/flaky" else int(self.path[1:])
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", asked
    running.shutdown()
    running.server_close()


def test_an_address_is_asked_again_unless_it_is_gone(server):
    address, asked = server
    assert links.answer(f"{address}/200") == ""
    assert links.answer(f"{address}/flaky", wait=0) == ""
    assert links.answer(f"{address}/404", wait=0) == "404"
    assert links.answer(f"{address}/403", wait=0) == "? 403"
    assert asked.count("/flaky") == 2
    assert asked.count("/404") == 1


def test_without_a_network_nothing_fails_and_it_is_said(capsys, monkeypatch):
    monkeypatch.setattr(links, "there_is_a_network", lambda: False)
    assert links.check_elsewhere({"https://x.org": None}) == 0
    assert "There is no network" in capsys.readouterr().out


def test_a_network_that_is_not_there_is_noticed():
    assert not links.there_is_a_network("http://127.0.0.1:1")
