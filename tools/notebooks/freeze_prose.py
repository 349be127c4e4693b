"""The book's own prose as a text to train on: src/rwkv_book/text/prose.txt.

    python -m tools.notebooks.freeze_prose FILE

It was made once, of the pages as they were then, and is frozen: chapters print what a
network learns from it, and records hold the losses, so it must be the same everywhere
and for ever. The pages have changed since, and running this again gives another text.
It is how the text was made, and how one for another purpose can be.

Of every page it keeps what is written in sentences, in lines of at most 72 letters.
Cells, formulas, tables, targets of links, and sentences with a formula inside, are left
out. A work is a section, and begins with a line `=== page: heading`. All is ASCII, so
that a byte is a letter.
"""

import argparse
import re
import textwrap
import unicodedata
from pathlib import Path

from rwkv_book import folders
from tools import contents
from tools.notebooks import plain_markdown

WITHOUT_SENTENCES = {"api", "notebooks", "bibliography"}
BLOCKS = (  # what goes, and where no formula or code may be left behind
    r"(?ms)^ *(`{3,}).*?^ *\1$",
    r"(?ms)^:::\{(?:raw|book-map|bibliography)\}.*?^:::$",
    r"(?ms)^\$\$.*?\$\$(?: \([\w-]+\))?$",
    r"(?s)<!--.*?-->|<[^<>]+>",
    r"(?m)^\|.*$",  # a row of a table
    r"(?m)^:[a-z-]+:.*$",  # an option of a directive
    r"(?m)^:::$|^:::\{(?:glossary|note|margin|solution-start|solution-end)\}.*$",
    r"(?m)^\([\w-]+\)=$",  # a label
)
BOX = re.compile(r"(?m)^:::\{[a-z-]+\} *(.*)$")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
SYMBOL = re.compile(r"\$([\w ,.=+<>-]+)\$")  # a formula that reads as plain words
SENTENCE = re.compile(r"(?<=[.!?:]) +(?=\W*[A-Z])")
ITEM = re.compile(r"(?m)^(?=[-*] |\d+\. )")
DEFINED = re.compile(r"(?m)^([^\W\d].*)\n {2,}")  # a term of the glossary
ASCII = {
    "–": "-", "—": "-", "−": "-", "·": "*", "×": " x ", "→": "->", "…": "...",
    "‘": "'", "’": "'", "“": '"', "”": '"', "≈": "about ", "≥": ">=", "≤": "<=",
    "σ": "sigma", "µ": "mu", "μ": "mu", "½": "1/2", "²": "^2", "¼": "1/4", "⅛": "1/8",
}  # fmt: skip


def pages():
    """The pages in the order of the book, named without their ending."""
    return [page for page in contents.pages() if page.name not in WITHOUT_SENTENCES]


def markdown(page):
    """What a page says outside its code cells."""
    notebook = page.with_suffix(".ipynb")
    if not notebook.exists():
        return page.with_suffix(".md").read_text(encoding="utf-8")
    cells = plain_markdown.cells(notebook)
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def sections(page):
    """{heading: text} of a page; what stands under a subheading belongs to it."""
    here = page.with_suffix(".ipynb")
    text = plain_markdown.ROLE.sub(
        lambda role: plain_markdown.role(*role.groups(), here, str), markdown(page)
    )
    for block in BLOCKS:
        text = re.sub(block, "", text)
    text = LINK.sub(r"\1", BOX.sub(r"\1\n", text))
    _, *parts = re.split(r"(?m)^#{1,2} +(.+)$", text)
    headings = [in_letters(heading) for heading in parts[::2]]
    return dict(zip(headings, map(prose, parts[1::2]), strict=True))


def prose(text):
    """The paragraphs that are left, filled again, with an empty line between two."""
    paragraphs = []
    for block in re.split(r"\n\s*\n", DEFINED.sub(r"\1: ", text)):
        items = []
        for item in ITEM.split(block):
            words = in_letters(re.sub(r"(?m)^(>|#+) +", "", item))
            whole = [part for part in SENTENCE.split(words) if "$" not in part]
            mark = "  " if words.startswith("- ") else ""
            items += textwrap.wrap(" ".join(whole), 72, subsequent_indent=mark)
        if items:
            paragraphs.append("\n".join(items))
    return "\n\n".join(paragraphs)


def in_letters(text):
    """One line of ASCII, without the marks of Markdown."""
    text = SYMBOL.sub(r"\1", text)
    text = re.sub(r"\*+(\S(?:.*?\S)?)\*+", r"\1", text.replace("\n", " "))
    text = "".join(ASCII.get(letter, letter) for letter in text.replace("`", ""))
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join(text.split())


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    file = parser.parse_args(arguments).file
    works = [
        f"=== {page.name}: {heading}\n\n{text}\n"
        for page in pages()
        for heading, text in sections(page).items()
        if text
    ]
    folders.write_text(file, "\n".join(works))


if __name__ == "__main__":
    main()
