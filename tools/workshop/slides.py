"""Make slides from the chapters: `make slides`.

Nothing is typed twice; a rule chooses what is shown. A chapter's slides are its
question and goals; then, section by section and in their order, each guess ("Before you
..."), picture, table and formula, with all that the section says about it as notes for
the speaker; at the end what one can now answer, the number to remember, and the
exercises. The slides lie in one folder with all that they load, and open without a
network.
"""

import re
import shutil
from html import escape
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter

from tools.contents import BOOK, ROOT, chapters
from tools.notebooks.copies import on_the_site, without_solutions
from tools.notebooks.plain_markdown import cells, plain
from tools.site.scripts import script
from tools.site.sphinx_live import ENTRY

TARGET = ROOT / "_build" / "slides"
LIBRARIES = ROOT / ".vendor"
FENCED = r"^```.*?^```$|^\$\$.*?^\$\$$"
BLOCK = re.compile(rf"(?ms){FENCED}|(?:^(?!\$\$|```)[^\n]*\S[^\n]*(?:\n|\Z))+")
GUESS = re.compile(r"\*\*(?:Before you|Guess)")
PAGE_SCRIPT = re.compile(r"(?s)<link[^>]*>|<script.*?</script>")  # slides have theirs
WIDGET = "application/vnd.jupyter.widget-view+json"
EXERCISE = re.compile(r"^### Exercise ", re.MULTILINE)
END = "What you can now answer"
INDEX = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Slides of the RWKV book</title>
<style>body {{ font: 1.1rem/1.6 sans-serif; max-width: 44rem; margin: 2rem auto;
padding: 0 1rem }} a {{ color: #0b6e6e }}</style>
<main>
<h1>Slides of the RWKV book</h1>
<p>Space or an arrow key goes on, S opens the speaker's view, O shows all slides, F
fills the screen. Sliders move with a mouse, and with arrow keys once they are in focus.
</p>
<ul>
{links}
</ul>
</main>
</html>
"""


def main():
    make(TARGET, chapters())
    print((TARGET / "index.html").relative_to(ROOT))


def make(target, paths):
    """Slides, an index, and what they load, in a folder that is made anew."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(LIBRARIES / "site" / "vendor", target / "vendor")
    for part in ("dist", "plugin/notes"):
        source = LIBRARIES / "node_modules" / "reveal.js" / part
        ignore = shutil.ignore_patterns("*.map", "*.esm.js")
        shutil.copytree(source, target / "vendor" / "reveal.js" / part, ignore=ignore)
    (target / "_static").mkdir()
    for source in ("book/_static/widgets.js", "tools/workshop/slides.css"):
        shutil.copy(ROOT / source, target / "_static")
    (target / "_static" / "live").mkdir()
    live = BOOK / "_static" / ENTRY
    shutil.copy(live.with_name("live.css"), target / "_static" / "live")
    (target / "_static" / "live.js").write_text(script(live), encoding="utf-8")
    links = []
    for path in paths:
        page = f"{path.stem}.html"
        notebook = deck(path)
        (target / page).write_text(rendered(notebook), encoding="utf-8")
        title = escape(notebook.metadata.title)
        links.append(f'<li><a href="{page}">{title}</a></li>')
    text = INDEX.format(links="\n".join(links))
    (target / "index.html").write_text(text, encoding="utf-8")


def rendered(notebook):
    """The HTML page of a deck."""
    exporter = SlidesExporter(
        raw_template=Path(__file__)
        .with_name("slides.html.j2")
        .read_text(encoding="utf-8"),
        exclude_input=True,
        exclude_output_prompt=True,
        reveal_url_prefix="vendor/reveal.js",
        reveal_theme="white",
        widget_renderer_url="vendor/@jupyter-widgets/html-manager/dist/embed-amd.js",
    )
    return exporter.from_notebook_node(notebook)[0]


def deck(path):
    """A chapter as a notebook of slides."""
    original = nbformat.read(path, as_version=4)
    title, *sections = in_sections(path)
    slides = [*opening(*title)]
    for heading, blocks in sections:
        if heading == END:
            slides += closing(heading, blocks)
        elif heading == "Exercises":
            slides += homework(heading, blocks)
        else:
            slides += section(heading, blocks)
    notebook = nbformat.v4.new_notebook(cells=slides, metadata=original.metadata)
    notebook.metadata.title = title[0]
    return notebook


def in_sections(path):
    """(heading, blocks) of the chapter and of each section.

    A block is a paragraph, list, table or formula of Markdown, or a code cell whose
    output is a picture or a table.
    """
    found = []
    for cell in without_solutions(cells(path)):
        if cell.cell_type == "code":
            if to_look_at(cell):
                found[-1][1].append(picture(cell))
            continue
        for match in BLOCK.finditer(plain(cell.source, path, on_the_site(path))):
            block = match[0].strip()
            if re.match(r"##? ", block):
                found.append((block.lstrip("# "), []))
            else:
                found[-1][1].append(block)
    return found


def to_look_at(cell):
    """Whether a cell shows a picture, a slider or a table, and no source code."""
    data = [output.get("data", {}) for output in cell.outputs]
    return any(
        "text/html" in each
        or WIDGET in each
        or each.get("text/markdown", "")[:1] == "|"
        for each in data
    )


def is_shown(block):
    """Whether a slide is made of this: a guess, a picture, a table, a formula."""
    return not isinstance(block, str) or is_formal(block) or bool(GUESS.match(block))


def is_short_guess(block):
    """A guess of a few words: the paragraph before it says what is to be guessed."""
    return isinstance(block, str) and bool(GUESS.match(block)) and len(block) < 120


def is_brief(notes):
    """Whether the last paragraph leaves room on a slide."""
    return bool(notes) and notes[-1][:1] not in "#-*>:`" and len(notes[-1]) < 600


def is_formal(block):
    """A table or a formula in the text: the paragraph before it says what it is."""
    return isinstance(block, str) and block.startswith(("|", "$$"))


def opening(title, blocks):
    """The question of the chapter, and what one will be able to do."""
    question = next(block for block in blocks if block.startswith("**"))
    goals = next(block for block in blocks if block.startswith(">"))
    yield from slide([f"# {title}\n\n{question}"], [], "slide")
    yield from slide([goals], [], "subslide")


def section(heading, blocks):
    """A slide for each block that is shown; the text around it is for the speaker."""
    kind, notes, shown = "slide", [], []
    for block in [*blocks, None]:
        if block is not None and not is_shown(block):
            notes.append(block)
            continue
        needs_one = is_formal(block) or (is_short_guess(block) and is_brief(notes))
        sentence = [notes.pop()] if needs_one and notes else []
        if shown:
            yield from slide([f"## {heading}", *shown], notes, kind)
            kind, notes = "subslide", []
        shown = [*sentence, block]


def closing(heading, blocks):
    """The answer, the points, and the number to remember."""
    number = [block for block in blocks if block.startswith("**One number to remember")]
    rest = [block for block in blocks if block not in number]
    yield from slide([f"## {heading}", *rest], [], "slide")
    told = [f"# {said}\n\n{why}" for block in number for said, why in [parted(block)]]
    yield from slide(told, [], "subslide")


def parted(block):
    """What stands in bold at the start of a paragraph, and what follows it."""
    _, said, why = block.split("**", 2)
    return " ".join(said.split()), why.strip()


def homework(heading, blocks):
    """What there is to do, without the solutions."""
    titles = [block for block in blocks if isinstance(block, str)]
    titles = [block for block in titles if EXERCISE.match(block)]
    lines = [f"- {EXERCISE.sub('', block)}" for block in titles]
    yield from slide([f"## {heading}", "\n".join(lines)], [], "slide")


def slide(blocks, notes, kind):
    """The cells of one slide, in nbconvert's terms."""
    for place, block in enumerate(blocks):
        cell = text_cell(block) if isinstance(block, str) else block
        cell.metadata = metadata("-" if place else kind)
        yield cell
    said = [note for note in notes if isinstance(note, str)]
    if said:
        cell = text_cell("\n\n".join(said))
        cell.metadata = metadata("notes")
        yield cell


def metadata(kind):
    return nbformat.from_dict({"slideshow": {"slide_type": kind}})


def text_cell(text):
    return nbformat.v4.new_markdown_cell(text)


def picture(cell):
    """The cell with what there is to see in it."""
    shown = nbformat.from_dict(cell)
    shown.outputs = [output for output in cell.outputs if "data" in output]
    for output in shown.outputs:
        data = output.data
        if WIDGET in data and "text/html" in data:  # it computes where it is shown
            del data[WIDGET]
            data["text/html"] = PAGE_SCRIPT.sub("", data["text/html"])
    return shown


if __name__ == "__main__":
    main()
