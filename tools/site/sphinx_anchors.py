"""A Sphinx extension: figures and formulas have addresses and links, as headings have.

The address is made of what the figure says, its title or what its sliders move, and not
of its place on the page or of a number in its title, so that it stays where it leads
when a figure comes before it or is measured again. In every language it is the English
one. The address of a formula is made of its first letters. Exercises, numbered formulas
and headings have links already; all of them get a name that can be read aloud.
"""

import re

from docutils import nodes

from tools.notebooks import translated
from tools.notebooks.plain_markdown import cells
from tools.site.sphinx_reading import WIDGET, is_mime_bundle, kinds

CONTROL = re.compile(r"\[\w+\] ([^:\n]+)")
LINK = re.compile(r'(<a class="headerlink[^"]*" href="[^"]*" title=("[^"]*"))>')
FORMULA = re.compile(
    r'(<div class="math [^>]*id="([^"]*)">\s*+)(?!<span class="eqno">)'
)
FORMULA_LINK = r'\1<a class="headerlink" href="#\2" title="Link to this equation">#</a>'
NO_LETTERS = re.compile(r"\\(?:text|begin|end)\{[^}]*\}|\\[a-zA-Z]+")
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
                found.append(another(name(data["text/plain"]), found))
    return found


def another(first, found):
    """An address, with a number where it is taken."""
    times = sum(re.sub(r"--\d+$", "", each) == first for each in found)
    return f"{first}--{times + 1}" if times else first


def name_of_formula(tex):
    """The address of a formula: its first letters, whatever words stand among them."""
    letters = re.findall("[a-z]+", NO_LETTERS.sub(" ", tex).lower())
    return "-".join(["equation", *letters[:WORDS_AT_MOST]])


def give_addresses(app, doctree):
    """Each formula gets its address, each figure a container with address and link."""
    if app.builder.name == "gettext":
        return
    found = []
    for formula in doctree.findall(nodes.math_block):
        if not formula["ids"]:  # which a numbered one has
            found.append(another(name_of_formula(formula.astext()), found))
            formula["ids"].append(found[-1])
    path = translated.source(app.env.docname)
    if path.suffix != ".ipynb":
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
    """A link that shows a sign says in words where it leads; formulas get theirs."""
    if "body" in context:
        context["body"] = FORMULA.sub(FORMULA_LINK, context["body"])
        context["body"] = LINK.sub(r"\1 aria-label=\2>", context["body"])


def setup(app):
    app.connect("doctree-read", give_addresses)
    app.connect("html-page-context", name_links, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
