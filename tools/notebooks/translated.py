"""Pages and notebooks in another language: the English ones with other words.

locale/<language>/language.yml lists a language's pages, and its catalogues are beside
it, one a page: LC_MESSAGES/<page>.po. What programs print and draw on these pages comes
from rwkv_book.language, where it is said in kernels, too. A text without a translation,
or whose English has changed since, stays in English.
"""

import ast
import re
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
import yaml

from rwkv_book.language import catalogue, outputs
from tools.contents import ROOT
from tools.notebooks import markdown_parts

LOCALE = ROOT / "locale"
WORDS = ROOT / "src" / "rwkv_book" / "language"
EXERCISES = ROOT / "src" / "rwkv_book" / "exercises"
ALL_CHECKS = "exercises"  # the catalogue of what all checks can say
STATE = "application/vnd.jupyter.widget-state+json"
SPEAK = "speaks"  # the id of the cell that sets the language


@dataclass(frozen=True)
class Language:
    """What locale/<code>/language.yml says of a language."""

    code: str
    name: str
    title: str
    published: bool
    english: (
        str  # what is written behind a link to a page that there is in English only
    )
    first_page: str  # where the switch on a page that it lacks leads
    missing: str  # and why
    pages: tuple[str, ...]
    kept: tuple[dict, ...]  # outputs that stay: {page, cell: a line of its code, why}

    def has(self, page: str) -> bool:
        return page in self.pages


@cache
def language(code: str) -> Language:
    """SystemExit for one that there is not."""
    path = LOCALE / code / "language.yml"
    if not path.exists():
        raise SystemExit(f"locale/{code} has no language.yml: CONTRIBUTING.md says how")
    said = yaml.safe_load(path.read_text("utf-8"))
    said |= {name: tuple(said[name] or ()) for name in ("pages", "kept")}
    return Language(code, **said)


def languages() -> list[Language]:
    """All that there are, by their codes."""
    return [
        language(path.parent.name) for path in sorted(LOCALE.glob("*/language.yml"))
    ]


def published() -> list[Language]:
    return [each for each in languages() if each.published]


# --- catalogues ---------------------------------------------------------------------


def prose_file(page: str, code: str) -> Path:
    """The file of what a page says, such as book/index."""
    return LOCALE / code / "LC_MESSAGES" / f"{page}.po"


def words_file(page: str, code: str) -> Path:
    """The file of what a page's programs print and draw."""
    return WORDS / code / f"{Path(page).name}.po"


@cache
def prose_of(page: str, code: str) -> catalogue.Catalogue:
    path = prose_file(page, code)
    return catalogue.Catalogue.of([path] if path.exists() else [])


@cache
def words_of(page: str, code: str) -> catalogue.Catalogue:
    """A page's own words before those of the others."""
    first = words_file(page, code)
    others = [path for path in sorted((WORDS / code).glob("*.po")) if path != first]
    return catalogue.Catalogue.of([path for path in (first, *others) if path.exists()])


def exact(page, code):
    """`say` for prose: a paragraph is translated as a whole or not at all."""
    known = prose_of(page, code).exact
    return lambda text: known.get(catalogue.squeezed(text)) or text


# --- pages --------------------------------------------------------------------------


def source(page: str) -> Path:
    """The file of a page in English."""
    notebook = ROOT / f"{page}.ipynb"
    return notebook if notebook.exists() else ROOT / f"{page}.md"


def page_in(page: str, code: str):
    """A page in a language: a notebook with its outputs, or the text of a page."""
    path = source(page)
    say = exact(page, code)
    if path.suffix == ".md":
        return markdown_parts.translated(path.read_text("utf-8"), say)
    notebook = nbformat.read(path, as_version=4)
    tell = words_of(page, code).say
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = markdown_parts.translated(cell.source, say)
        elif not kept(page, cell, code):
            cell.outputs = [output_in(output, tell) for output in cell.outputs]
    for model in widgets(notebook):
        model["state"] = outputs.widget(model["state"], tell)
    if (WORDS / code).exists():
        notebook.cells.insert(2, speaking(code))
    return notebook


HEADING = re.compile(r"(?m)^(#{3,4} )(Solution of exercise|Exercise) (\d\d\.\d)")
CHAPTER = re.compile(r" of chapter (\d+)")
NOTE = re.compile(r"(?m)^> \*\*Note\*\*$")


def say_headings(notebook, code):
    """What a copy's headings and boxes say beyond the page: in the language, too."""
    words = prose_of("site", code)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = HEADING.sub(
                lambda m: m[1] + words.say(f"{m[2]} {m[3]}"), cell.source
            )
            text = CHAPTER.sub(lambda m: words.say(f"of chapter {m[1]}"), text)
            cell.source = NOTE.sub(lambda m: f"> **{words.say('Note')}**", text)


def speaking(code):
    """The cell by which figures and checks say their words in the language."""
    text = f'from rwkv_book import language\n\nlanguage.use("{code}")'
    tags = {"tags": ["remove-cell"]}
    return nbformat.v4.new_code_cell(text, metadata=tags, id=SPEAK)


def widgets(notebook):
    stored = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    return list(stored.values())


def kept(page, cell, code):
    """Why a cell's outputs stay as they are, or nothing."""
    return next(
        (
            each["why"]
            for each in language(code).kept
            if each["page"] == page and each["cell"] in cell.source
        ),
        None,
    )


