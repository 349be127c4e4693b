"""A Sphinx extension: what was once linked to is still found.

A page that is renamed keeps its old address, where a small page leads on to the new
one, and to the same place on it. Exercises have moved with their chapter's number.
"""

import re
from html import escape
from pathlib import Path

from tools import contents
from tools.site.sphinx_languages import is_english

# Page by page, what it was called when it was published and what it is called now.
MOVED = {
    "book/08_the_fast_path": "book/10_the_fast_path",
    "book/09_what_it_costs": "book/11_what_it_costs",
}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="robots" content="noindex">
<link rel="canonical" href="{canonical}">
<script>
const place = location.hash.replace("#ex-{old}-", "#ex-{new}-");
location.replace("{link}" + location.search + place);
</script>
<noscript><meta http-equiv="refresh" content="0; url={link}"></noscript></head>
<body><main><a href="{link}">{title}</a></main></body></html>
"""


def leading_on(old, new, title):
    """The page at an old address; both lie in one folder."""
    return PAGE.format(
        title=escape(title),
        canonical=f"{contents.SITE}/{new}.html",
        link=f"{Path(new).name}.html",
        old=number(old),
        new=number(new),
    )


def number(page):
    """A chapter's, as its exercises have it; "" for a page without one."""
    found = re.match(r"\d\d", Path(page).name)
    return found[0] if found else ""


def write(app, error):
    if error or app.builder.format != "html" or not is_english(app):
        return
    for old, new in MOVED.items():
        text = leading_on(old, new, app.env.titles[new].astext())
        (Path(app.outdir) / f"{old}.html").write_text(text, encoding="utf-8")


def setup(app):
    # After all that reads or changes finished pages.
    app.connect("build-finished", write, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
