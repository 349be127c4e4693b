"""The Markdown of a page, part by part: what a translator reads, and what stays.

A part that is prose is a sentence or a paragraph, an item of a list, a cell of a table,
a heading or the title of a box, in one line. All else, code, formulas, options and
borders, is left as it stands, so that nothing but words can change.
"""

import re

from rwkv_book.language.outputs import has_words

FENCE = re.compile(r"( *)(`{3,})(.*)")
BOX = re.compile(r" *:::")
TITLE = re.compile(r"(:::\{(?:admonition|exercise)\} +)(.+)")
STANDS = re.compile(r":[a-z-]+:|\([\w-]+\)=$|<(?!a\b)|\|[-| :]+\|$")
HEADING = re.compile(r"(#+ +)(.+)")
ITEM = re.compile(r"( *(?:[-*]|\d+\.) +|> +)(.+)")
PROSE_FENCE = re.compile(r"\{(div|note|tip)\}")
ROLE = re.compile(r"\{(?:eq|cite|math)\}`[^`]+`")


def is_prose(text):
    """Whether there are words outside code, formulas and what only refers to them."""
    return has_words(ROLE.sub("", text))


def translated(text, say):
    """A page, or a cell of one, in which `say` has been asked about all its prose."""
    shown, lines = [], text.split("\n")
    place, glossary, framed = 0, False, ""  # the border of a frame around prose
    if lines[0] == "---":  # what a page says to Sphinx
        place = lines.index("---", 1) + 1
        shown += lines[:place]
    while place < len(lines):
        line = lines[place]
        end = place + 1
        if BOX.match(line):
            glossary = "{glossary}" in line
            title = TITLE.fullmatch(line)
            shown.append(title[1] + asked(title[2], say) if title else line)
        elif framed and line == framed:
            framed = ""
            shown.append(line)
        elif (fence := FENCE.match(line)) and PROSE_FENCE.match(fence[3]):
            framed = fence[2]
            shown.append(line)
        elif fence:
            end = place + 1 + closing(lines[place + 1 :], fence[1] + fence[2])
            shown += lines[place:end]
        elif line.startswith("$$") and line.count("$$") == 1:
            end = place + 1 + closing(lines[place + 1 :], "$$")
            shown += lines[place:end]
        elif not line.strip() or STANDS.match(line) or line.startswith("$$"):
            shown.append(line)
        elif line.startswith("|"):
            shown.append(row(line, say))
        elif heading := HEADING.fullmatch(line):
            shown.append(heading[1] + asked(heading[2], say))
        elif glossary and not line.startswith(" "):
            shown += term(line, say)
        else:
            end = paragraph_end(lines, place)
            shown.append(paragraph(lines[place:end], say))
        place = end
    return "\n".join(shown)


def closing(lines, border):
    """How many lines there are up to a border, that one included."""
    return next(n for n, line in enumerate(lines, 1) if line.startswith(border))


def asked(text, say):
    return say(text) if is_prose(text) else text


def row(line, say):
    """A line of a table, cell by cell."""
    cells = re.split(r"(?<!\\)\|", line)
    return "|".join(
        f" {asked(c.strip(), say)} " if c.strip() else c for c in cells
    ).strip()


def term(line, say):
    """A term of the glossary: in the language, and in English, which others link to."""
    said = say(line)
    return [line] if said == line else [said, line]


def paragraph_end(lines, start):
    """Where the paragraph or item that begins there ends."""
    end = start + 1
    while end < len(lines) and not begins(lines[end]):
        end += 1
    return end


def begins(line):
    """Whether a line begins something new, and does not go on with a paragraph."""
    return (
        not line.strip()
        or line.startswith(("|", "$$"))
        or any(kind.match(line) for kind in (FENCE, BOX, STANDS, HEADING, ITEM))
    )


def paragraph(lines, say):
    text = " ".join(line.strip().removeprefix("> ") for line in lines)
    before = re.match(" *", lines[0])[0]
    if item := ITEM.fullmatch(lines[0]):
        before, text = item[1], text[len(item[1].strip()) :].strip()
        if item[1] == "> ":
            text = " ".join(line.strip().removeprefix(">").strip() for line in lines)
    return before + asked(text, say)
