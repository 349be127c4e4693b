"""A Sphinx extension: exercises answer in the page, where no kernel runs.

Every page with exercises that have a check carries their data, which
`rwkv_book.exercises.export` makes, and the script that makes fields of it. Nothing is
listed here: an exercise `ex-04-1` is the one that `check("04.1", ...)` knows. The first
page carries the numbers of all exercises, for its count of the solved ones.

What only Python can check has a likely wrong answer folded below it, from
`rwkv_book.exercises.slips`, and the sentence that the check has for it.
"""

import re
from html import escape
from pathlib import Path

from docutils import nodes

from rwkv_book import language
from rwkv_book.exercises import export, slips
from tools import contents
from tools.site import sphinx_languages
from tools.site.scripts import write_bundle

ENTRY = Path("answers", "answers.js")
CHAPTER = re.compile(r"book/(?P<number>\d\d)_\w+")
EXERCISE = re.compile(r'id="ex-(\d\d)-(\d+)"')
LABEL = re.compile(r"ex-(\d\d)-(\d+)")
FOLDED = """<details class="answer-slip">
<summary>A likely wrong answer, and what the check says</summary>
{code}<p class="answer-said">{said}</p>
</details>
"""


def embed(app, pagename, templatename, context, doctree):
    """The data of the page's exercises, at its end, and the script that reads them."""
    if app.builder.format != "html":
        return
    if pagename == app.config.root_doc:
        data = {"map": all_fields(app, pagename)}
    elif chapter := CHAPTER.fullmatch(pagename):
        on_page = {".".join(found) for found in EXERCISE.findall(context["body"])}
        known = export.of_chapter(chapter["number"], in_its_language(app))
        exercises = {number: known[number] for number in known if number in on_page}
        data = {"chapter": int(chapter["number"]), "exercises": exercises}
    else:
        return
    context["body"] += (
        '<script type="application/json" id="answers-data">'
        f"{export.script_text(data)}</script>"
    )
    app.add_js_file("answers.js", loading_method="defer")


def show_slips(app, doctree, docname):
    """A worked wrong answer at the end of each exercise that only Python can check."""
    if app.builder.format != "html" or not CHAPTER.fullmatch(docname):
        return
    for box in doctree.findall(nodes.Admonition):
        label = LABEL.fullmatch(next(iter(box["ids"]), ""))
        number = label and ".".join(label.groups())
        if number and slips.can_be_checked(number):
            box += nodes.raw("", slip(app, number), format="html")


def slip(app, number):
    """The slip of an exercise, its check and what that says, folded."""
    call = f'exercises.check("{number}", {slips.name_of(number)})'
    code = f"{slips.source(number)}\n\n{call}"
    said = in_its_language(app)(f"{number}: {slips.diagnosis(number)}")
    shown = app.builder.highlighter.highlight_block(code, "python")
    return FOLDED.format(code=shown, said=escape(said, quote=False))


def in_its_language(app):
    """What translates a check's sentences into the language of the site."""
    if app.config.language in (None, "en"):
        return str
    return language.words(app.config.language).say


def all_fields(app, pagename):
    """{address from the first page: numbers of its exercises that have a field}.

    Of all chapters, as on the map: those that a language lacks are English pages.
    """
    found = {}
    for path in contents.chapters():
        page = path.relative_to(contents.ROOT).with_suffix("").as_posix()
        known = export.of_chapter(CHAPTER.fullmatch(page)["number"])
        fields = [number for number in known if known[number]["kind"] != "code"]
        found[address(app, pagename, page)] = fields
    return found


def address(app, pagename, page):
    """Where the map of the book leads to a page."""
    if page in app.env.found_docs:
        return app.builder.get_relative_uri(pagename, page)
    return sphinx_languages.english_stop(app, page)["link"]


def write_script(app, error):
    if error is None and app.builder.format == "html":
        write_bundle(app, ENTRY)


def setup(app):
    app.connect("doctree-resolved", show_slips)
    app.connect("html-page-context", embed)
    app.connect("build-finished", write_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