def output_in(output, say):
    output = deepcopy(output)
    if output.output_type == "stream":
        output.text = outputs.lines(output.text, say)
    elif "data" in output:
        output.data = nbformat.from_dict(outputs.bundle(output.data, say))
    return output


# --- what there is to translate -----------------------------------------------------


def prose(page: str) -> list[str]:
    """The texts of a page, in its order, each once."""
    path, found = source(page), {}

    def note(text):
        return found.setdefault(catalogue.squeezed(text), text)

    if path.suffix == ".md":
        markdown_parts.translated(path.read_text("utf-8"), note)
    else:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                markdown_parts.translated(cell.source, note)
    return list(found)


def words(page: str, code: str) -> list[str]:
    """What the programs of a page print, draw and answer, each sentence once.

    A sentence that fits a pattern of the catalogue, one with a field in braces, stands
    there as this pattern, and what is in the field as a sentence of its own.
    """
    files = [words_file(page, code), words_file(ALL_CHECKS, code)]
    entries = [
        e.english for file in files if file.exists() for e in catalogue.read(file)
    ]
    checks, said = check_sentences(page), printed(page, code)
    patterns = {
        text: catalogue.pattern(text)
        for text in dict.fromkeys([*entries, *checks, *said])
        if catalogue.FIELD.search(text)
    }
    found, waiting = {}, [*said, *checks]
    while waiting:
        text = catalogue.squeezed(waiting.pop(0))
        if text in patterns or catalogue.blind(text) in found:
            found.setdefault(catalogue.blind(text), text)
            continue
        for template, expression in patterns.items():
            if match := expression.fullmatch(text):
                found.setdefault(catalogue.blind(template), template)
                waiting += filter(outputs.has_words, match.groups())
                break
        else:
            found[catalogue.blind(text)] = text
    shared = {catalogue.blind(text) for text in check_words()}
    return [text for key, text in found.items() if key not in shared]


def printed(page, code):
    """What the outputs of a page say, sentence by sentence."""
    path, found = source(page), []

    def note(text):
        found.append(text)
        return text

    if path.suffix == ".md":
        return []
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and not kept(page, cell, code):
            for output in filter(is_shown, cell.outputs):
                output_in(shown(output), note)
    for model in widgets(notebook):
        outputs.widget(model["state"], note)
    return found


def check_sentences(page):
    """What the checks of a chapter's exercises say."""
    chapter = re.match(r"\d\d(?=_)", Path(page).name)
    path = EXERCISES / f"chapter_{chapter[0]}.py" if chapter else None
    return sentences(path) if path and path.exists() else []


def is_shown(output):
    return output.output_type in ("stream", "display_data", "execute_result")


def shown(output):
    """An output as a page shows it: in the richest of its forms."""
    output = deepcopy(output)
    if "data" in output:
        kinds = ("text/html", "text/markdown", "text/plain")
        rich = [kind for kind in kinds if kind in output.data][:1]
        if any(kind.endswith("widget-view+json") for kind in output.data):
            rich = [kind for kind in rich if kind != "text/plain"]
        output.data = {kind: output.data[kind] for kind in rich}
    return output


def check_words() -> list[str]:
    """What the checks of all chapters can say."""
    names = ("__init__.py", "answers.py", "written_number.py")
    said = (text for name in names for text in sentences(EXERCISES / name))
    found = dict.fromkeys(text.removeprefix("Not yet. ") for text in said)
    verdicts = ["01.1: Right. {1}", "01.1: Not yet. {1}"]
    return [*verdicts, *(text for text in found if text not in ("Right. {1}", "{1}"))]


def sentences(path: Path) -> list[str]:
    """The sentences in a program, what is put into them written {1}, {2}, ..."""
    tree = ast.parse(path.read_text("utf-8"))
    silent = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            silent.add(body[0].value)
        raised = isinstance(node, ast.Raise) and getattr(node.exc, "func", None)
        if getattr(raised, "id", "") == "ValueError":  # it is for programmers
            silent |= set(ast.walk(node))
    found, inside = {}, set()
    for node in ast.walk(tree):
        if node in silent or node in inside:
            continue
        parts = spelled(node)
        if parts is None:
            continue
        inside |= set(ast.walk(node)) - set(unspelled(node))
        number = iter(range(1, 100))
        text = "".join(
            p if isinstance(p, str) else f"{{{next(number)}}}" for p in parts
        )
        if re.search(r"[a-z]{2,}\W* \W*\w", text):
            found[catalogue.squeezed(text)] = node.lineno
    return sorted(found, key=found.get)


def spelled(node):
    """A text in a program, piece by piece; a piece that is computed is None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [
            part.value if isinstance(part, ast.Constant) else None
            for part in node.values
        ]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = spelled(node.left), spelled(node.right)
        if left is not None or right is not None:
            return (left or [None]) + (right or [None])
    return None


def unspelled(node):
    """What is computed inside such a text, and may hold texts of its own."""
    for child in ast.walk(node):
        if isinstance(child, ast.FormattedValue):
            yield from ast.walk(child.value)
        if isinstance(child, ast.BinOp):
            for side in (child.left, child.right):
                if spelled(side) is None:
                    yield from ast.walk(side)
