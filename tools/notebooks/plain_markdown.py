"""The book's Markdown as JupyterLab, Colab and slides understand it.

The pages are written in MyST, whose roles and directives mean nothing elsewhere: here
terms become words, citations names and years, exercises headings, boxes quotations and
numbered formulas formulas with a number. What is not known is an error, so that nobody
meets a stray `{role}` in a classroom.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
from pybtex.database import parse_file

from tools import contents

ROLE = re.compile(r"\{([a-z]+)\}`([^`]+)`")
TITLED = re.compile(r"(?s)(.*?)\s*<([^<>]+)>")  # text <target>
BOX = re.compile(r"(?ms)^:::\{([a-z-]+)\} *(.*?)\n(.*?)^:::$")
OPTION = re.compile(r"(?m)^:([a-z]+): *(.*)\n")
FORMULA = re.compile(r"(?ms)^```\{math\}\n:label: ([\w-]+)\n(.*?)^```$")
MAP = re.compile(r"(?m)^:::\{book-map\}\n:::$")
LABELLED = re.compile(r"(?ms)^\$\$\n((?:(?!\$\$).)*?)^\$\$ \(([\w-]+)\)$")
UNKNOWN = re.compile(r"\{[a-z-]+\}`|^:::|^```\{", re.MULTILINE)


@cache
def cells(path):
    """The cells of a notebook."""
    return nbformat.read(path, as_version=4).cells


@cache
def equations():
    """{label: (chapter, number)} of every formula with a label, as pages count them."""
    found = {}
    for path in contents.notebooks():
        text = "\n".join(c.source for c in cells(path) if c.cell_type == "markdown")
        labels = [(m.start(), m[1]) for m in FORMULA.finditer(text)]
        labels += [(m.start(), m[2]) for m in LABELLED.finditer(text)]
        for number, (_, label) in enumerate(sorted(labels), 1):
            found[label] = path, number
    return found


@cache
def bibliography():
    return parse_file(contents.BOOK / "references.bib").entries


def plain(text: str, path: Path, link: Callable[[str], str]) -> str:
    """The Markdown of a cell of the notebook `path`.

    `link` gives the address of a page, named as from its folder. ValueError where a
    role or a directive is not known.
    """
    text = FORMULA.sub(lambda m: numbered(m[2], m[1]), text)
    text = LABELLED.sub(lambda m: numbered(m[1], m[2]), text)
    text = MAP.sub(lambda m: book_map(path, link), text)
    text = BOX.sub(lambda m: box(*m.groups()), text)
    text = ROLE.sub(lambda m: role(*m.groups(), path, link), text)
    stray = UNKNOWN.search(text)
    if stray:
        near = text[stray.start() :].partition("\n")[0]
        raise ValueError(f"{path.name}: don't know how to write {near!r}")
    return text


def numbered(formula, label):
    return f"$$\n{formula.rstrip()} \\tag{{{equations()[label][1]}}}\n$$"


def box(kind, title, body):
    """A heading for an exercise, a quotation for any other box and for the margin."""
    options = dict(OPTION.findall(body))
    body = OPTION.sub("", body).strip()
    if kind == "exercise":
        number = exercise_number(options["label"])
        return f"### Exercise {number} · {title}\n\n{body}"
    if kind not in ("admonition", "note", "margin"):
        return f":::{{{kind}}} {title}"  # `plain` says that it is not known
    lines = body.splitlines()
    if kind != "margin":
        lines = [f"**{title or kind.capitalize()}**", "", *lines]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def book_map(path, link):
    """All pages, part by part, in place of the map of the book."""
    lines = []
    for caption, pages in contents.parts().items():
        if not caption:
            continue
        lines += ["", f"**{caption}**", ""]
        for page in pages:
            target = page.relative_to(path.parent).as_posix()
            lines.append(f"- [{title_of(page)}]({link(target)})")
    return "\n".join(lines).strip()


def exercise_number(label):
    """`ex-04-1` is the exercise that `check` calls 04.1."""
    return label.removeprefix("ex-").replace("-", ".")


def role(name, content, path, link):
    """What a reader sees in place of {name}`content`."""
    titled = TITLED.fullmatch(content)
    shown, target = titled.groups() if titled else (content, content)
    if name == "term":
        return shown
    if name == "cite":
        return f"({', '.join(map(cited, target.split(',')))})"
    if name == "doc":
        shown = shown if titled else title_of(path.parent / target)
        return f"[{shown}]({link(target)})"
    if name == "eq":
        there, number = equations()[target]
        elsewhere = "" if there == path else f" of chapter {int(there.name[:2])}"
        return f"({number}){elsewhere}"
    return f"{{{name}}}`{content}`"


def cited(key):
    """The authors and the year of a source, as in "Ba et al. 2016"."""
    entry = bibliography()[key.strip()]
    first, *others = (" ".join(a.last_names) for a in entry.persons["author"])
    names = f"{first} et al." if others[1:] else " and ".join([first, *others])
    return f"{names} {entry.fields['year']}".replace("{", "").replace("}", "")


def title_of(page):
    """The heading of a page, named without its ending."""
    if page.with_suffix(".ipynb").exists():
        text = cells(page.with_suffix(".ipynb"))[0].source
    else:
        text = page.with_suffix(".md").read_text(encoding="utf-8")
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]
