"""A Sphinx extension: what the pages need beyond Jupyter Book's settings."""

import json
import re
from pathlib import Path

from tools.notebooks.translated import published
from tools.site import (
    sphinx_anchors,
    sphinx_answers,
    sphinx_beside,
    sphinx_cards,
    sphinx_copies,
    sphinx_languages,
    sphinx_light,
    sphinx_live,
    sphinx_lost,
    sphinx_machines,
    sphinx_models,
    sphinx_moved,
    sphinx_reading,
    sphinx_search,
    sphinx_sliders,
    sphinx_styles,
)

LONG_TEXT = re.compile(r"'(?:[^'\\]|\\.){60,}'|\"(?:[^\"\\]|\\.){60,}\"")
# Text between backticks, or a character that reStructuredText would read as markup.
CODE_OR_MARKUP = re.compile(r"(`[^`]*`)|([*|]|(?<=\w)_(?!\w))")


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave thebe out: the book does not use it.

    Jupyter Book always puts its script on every page, and puts it there twice, which
    is an error in the browser's console.
    """
    # This is the builder's own list, which later handlers extend: change it in place.
    scripts = context.get("script_files", [])
    scripts[:] = [script for script in scripts if not mentions_thebe(script)]


def mentions_thebe(script):
    body = getattr(script, "attributes", {}).get("body") or ""
    return "thebe" in str(script.filename or "") + body


def read_as_plain_text(app, what, name, thing, options, lines):
    """Docstrings are plain text in which only backticks mean something.

    Indented paragraphs, which are formulas and tables, are shown as they stand.
    """
    shown, inside = [], False
    for line in lines:
        if line.startswith("    ") and shown and not shown[-1] and not inside:
            shown += [".. code-block:: text", ""]
            inside = True
        elif line and not line.startswith("    "):
            inside = False
        shown.append(line if inside else CODE_OR_MARKUP.sub(escape, line))
    lines[:] = shown


def escape(match):
    return match[1] or "\\" + match[2]


def skip_field_numbers(app, what, name, thing, skip, options):
    """Leave out the fields of named tuples, which their class describes."""
    return skip or (thing.__doc__ or "").startswith("Alias for field number")


def shorten_texts(app, what, name, thing, options, signature, returned):
    """A default that is a long text, a kernel's for instance, is not written out."""
    return signature and LONG_TEXT.sub("...", signature), returned


def list_sources(app, pagename, templatename, context, doctree):
    """One list of all source files, where viewcode nests lists in lists.

    A list in a list, and in none of its items, is an error to a screen reader.
    """
    if pagename == "_modules/index":
        body = re.sub(r"</?ul>\n?", "", context["body"])
        first, last = body.index("<li>"), body.rindex("</li>") + len("</li>")
        context["body"] = f"{body[:first]}<ul>{body[first:last]}</ul>{body[last:]}"


# Who chose a language once comes back to it (book.js keeps the choice).
ENTRANCE = """<!DOCTYPE html>
<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>
<link rel="icon" href="_static/logo.svg">
<script>
try {{
  const chosen = localStorage.getItem("book-language");
  if ({others}.includes(chosen)) location.replace(`${{chosen}}/{page}`);
}} catch {{}}
</script>
<meta http-equiv="refresh" content="0; url={page}"></head>
<body><main><a href="{page}">{title}</a></main></body></html>
"""


def write_entrance(app, error):
    """index.html sends readers on to the first page, which is in a folder."""
    if error is None and app.builder.format == "html":
        page = app.builder.get_target_uri(app.config.root_doc)
        code = app.config.language or "en"
        others = [each.code for each in published()] if code == "en" else []
        text = ENTRANCE.format(
            title=app.config.html_title,
            page=page,
            language=code.replace("_", "-"),
            others=json.dumps(others),
        )
        (Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write_entrance, priority=100)
    app.connect("html-page-context", drop_thebe)
    # Before napoleon, which runs at 500 and indents what it writes.
    app.connect("autodoc-process-signature", shorten_texts)
    app.connect("html-page-context", list_sources)
    app.connect("autodoc-process-docstring", read_as_plain_text, priority=400)
    app.connect("autodoc-skip-member", skip_field_numbers)
    for part in (
        sphinx_reading,
        sphinx_lost,
        sphinx_copies,
        sphinx_languages,
        sphinx_machines,
        sphinx_search,
        sphinx_sliders,
        sphinx_light,
        sphinx_live,
        sphinx_models,
        sphinx_answers,
        sphinx_anchors,
        sphinx_beside,
        sphinx_cards,
        sphinx_styles,
        sphinx_moved,
    ):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
