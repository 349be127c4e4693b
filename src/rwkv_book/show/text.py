"""What is shown as text: source code as it is imported, and tables."""

import difflib
import html
import inspect
import re
from itertools import groupby
from operator import itemgetter

from IPython.display import display

from rwkv_book import language
from rwkv_book.show.palette import ACCENT


def source(*things):
    """Show functions, classes or modules as they are imported, highlighted."""
    code = code_of(things)
    show_markdown(f"```python\n{code}\n```", code)


def code_of(things):
    """The source of some things, two empty lines between them."""
    return "\n\n\n".join(inspect.getsource(thing).rstrip() for thing in things)


def beside(old, new):
    """Show the source of two things side by side, their differences marked.

    `old` and `new` are pairs of a heading and a list of functions. A line that is only
    on the left has a - before it, one that is only on the right a +, and what is new in
    it is tinted. One stands below the other where the page is narrow.
    """
    codes = [code_of(functions) for _, functions in (old, new)]
    lines = shared([code.splitlines() for code in codes], least=1)
    words = shared([WORD.findall(code) for code in codes], least=6)
    columns, plain = [], []
    for (heading, _), code, whole, parts, sign in zip(
        (old, new), codes, lines, words, "-+", strict=True
    ):
        signs = [" " if same else sign for same in whole]
        tinted = tint(code, parts).split("\n")
        rows = list(zip(signs, code.split("\n"), tinted, strict=True))
        columns.append(column(heading, rows))
        plain += [f"{heading}:", *(f"{s} {line}".rstrip() for s, line, _ in rows), ""]
    page = (
        '<div style="display: grid; gap: 0.5rem; align-items: start; '
        'grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr))">'
        f"{''.join(columns)}</div>"
    )
    display({"text/html": page, "text/plain": "\n".join(plain).strip()}, raw=True)


WORD = re.compile(r"\w+|\s+|[^\w\s]")


def shared(pair, least):
    """For each of two sequences, which of its items stand in both, in one order.

    Runs of fewer than `least` items are chance, and don't count.
    """
    blocks = difflib.SequenceMatcher(None, *pair, autojunk=False).get_matching_blocks()
    found = [[False] * len(items) for items in pair]
    for block in blocks:
        if block.size >= least:
            found[0][block.a : block.a + block.size] = [True] * block.size
            found[1][block.b : block.b + block.size] = [True] * block.size
    return found


def tint(code, same):
    """Code as HTML, those of its words tinted that are not the `same` elsewhere."""
    red, green, blue = (int(ACCENT[i : i + 2], 16) for i in (1, 3, 5))
    style = f"background: rgba({red}, {green}, {blue}, 0.22)"
    pieces = []
    for known, run in groupby(
        zip(same, WORD.findall(code), strict=True), itemgetter(0)
    ):
        text = html.escape("".join(word for _, word in run))
        tinted = re.sub(r"[^\s][^\n]*", rf'<span style="{style}">\g<0></span>', text)
        pieces.append(text if known else tinted)
    return "".join(pieces)


def column(heading, rows):
    """HTML of one side of `beside`: a heading, and lines with their signs."""
    shown = []
    for sign, line, marked in rows:
        indent = len(line) - len(line.lstrip()) + 4  # what is too long goes on further
        shown.append(
            f'<span style="display: block; padding-left: {indent}ch; '
            f'text-indent: -{indent}ch">{sign} {marked}</span>'
        )
    style = "white-space: pre-wrap; font-size: 0.72rem; margin: 0; padding: 0.5rem"
    return (
        f'<div style="min-width: 0"><strong>{html.escape(heading)}</strong>'
        f'<pre style="{style}">{"".join(shown)}</pre></div>'
    )


def table(header, rows):
    """Show rows of text under a header; numbers should come formatted."""
    rows = [[str(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *rows]
    markdown = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    plain = "\n".join(
        "  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip()
        for line in [header, *rows]
    )
    show_markdown(markdown, plain)


def show_markdown(markdown, plain):
    """One output that is Markdown where that can be shown, and plain text elsewhere."""
    forms = {"text/markdown": markdown, "text/plain": plain}
    display(language.bundle(forms), raw=True)
