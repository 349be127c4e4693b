"""A Sphinx extension: what the search page searches, section by section.

Sphinx finds whole words on whole pages, and shows formulas as their source. Here the
built pages are read again: the text of each section, and of each term of the glossary,
with its address. `search.js` looks through them as a reader types.
"""

import json
import re
from pathlib import Path

from bs4 import BeautifulSoup

from tools import contents

UNREAD = (
    "script, style, svg, .headerlink, .viewcode-link, .cell_input, div.math, summary, "
    ".page-facts, .lost, .book-map"
)
HEADINGS = ["h1", "h2", "h3", "h4"]


CODE = re.compile(r"(?<=<pre>).*?(?=</pre>)", re.DOTALL)
ARTICLE = re.compile(r"<article.*</article>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")


def sections(html, page):
    """[title, title of its page, address, text] of each section and term of a page."""
    # Most elements of a page are the colours of its code.
    html = CODE.sub(lambda code: TAG.sub("", code[0]), html)
    article = BeautifulSoup(ARTICLE.search(html)[0], "html.parser").article
    for formula in article.select("span.math"):
        formula.replace_with(readable(formula.get_text()))
    for element in article.select(UNREAD):
        element.decompose()
    title, found = words(article.find("h1")), []
    for section in article.select(
        "section[id]:not(#exercise-content, #solution-content)"
    ):
        heading = section.find(HEADINGS, recursive=False)
        if heading is None:
            continue
        parts = [
            words(child)
            for child in section.find_all(True, recursive=False)
            if child.name != "section" and child is not heading
        ]
        place = page if heading.name == "h1" else f"{page}#{section['id']}"
        found.append([words(heading), title, place, " ".join(filter(None, parts))])
    for term in article.select("dt[id^=term-]"):
        said = words(term.find_next("dd"))
        found.append([words(term), title, f"{page}#{term['id']}", said])
    return found


def words(element):
    return " ".join(element.get_text().split())


def readable(formula):
    r"""The letters of a small formula such as \(w_t\); of a larger one, three dots."""
    inside = formula.strip().removeprefix(r"\(").removesuffix(r"\)").strip()
    return "…" if re.search(r"[\\{}]", inside) else inside


def write_data(app, exception):
    if exception or app.builder.format != "html":
        return
    site, found = Path(app.outdir), []
    for source in contents.pages():
        name = source.relative_to(contents.ROOT).as_posix()
        if name in app.env.found_docs:  # a site in another language has some of them
            page = f"{name}.html"
            found += sections((site / page).read_text(encoding="utf-8"), page)
    text = f"bookSearch({json.dumps(found, ensure_ascii=False)});\n"
    (site / "_static" / "search-data.js").write_text(text, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write_data)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
