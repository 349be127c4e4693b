"""A download is checked and kept once; whatever fails on the way is one sentence.

The hub here is a server of this machine, asked by the real library in another process.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.disks import read_only, small_disk
from helpers.network import closed_port

from rwkv_book import checkpoint
from rwkv_book.checkpoint import CheckpointError, downloads

NAME = "RWKV-4-Pile-169M"
REPOSITORY, FILE, _ = checkpoint.PUBLISHED[NAME]
FIRST, SECOND = "c0ffee" + "0" * 34, "decaf" + "0" * 35  # revisions

PROGRAM = """
import sys
from rwkv_book import checkpoint
name, cache, digest = sys.argv[1:]
repository, file, _ = checkpoint.PUBLISHED[name]
checkpoint.PUBLISHED[name] = (repository, file, digest)
try:
    print(checkpoint.download(name, cache or None))
except checkpoint.CheckpointError as error:
    print(error)
    sys.exit(3)
"""


class Hub(BaseHTTPRequestHandler):
    """One repository with one file; `broken` says how it fails."""

    def do_GET(self):
        hub = self.server
        if self.path == "/api/agent-harnesses":  # the library asks for it once a day
            return self.answer(404, b"not here")
        hub.asked.append(f"{self.command} {self.path}")
        if hub.broken == "404":
            return self.answer(404, b"no such repository")
        if self.path.startswith("/api/"):
            lfs = {"sha256": hub.digest, "size": len(hub.content), "pointerSize": 9}
            file = {"rfilename": FILE, "size": lfs["size"], "lfs": lfs}
            revision = self.path.split("/revision/")[-1].split("?")[0]
            known = revision if revision in (FIRST, SECOND) else hub.revision
            info = {"id": REPOSITORY, "sha": known, "siblings": [file]}
            return self.answer(200, json.dumps(info).encode())
        first = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0] or 0)
        return self.answer(206 if first else 200, hub.content[first:])

    do_HEAD = do_GET

    def answer(self, code, content):
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{self.server.digest}"')
        self.send_header("X-Repo-Commit", self.server.revision)
        self.end_headers()
        cut = self.server.broken == "cut" and self.path.startswith(f"/{REPOSITORY}")
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, *_):
        """Nothing is printed among the dots of the tests."""


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.content = b"weights" * 1000
    server.digest = hashlib.sha256(server.content).hexdigest()
    server.revision, server.broken, server.asked = FIRST, "", []
    server.wanted = server.digest
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def download(hub, cache, before="", **environment):
    """(exit code, what it printed) of a download in a process of its own."""
    address = hub if isinstance(hub, str) else f"http://127.0.0.1:{hub.server_port}"
    digest = "0" * 64 if isinstance(hub, str) else hub.wanted
    clean = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    run = subprocess.run(
        [sys.executable, "-c", before + PROGRAM, NAME, str(cache), digest],
        env=clean | {"HF_ENDPOINT": address, "NO_PROXY": "*"} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode in (0, 3), run.stderr
    return run.returncode, run.stdout.strip()


def refused(hub, cache, before="", **environment):
    """The one sentence of a download that fails."""
    code, text = download(hub, cache, before, **environment)
    assert code == 3 and "\n" not in text
    return text


def files_of(hub):
    """What was asked for, apart from the first look at a file's size."""
    return [line for line in hub.asked if not line.startswith("HEAD")]


def test_a_download_is_checked_kept_and_not_repeated(hub, tmp_path):
    code, path = download(hub, tmp_path)
    assert code == 0 and path == str(tmp_path / NAME / FILE)
    assert (tmp_path / NAME / FILE).read_bytes() == hub.content
    info, *rest = files_of(hub)
    assert info.startswith(f"GET /api/models/{REPOSITORY}")
    assert set(rest) == {f"GET /{REPOSITORY}/resolve/{FIRST}/{FILE}"}
    note = json.loads((tmp_path / NAME / "source.json").read_text())
    assert note["revision"] == FIRST and note["sha256"] == hub.digest
    asked = len(hub.asked)
    assert download(hub, tmp_path) == (0, path) and len(hub.asked) == asked


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_others_may_read_a_download_as_the_umask_says(hub, tmp_path, umask):
    code, path = download(hub, tmp_path, f"import os; os.umask({umask})\n")
    assert code == 0
    for file in (path, tmp_path / NAME / "source.json"):
        assert os.stat(file).st_mode & 0o777 == 0o666 & ~umask


