"""A Sphinx extension: a figure has an address and a link to it, as a heading has.

The address is made of what the figure says, its title or what its sliders move, and not
of its place on the page or of a number in its title, so that it stays where it leads
when a figure comes before it or is measured again. In every language it is the English
one. Exercises, formulas and headings have links
already; all of them get a name that can be read aloud.
"""

import re

from docutils import nodes

from tools.notebooks import translated
from tools.notebooks.plain_markdown import cells
from tools.site.sphinx_reading import WIDGET, is_mime_bundle, kinds

CONTROL = re.compile(r"\[\w+\] ([^:\n]+)")
LINK = re.compile(r'(<a class="headerlink[^"]*" href="[^"]*" title=("[^"]*"))>')
WORDS_AT_MOST = 8


def is_figure(html, is_widget):
    return is_widget or 'role="img"' in html or "data-live=" in html


def name(plain):
    """The address of a figure, of the text that stands for it.

    Its first line is the title; a figure that moves is named after its controls.
    """
    controls = CONTROL.findall(plain)
    text = " ".join(controls) or plain.split("\n")[0]
    words = re.findall(r"\w+", text.lower().replace("'", "").replace("’", ""))
    words = [word for word in words if re.fullmatch("[a-z]+", word)]
    return "-".join(["figure", *words[:WORDS_AT_MOST]])


def names(path):
    """The addresses of all figures of a notebook, in order; no two are the same."""
    found = []
    for cell in cells(path):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if is_figure(data.get("text/html", ""), WIDGET in data):
                first = name(data["text/plain"])
                times = sum(re.sub(r"--\d+$", "", each) == first for each in found)
                found.append(f"{first}--{times + 1}" if times else first)
    return found


def give_addresses(app, doctree):
    """Put each figure into a container with its address and its link."""
    path = translated.source(app.env.docname)
    if path.suffix != ".ipynb" or app.builder.name == "gettext":
        return
    figures = [
        bundle
        for bundle in doctree.findall(is_mime_bundle)
        if is_figure(html_of(bundle), WIDGET in kinds(bundle))
    ]
    for figure, address in zip(figures, names(path), strict=True):
        link = (
            f'<a class="headerlink" href="#{address}" title="Link to this figure">#</a>'
        )
        place = nodes.container(ids=[address], classes=["figure-place"])
        figure.replace_self(place)
        place += [nodes.raw("", link, format="html"), figure]


def html_of(bundle):
    html = kinds(bundle).get("text/html")
    return html.astext() if html else ""


def name_links(app, pagename, templatename, context, doctree):
    """A link that shows a sign says in words where it leads."""
    if "body" in context:
        context["body"] = LINK.sub(r"\1 aria-label=\2>", context["body"])


def setup(app):
    app.connect("doctree-read", give_addresses)
    app.connect("html-page-context", name_links, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
