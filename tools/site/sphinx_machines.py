"""A Sphinx extension: the book for programs that read along.

Beside each page lies its text as plain Markdown, with the code and what it prints;
`llms.txt` lists them. A page says so in its head, and how it is to be cited. All of
this is for the English pages alone.
"""

import re
from html import escape
from pathlib import Path

from tools import contents
from tools.notebooks.plain_markdown import cells, exercise_number, plain, title_of
from tools.site.sphinx_languages import is_english

BEGINS = re.compile(r"(?m)^:::\{solution-start\} ([\w-]+)\n(?::.*\n)*:::$")
RELEASE = re.compile(r"(?m)^## \S+ · (\d{4}-\d\d-\d\d)$")
ENDS = re.compile(r"(?m)^:::\{solution-end\}\n:::$")


def markdown(page):
    """The text of a page of the book, named without its ending."""
    notebook = page.with_suffix(".ipynb")
    if not notebook.exists():
        return page.with_suffix(".md").read_text(encoding="utf-8")
    parts = []
    for cell in cells(notebook):
        if cell.cell_type == "markdown":
            text = ENDS.sub("", BEGINS.sub(solution, cell.source))
            parts.append(plain(text, notebook, lambda target: f"{target}.md"))
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            if printed := "".join(map(output, cell.outputs)).strip():
                parts.append(f"```text\n{printed}\n```")
    return "\n\n".join(parts) + "\n"


def solution(begin):
    return f"#### Solution of exercise {exercise_number(begin[1])}"


def output(each):
    """What an output is in plain text: of a figure, what it shows in words."""
    return each.get("text") or each.get("data", {}).get("text/plain", "") + "\n"


def index(site, title, questions):
    """llms.txt: the pages part by part, each with the question that it answers."""
    lines = [f"# {title}", ""]
    for caption, pages in contents.parts().items():
        lines += [f"## {caption}", ""] if caption else []
        for page in pages:
            name = page.relative_to(contents.ROOT).as_posix()
            question = f": {questions[name]}" if name in questions else ""
            lines.append(f"- [{title_of(page)}]({site}/{name}.md){question}")
        lines.append("")
    return "\n".join(lines)


def write_text(app, exception):
    if exception or app.builder.format != "html" or not is_english(app):
        return
    out = Path(app.outdir)
    for page in contents.pages():
        path = out / (page.relative_to(contents.ROOT).as_posix() + ".md")
        path.write_text(markdown(page), encoding="utf-8")
    facts = app.env.metadata
    questions = {n: facts[n]["question"] for n in facts if "question" in facts[n]}
    text = index(app.config.html_baseurl, app.config.html_title, questions)
    (out / "llms.txt").write_text(text, encoding="utf-8")


def released():
    """The day of the newest release, as 2026/11/24; None before the first."""
    changes = (contents.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = RELEASE.search(changes)
    return found and found[1].replace("-", "/")


def tell(app, pagename, templatename, context, doctree):
    """In a page's head: where its text is, and how it is cited."""
    if doctree is None or not is_english(app):
        return
    config = app.config
    address = f"{config.html_baseurl}/{pagename}.html"
    about = {
        "title": app.env.titles[pagename].astext(),
        "author": config.author,
        "publication_date": released() or config.copyright,
        "inbook_title": config.html_title,
        "public_url": address,
    }
    text = f"{pagename.rpartition('/')[2]}.md"
    all_pages = f"{'../' * pagename.count('/')}llms.txt"
    context["metatags"] = context.get("metatags", "") + "".join(
        [
            f'\n<link rel="alternate" type="text/markdown" href="{escape(text)}" />',
            f'\n<link rel="alternate" type="text/plain" href="{all_pages}" '
            'title="llms.txt" />',
        ]
        + [
            f'\n<meta name="citation_{name}" content="{escape(content)}" />'
            for name, content in about.items()
        ]
    )


def setup(app):
    app.connect("html-page-context", tell)
    app.connect("build-finished", write_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