def test_an_interrupted_download_goes_on_with_the_revision_it_began_with(hub, tmp_path):
    hub.broken = "cut"
    assert "could not be fetched" in refused(hub, tmp_path)
    assert not (tmp_path / NAME / FILE).exists()
    hub.broken, hub.revision = "", SECOND
    hub.asked.clear()
    assert download(hub, tmp_path)[0] == 0
    assert all(FIRST in line and SECOND not in line for line in hub.asked)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"revision": 3}', "\0"])
def test_a_damaged_note_tells_nothing(tmp_path, content):
    note = tmp_path / "source.json"
    note.write_text(content)
    assert downloads.known_revision(note) is None
    note.write_text(json.dumps({"revision": FIRST}))
    assert downloads.known_revision(note) == FIRST


def test_a_damaged_note_is_written_anew(hub, tmp_path):
    (tmp_path / NAME).mkdir()
    note = tmp_path / NAME / "source.json"
    note.touch()
    assert download(hub, tmp_path)[0] == 0
    assert json.loads(note.read_text())["revision"] == FIRST


def test_a_file_with_another_digest_is_removed(hub, tmp_path):
    hub.content = b"weighty" * 1000
    assert f"not {hub.digest}: deleted" in refused(hub, tmp_path)
    assert list(tmp_path.rglob("*.pth")) == []
    hub.content = b"weights" * 1000
    _, path = download(hub, tmp_path)
    (tmp_path / NAME / FILE).write_bytes(b"changed")
    assert "SHA-256" in refused(hub, tmp_path)
    assert not os.path.exists(path)


def test_a_file_that_the_hub_itself_gives_another_digest_is_not_fetched(hub, tmp_path):
    hub.digest = "0" * 64
    assert f"hub offers SHA-256 {'0' * 64}" in refused(hub, tmp_path)
    assert len(hub.asked) == 1 and list(tmp_path.rglob("*.*")) == []


def assert_says_what_to_do(text):
    for part in (f"/{REPOSITORY}", "could not be fetched", "shipped()", "its path to"):
        assert part in text


def test_without_a_network_the_message_says_what_to_do(tmp_path):
    text = refused(closed_port(), tmp_path)
    assert_says_what_to_do(text)
    assert "refused" in text and list(tmp_path.rglob("*.*")) == []


def test_a_repository_that_is_gone_is_one_sentence(hub, tmp_path):
    hub.broken = "404"
    text = refused(hub, tmp_path)
    assert_says_what_to_do(text)
    assert "404" in text


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "offline mode"),
        ({"HTTP_PROXY": "nonsense://here", "NO_PROXY": ""}, "proxy"),
        ({"HF_ENDPOINT": "http://no.such.host.invalid"}, "no.such.host.invalid"),
        ({"HF_ENDPOINT": "not an address"}, "not an address"),
    ],
)
def test_a_broken_way_to_the_hub_is_one_sentence(hub, tmp_path, environment, said):
    text = refused(hub, tmp_path, **environment)
    assert_says_what_to_do(text)
    assert said in text


def test_a_hub_that_does_not_answer_is_one_sentence(tmp_path):
    impatient = "from rwkv_book.checkpoint import downloads; downloads.PATIENCE = 1\n"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        text = refused(address, tmp_path, impatient)
    assert_says_what_to_do(text)
    assert "timed out" in text


def test_a_full_disk_is_called_full_and_keeps_nothing(hub, tmp_path):
    hub.content = os.urandom(2**18)
    hub.digest = hub.wanted = hashlib.sha256(hub.content).hexdigest()
    with small_disk(tmp_path / "disk") as disk:
        assert "no space left for it" in refused(hub, disk)
        left = {file.name for file in disk.rglob("*") if file.is_file()}
        assert left <= {"source.json"}


def test_a_cache_that_can_only_be_read_is_enough_if_it_has_the_file(hub, tmp_path):
    cache = tmp_path / "rwkv-book"
    _, path = download(hub, cache)
    asked = len(hub.asked)
    environment = {"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with read_only(cache):
        assert download(hub, "", **environment) == (0, path)
        assert len(hub.asked) == asked
        hub.wanted = "1" * 64
        assert f"not {'1' * 64}: delete it" in refused(hub, "", **environment)


def test_a_folder_that_can_not_be_made_is_one_sentence(hub, tmp_path):
    (tmp_path / "file").touch()
    assert "file" in refused(hub, tmp_path / "file")
    assert hub.asked == []


def test_only_the_official_models_can_be_downloaded(tmp_path):
    with pytest.raises(CheckpointError, match=r"RWKV-4-Pile-169M, RWKV-4-Pile-430M"):
        checkpoint.download("RWKV-4-Pile-7B", tmp_path)
    for repository, file, digest in checkpoint.PUBLISHED.values():
        assert repository.startswith("BlinkDL/") and file.endswith(".pth")
        assert len(bytes.fromhex(digest)) == 32
