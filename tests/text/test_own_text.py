"""One's own text is read as it was meant, or a sentence says what to do with it."""

import gzip
import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from rwkv_book.text import corpora
from rwkv_book.text.corpora import CorpusError

LINES = "".join(f"Line {n}: naïve, 20 €, 天地玄黃.\n" for n in range(100))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def whole(corpus):
    """What is in a corpus of one work, put together again."""
    (first,), (second,) = corpus.training.values(), corpus.validation.values()
    return (first + second).decode()


def refused(path, reason):
    with pytest.raises(CorpusError, match=reason) as caught:
        corpora.load(path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # printable everywhere
    return str(caught.value)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_text_is_the_same_in_every_encoding_that_says_what_it_is(
    tmp_path, encoding, end
):
    mark = "\ufeff" if encoding.endswith("-be") else ""
    path = write(tmp_path / "my", (mark + LINES.replace("\n", end)).encode(encoding))
    corpus = corpora.load(path)
    assert whole(corpus) == LINES
    assert corpus == corpora.load(str(path)) and corpus.name == "my"


def test_of_one_text_the_last_tenth_is_held_out_and_no_letter_is_cut(tmp_path):
    for shift in range(4):
        path = write(tmp_path / "my.txt", "a" * shift + 1000 * "é€")
        corpus = corpora.load(path)
        (training,), (held_out,) = corpus.training.values(), corpus.validation.values()
        assert training.decode() and held_out.decode()
        share = len(held_out) / len(training + held_out)
        assert share == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no text in it"),
        (b" \r\n\t\n" * 900, "has no text in it"),
        (b"\xef\xbb\xbf", "has no text in it"),
        (b"x", "has 1 bytes of text.* at least 1,000"),
        ("é" * 499, "has 998 bytes of text.* at least 1,000"),
        ("x" * 3190 + "\0", "has a byte 0 behind 3,190 letters.*take it out"),
        ("\ufeffab\0".encode("utf-16-le") * 900, "has a byte 0 behind 2 letters"),
        (LINES.encode("utf-16-le"), "UTF-16, save it as UTF-8"),
        (LINES.encode("utf-32-be"), "UTF-16, save it as UTF-8"),
        ("мир и труд ".encode("utf-16-le") * 300, "if it is in UTF-16, save it as"),
        ("é".encode() * 600 + b"\xc3", "byte at 1,200 is 0xc3; it ends inside a lett"),
        ("天地玄黃".encode("utf-16-le") * 300, "is not UTF-8: .* save it as UTF-8"),
        (b"caf\xe9 " * 300, "not UTF-8: the byte at 3 is 0xe9; .*iconv -f LATIN1"),
        (b"\xff\xfe" + b"\x00\xd8" * 900, "is not UTF-16-LE: .*damaged"),
        (b"\xef\xbb\xbf" + b"caf\xe9 " * 300, "not UTF-8: the byte at 6 is 0xe9"),
        (b"\x7fELF" + b"\xff\0\1\2\3\4\5\6" * 900, "no text at all"),
        (bytes(5000), "too many bytes of 0"),
        (b"%PDF-1.7\n" * 900, "is not a text but a PDF: save what it says"),
        (b"\x89PNG\r\n\x1a\n" * 900, "is not a text but a picture"),
        (b"{\\rtf1 Hello}" * 900, "is not a text but an RTF document"),
        (gzip.compress(LINES.encode()), "is not a text but compressed with gzip"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(tmp_path, content, reason):
    path = write(tmp_path / "my.txt", content)
    assert str(path) in refused(path, reason)


def test_a_document_in_a_zip_is_refused(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("word/document.xml", LINES)
    refused(write(tmp_path / "my.docx", packed.getvalue()), r"a zip, as \.docx")


def test_a_thousand_bytes_are_enough(tmp_path):
    assert whole(corpora.load(write(tmp_path / "my", "x" * 1000))) == "x" * 1000


def test_a_folder_is_read_with_all_below_it_in_the_order_of_names(tmp_path):
    for name in ("b.md", "a.TXT", "c/a.txt", "c/d/e.Md"):
        write(tmp_path / "poems" / name, name * 400)
    others = ("c.py", "txt", ".hidden.md", ".git/notes.txt", "._a.txt", "c/x.text")
    for name in others:
        write(tmp_path / "poems" / name, b"\0\xff")
    write(tmp_path / "poems" / "empty.txt", b"\n")
    corpus = corpora.load(tmp_path / "poems")
    assert corpus.name == "poems"
    assert list({**corpus.training, **corpus.validation}) == [
        "a.TXT", "c/a.txt", "c/d/e.Md", "b.md"
    ]  # fmt: skip
    assert list(corpus.validation) == ["b.md"]
    assert corpora.load(tmp_path / "poems") == corpus


def test_whole_works_are_held_out(tmp_path):
    for n in range(25):
        write(tmp_path / f"{n:02}.txt", LINES)
    assert list(corpora.load(tmp_path).validation) == ["09.txt", "19.txt"]


def test_of_a_few_works_the_one_that_is_nearest_to_a_tenth_is_held_out(tmp_path):
    for name, lines in {"a": 2000, "b": 1, "c": 230, "d": 3}.items():
        write(tmp_path / f"{name}.txt", LINES * lines)
    corpus = corpora.load(tmp_path)
    assert list(corpus.validation) == ["c.txt"]
    assert list(corpus.training) == ["a.txt", "b.txt", "d.txt"]


def test_a_folder_with_one_text_has_a_held_out_part_too(tmp_path):
    write(tmp_path / "my.txt", LINES)
    assert whole(corpora.load(tmp_path)) == LINES


def test_a_folder_without_texts_says_what_it_looks_for(tmp_path):
    write(tmp_path / "my.docx", LINES)
    refused(tmp_path, r"no file that ends in \.txt or \.md")
    write(tmp_path / "my.txt", b"\n")
    refused(tmp_path, "has no text in it")
    write(tmp_path / "other.txt", b"a few words")
    refused(tmp_path, "has 11 bytes of text")


def test_the_file_of_a_folder_that_is_no_text_is_named(tmp_path):
    write(tmp_path / "a.txt", LINES)
    write(tmp_path / "below" / "b.txt", b"caf\xe9")
    refused(tmp_path, r"b\.txt is not UTF-8: the byte at 3")


@pytest.mark.parametrize("path", ["not/here.txt", "bible", "", "a\0b", "x" * 5000])
def test_where_nothing_is_the_names_are_told(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(path, "no corpus is called .*there are prose, shakespeare, and no file")


def test_a_name_of_the_book_goes_before_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "prose", LINES)
    assert corpora.load("prose") == corpora.prose()
    assert whole(corpora.load("./prose")) == LINES


def test_a_text_that_cannot_be_had_is_replaced_when_one_says_so(tmp_path, capfd):
    path = write(tmp_path / "my.txt", b"caf\xe9" * 300)
    assert corpora.load(path, instead="prose") == corpora.prose()
    said = capfd.readouterr().out
    assert said.startswith(f"Without {path}, we read prose: ") and said.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_a_name_that_is_not_utf_8_can_be_printed(tmp_path, capfd):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/po\xe8mes"))
    write(folder / os.fsdecode(b"\xe9t\xe9.txt"), LINES)
    write(folder / "tab\t.txt", LINES)
    corpus = corpora.load(folder)
    assert corpus.name == r"po\xe8mes"
    assert {*corpus.training, *corpus.validation} == {r"\xe9t\xe9.txt", r"tab\t.txt"}
    assert len(corpus.digest) == 64
    write(folder / os.fsdecode(b"\xe9t\xe9.txt"), b"\xff")
    refused(folder, r"po\\xe8mes/\\xe9t\\xe9\.txt is not UTF-8")
    refused(folder / os.fsdecode(b"\xff"), "no corpus is called")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_that_go_round_end_nowhere(tmp_path):
    write(tmp_path / "a.txt", LINES)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert whole(corpora.load(tmp_path)) == LINES
    (tmp_path / "b.txt").symlink_to(tmp_path / "b.txt")
    refused(tmp_path, r"b\.txt can't be read \(Too many levels")
    refused(tmp_path / "b.txt", "can't be read")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "gone.txt", r"can't be read \(No such file")


@pytest.mark.skipif(sys.platform != "linux", reason="these files are Linux's")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/proc/self/mem", r"can't be read \(Input/output error\)"),
        ("/dev/zero", "is neither a file nor a folder"),
    ],
)
def test_what_cannot_be_read_says_why(path, reason):
    refused(path, reason)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none on Windows")
def test_nobody_waits_at_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    refused(tmp_path / "pipe.txt", "is neither a file nor a folder")
    refused(tmp_path, "is neither a file nor a folder")


@pytest.fixture
def closed():
    """A folder beside a text that this user may not enter, whoever it is."""
    with tempfile.TemporaryDirectory() as place:
        write(Path(place) / "texts" / "a.txt", LINES)
        folder = write(Path(place) / "texts" / "closed" / "b.txt", LINES).parent
        Path(place).chmod(0o755)
        folder.chmod(0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)  # root may enter everything
        try:
            yield folder
        finally:
            os.seteuid(before)
            folder.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")
def test_a_folder_that_one_may_not_enter_is_named(closed):
    for path in (closed, closed / "b.txt", closed.parent):
        refused(path, r"closed.* can't be read \(Permission denied\)")
