"""A text of yours, or a folder of them, as a corpus.

What people have is often not quite what they think: another encoding, a document in
place of a text, a file that is nearly empty. All of it is either read as it was meant
or refused in a sentence that says what to do. Whatever the machine, the same files give
the same bytes.
"""

import codecs
import os
from pathlib import Path

from rwkv_book.text import END_OF_TEXT
from rwkv_book.text.corpus import Corpus, CorpusError, split

ENDINGS = (".txt", ".md")
LEAST = 1000  # bytes in all; a tenth of them is held out
MARKS = {  # how a text with a byte-order mark begins; UTF-16's is how UTF-32's begins
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
DOCUMENTS = {
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a zip, as .docx, .odt and .epub are too",
    b"\x1f\x8b": "compressed with gzip",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\xd0\xcf\x11\xe0": "an old Word document",
    b"{\\rtf": "an RTF document",
}


def exists(path):
    """Whether there is something at `path`, be it readable or not."""
    try:
        os.lstat(path)
    except PermissionError:  # of a folder on the way: there may be
        return True
    except (OSError, ValueError):  # among them what can't be a path
        return False
    return True


def read(path):
    """The Corpus of a text file, or of all *.txt and *.md in a folder and below it.

    Works are named by their path in the folder and sorted by it; what begins with a dot
    is left out, as are folders that are only linked. Of ten works and more every tenth
    is held out, of fewer the one whose length is nearest to a tenth of all, and of a
    single one the last tenth. Line ends become \\n, and a byte-order mark goes.

    CorpusError for what isn't text, or is too short, or can't be read.
    """
    path = Path(path)
    name = printable(os.path.basename(os.path.abspath(path)) or path)
    if os.path.isdir(path):
        texts = {printable(part): text_of(path / part) for part in parts_of(path)}
        works = {part: text for part, text in texts.items() if text.strip()}
    else:
        texts = works = {name: text_of(path)}
    found = sum(map(len, works.values()))
    if not any(text.strip() for text in works.values()):
        raise CorpusError(f"{printable(path)} has no text in it")
    if found < LEAST:
        raise CorpusError(
            f"{printable(path)} has {found:,} bytes of text, and to learn from it and "
            f"to hold a tenth out takes at least {LEAST:,}: give it more text"
        )
    if len(works) == 1:
        return cut(name, works)
    return split(name, works, held_out(works))


def parts_of(folder):
    """The paths of the texts in a folder, as from there, sorted."""

    def fail(error):
        raise CorpusError(why_not(error.filename, error)) from error

    found = []
    for here, below, files in os.walk(folder, onerror=fail):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                found.append((Path(here) / name).relative_to(folder).as_posix())
    if not found:
        wanted = " or ".join(ENDINGS)
        raise CorpusError(
            f"{printable(folder)} has no text in it, no file that ends in {wanted}"
        )
    return sorted(found)


def text_of(path):
    """The text in a file, in UTF-8 with \\n between lines; CorpusError if none."""
    shown = printable(path)
    try:
        if path.exists() and not path.is_file():
            raise CorpusError(f"{shown} is neither a file nor a folder")
        raw = path.read_bytes()
    except OSError as error:
        raise CorpusError(why_not(path, error)) from error
    text = decoded(raw, shown)
    if chr(END_OF_TEXT) in text:
        place = text.index(chr(END_OF_TEXT))
        raise CorpusError(
            f"{shown} has a byte 0 behind {place:,} letters, and that is what stands "
            "between two texts here: take it out, make two files of it or, if it is in "
            "UTF-16, save it as UTF-8"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n").encode()


def decoded(raw, shown):
    """The letters of a file's bytes, without a byte-order mark."""
    for begin, kind in DOCUMENTS.items():
        if raw.startswith(begin):
            raise CorpusError(
                f"{shown} is not a text but {kind}: save what it says as plain text"
            )
    mark = next(filter(raw.startswith, MARKS), b"")
    encoding = MARKS.get(mark, "utf-8")
    if not mark and raw[:4096].count(0) > len(raw[:4096]) / 5:
        raise CorpusError(
            f"{shown} has too many bytes of 0 for a text in UTF-8. If it is a text in "
            "UTF-16, save it as UTF-8, or with a byte-order mark"
        )
    try:
        return raw[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        place = len(mark) + error.start
        if mark:
            advice = "it seems to be damaged"
        elif 0 in raw:
            advice = "it seems to be no text at all"
        elif error.reason == "unexpected end of data":
            advice = "it ends inside a letter, as if it had been cut: get all of it"
        else:
            advice = (
                "save it as UTF-8 in an editor or, if it is in Latin-1, with "
                "iconv -f LATIN1 -t UTF-8 OLD > NEW"
            )
        raise CorpusError(
            f"{shown} is not {encoding.upper()}: the byte at {place:,} is "
            f"0x{raw[place]:02x}; {advice}"
        ) from error


def held_out(works):
    """The names of the works to hold out of two or more."""
    if len(works) >= 10:
        return list(works)[9::10]
    tenth = sum(map(len, works.values())) / 10
    return [min(works, key=lambda work: abs(len(works[work]) - tenth))]


def cut(name, works):
    """The Corpus of one work, whose last tenth is held out, between two letters."""
    ((work, text),) = works.items()
    place = len(text) * 9 // 10
    while text[place] & 0b1100_0000 == 0b1000_0000:  # inside a letter
        place -= 1
    return Corpus(name, {work: text[:place]}, {work: text[place:]})


def why_not(path, error):
    return f"{printable(path)} can't be read ({error.strerror or error})"


def printable(path):
    """A path that can be printed, logged and stored, whatever bytes it has."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )
