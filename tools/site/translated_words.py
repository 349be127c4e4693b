"""The words of the site around its pages: its scripts, its theme, its own lines.

The scripts in book/_static are written once, in English. For a site in another language
their texts are exchanged in the copies that it serves: a literal, or several joined by
a plus, is one text, and what is computed in it stands there as ${...}.
"""

import re
from pathlib import Path

from rwkv_book.language import catalogue, outputs
from tools import contents
from tools.contents import BOOK, ROOT
from tools.notebooks import plain_markdown, translated

STATIC = BOOK / "_static"


def hole(template):
    """${...}, in which braces may stand, and templates."""
    return rf"\$\{{(?:[^{{}}`]|\{{[^{{}}`]*\}}|{template})*\}}"


def template(inside):
    return rf"`(?:[^`\\$]|\\.|\$(?!\{{)|{inside})*`"


HOLE = hole(template(hole("`[^`$]*`")))
LITERAL = rf'(?:"(?:[^"\\\n]|\\.)*"|{template(HOLE)})'
TEXT = re.compile(rf"{LITERAL}(?:\s*\+\s*{LITERAL})*")
PIECE = re.compile(LITERAL)
QUESTION = re.compile(r"(?s)^# .+?\n+\*\*(.+?\?)\*\*")
COMMENT = re.compile(r"(?m)^\s*//.*$|//(?= ).*$")
FIELD = re.compile(HOLE)
BETWEEN_TAGS = re.compile(r"(?<=>)[^<>`]+(?=<)")
SENTENCE = re.compile(r"[ …“(]*[A-Za-z0-9][^#=\[\]<>]* [^#=\[\]<>]*")
STYLE = re.compile(r"rgba|^[a-z]{2}[a-z-]*: x|^width: |px$|^article |^div\.")
# One word that people read stands behind one of these; other words are names.
SHOWN = re.compile(r"(?:\bname: |Content: |\|\| |\? | : )$")
# Words that are put into a text as they are computed, or joined to its end.
CHOSEN = re.compile(r'(?:\?|:|\?\?|\|\|) (?:"([^"]*)"|`([^`]*)`)')
JOINED = re.compile(r"[;,.:] .*[A-Za-z]{2}")
LABEL = re.compile(r'(?<=content: ")[A-Za-z][^"]*')  # which a style writes on a page
COMPARED = {"each key", "range", "text", "math", "tooltip", "module"}
# What the theme and the site's own programs write on pages.
AROUND = (
    "about 40 minutes to read",
    "about 40 minutes",
    "about 20 seconds to run",
    "under a minute to run",
    "under 10 seconds to run",
    "a few seconds to run",
    "1 exercise",
    "7 exercises",
    "1 slider",
    "2 sliders",
    "I got lost here",
    ": say where, and the page gets clearer.",
    "Translate with us",
    ": some pages are in English only, and the guide says how.",
    "Map of the book",
    "Exercise 04.1",
    "Solution",
    "Solution to",
    "Solution of exercise 04.1",
    "Note",
    "of chapter 4",
    "Show code cell source",
    "Hide code cell source",
    "Show code cell output",
    "Hide code cell output",
    "Show code cell content",
    "Click to show",
    "Click to hide",
    "Contents",
    "Open issue",
    "Suggest edit",
    "Repository",
    "Skip to main content",
    "Back to top",
    "Toggle primary sidebar",
    "Toggle secondary sidebar",
    "Toggle hidden content",
    "Search this book...",
    "Table of contents",
    "Source repositories",
    "Launch interactive content",
    "Launch on Colab",
    "Launch on Binder",
    "Colab logo",
    "Binder logo",
    "Color mode",
    "System Settings",
    "Link to this exercise",
    "Link to this equation",
    "Link to this figure",
    "A likely wrong answer, and what the check says",
    "Link to this heading",
    "Link to this term",
)


def texts(code: str) -> list[str]:
    """All of them, each once, with the titles of the pages that are not translated."""
    found = dict.fromkeys(contents.parts())
    found.pop("")
    for page in contents.pages():
        if not translated.language(code).has(page.relative_to(ROOT).as_posix()):
            found |= dict.fromkeys(filter(None, title_and_question(page)))
    found |= dict.fromkeys(AROUND)
    for path in scripts():
        found |= dict.fromkeys(texts_of_script(path.read_text("utf-8")))
    for path in styles():
        found |= dict.fromkeys(LABEL.findall(path.read_text("utf-8")))
    for path in elements():
        outputs.html(
            path.read_text("utf-8"),
            lambda text: found.setdefault(catalogue.squeezed(text)) or text,
        )
    return list(found)


def around() -> list[str]:
    """What stands on finished pages, of all these texts."""
    return [*filter(None, contents.parts()), *AROUND]


def title_and_question(page: Path):
    """What stands on the map of the book for a page; a page may have no question."""
    path = translated.source(page.relative_to(ROOT).as_posix())
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in plain_markdown.cells(path)[:4])
    asked = QUESTION.search(text)
    return plain_markdown.title_of(page), asked and catalogue.squeezed(asked[1])


def scripts() -> list[Path]:
    left_out = ("first.js",)
    return [path for path in sorted(STATIC.rglob("*.js")) if path.name not in left_out]


def styles() -> list[Path]:
    return sorted(STATIC.rglob("*.css"))


def elements() -> list[Path]:
    return sorted(STATIC.rglob("*.html"))


def said_in(match) -> str:
    """A text of a script, whose pieces are joined."""
    return "".join(piece[1:-1] for piece in PIECE.findall(match[0])).replace('\\"', '"')


def is_text(text: str, before: str = "") -> bool:
    """Whether people read it: it is not a style, a selector or a mere number."""
    plain = FIELD.sub("x", text).strip()
    sentence = SENTENCE.fullmatch(plain) and not STYLE.search(plain)
    word = SHOWN.search(before) and re.fullmatch("[A-Za-z]{2,}", text)
    return (
        bool(word or (sentence and outputs.has_words(plain))) and text not in COMPARED
    )


def texts_of_script(script: str) -> list[str]:
    script = COMMENT.sub("", script)
    found = []
    for match in TEXT.finditer(script):
        said, before = said_in(match), script[: match.start()][-9:]
        pieces = BETWEEN_TAGS.findall(said) if "<" in said else [said]
        found += (piece for piece in pieces if is_text(piece.strip(), before))
    found += (m[2] for m in outputs.SPOKEN.finditer(script) if is_text(m[2]))
    return [catalogue.squeezed(text) for text in found]


def fragments(script: str) -> list[str]:
    """Words that no translator is shown, or only without their sentence.

    They stand inside ${...}, as "s" : "" does, or are joined to a sentence: each is to
    be a whole sentence of its own. An English plural's s alone may stay.
    """
    script = COMMENT.sub("", script)
    found = []
    for match in TEXT.finditer(script):
        for inside in FIELD.findall(match[0]):
            chosen = ("".join(words) for words in CHOSEN.findall(inside))
            found += (words for words in chosen if outputs.has_words(words))
        if JOINED.match(FIELD.sub("x", said_in(match))):
            found.append(said_in(match))
    return found


def script_in(script: str, code: str) -> str:
    """A script whose texts are those of a language."""
    known = translated.prose_of("site", code).exact

    def between(match):
        return known.get(catalogue.squeezed(match[0]), match[0])

    def exchanged(match):
        said, start = said_in(match), script[: match.start()][-9:]
        if "<" in said:
            return BETWEEN_TAGS.sub(between, match[0])
        plain = catalogue.squeezed(said)
        new = known.get(plain, plain) if is_text(said.strip(), start) else plain
        if new == plain:
            return match[0]
        before = said[: len(said) - len(said.lstrip())]
        after = said[len(said.rstrip()) :]
        return f"`{before}{new}{after}`"

    def labelled(match):
        return f'{match[1]}="{known.get(match[2], match[2])}"'

    return outputs.SPOKEN.sub(labelled, TEXT.sub(exchanged, script))


def style_in(css: str, code: str) -> str:
    """Styles whose labels are those of a language."""
    say = translated.prose_of("site", code).say
    return LABEL.sub(lambda label: say(label[0]), css)


def element_in(text: str, code: str) -> str:
    """An element of a page, such as the playground, in a language."""
    return outputs.html(text, translated.prose_of("site", code).say)
