"""A Sphinx extension: under each page, where a reader who got lost can say so.

The link opens the form .github/ISSUE_TEMPLATE/lost.yml in the book's repository, with
the page's name filled in.
"""

from html import escape
from urllib.parse import urlencode

FORM = "lost.yml"
LINE = (
    '<p class="lost d-print-none"><a href="{link}">I got lost here</a>: '
    "say where, and the page gets clearer.</p>"
)


def address(repository, page):
    """Of the form, for a page such as book/04_wkv_operator."""
    filled = {"template": FORM, "title": f"I got lost in {page}", "page": page}
    return f"{repository}/issues/new?{urlencode(filled)}"


def add_line(app, pagename, templatename, context, doctree):
    """To what was written by hand, and not to lists that are made by the way."""
    if doctree is not None and "body" in context:
        repository = app.config.html_theme_options["repository_url"]
        link = escape(address(repository, pagename))
        context["body"] += LINE.format(link=link)


def setup(app):
    app.connect("html-page-context", add_line)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
