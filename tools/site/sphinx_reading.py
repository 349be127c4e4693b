"""What a page says of itself: its question, its time, its exercises, its place.

Part of the Sphinx extension `sphinx_book`. A chapter's question is the bold sentence
that it opens with: it stands large on its own page, beside the links of its neighbours,
and on the map of the book, which follows the table of contents.
"""

import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from tools.checks import reading
from tools.notebooks.plain_markdown import exercise_number
from tools.site import sphinx_languages

STATED = re.compile(r"about (\d+) minutes to read, ([\w. ]+?) to run")
NUMBERED = re.compile(r"(?P<number>\d+) · (?P<title>.+)", re.DOTALL)
# In English, and in the languages that the book is translated into.
ROLES = {
    "predict": r"Before you |Guess\b|往下|运行|先?猜|移动",
    "remember": r"One number to remember|记住一个数",
}
EXERCISE = re.compile(
    r'(?P<box><div class="exercise admonition" id="(?P<id>[\w-]+)">\s*'
    r'<p class="admonition-title"><span class="caption-number">[^<]*</span>) '
    r"\((?P<title>(?:(?!</p>).)*?)(?: \(|（)(?P<kind>[^()（）<]*)[)）]\)</p>",
    re.DOTALL,
)
# Its title, a tag that says its kind and its minutes, and a link to copy.
TITLED = (
    r'\g<box> \g<title> <span class="exercise-kind">\g<kind></span>'
    r'<a class="headerlink" href="#\g<id>" title="Link to this exercise">#</a></p>'
)
WIDGET = "application/vnd.jupyter.widget-view+json"


def describe(app, doctree):
    """Mark the paragraphs that have a role, and note what other pages want to know."""
    facts = app.env.metadata[app.env.docname]
    # A catalog for translators has the paragraphs as they were written.
    if app.builder.name != "gettext" and (question := set_apart(doctree)):
        facts["question"] = question
    for paragraph in doctree.findall(nodes.paragraph):
        opening = next(iter(paragraph.findall(nodes.strong)), None)
        if opening and paragraph.astext().startswith(opening.astext()):
            for role, words in ROLES.items():
                if re.match(words, opening.astext()):
                    paragraph["classes"].append(role)
    facts["minutes"] = reading.minutes(Path(app.env.doc2path(app.env.docname)))
    stated = STATED.search(plain(doctree))
    facts["stated"] = stated and stated.groups()
    facts["exercises"] = sum(
        type(node).__name__ in ("exercise_node", "exercise_enumerable_node")
        for node in doctree.findall(nodes.Element)
    )
    facts["sliders"] = sum(
        line.startswith("[slider]")
        for bundle in doctree.findall(is_mime_bundle)
        if WIDGET in kinds(bundle)
        for line in kinds(bundle)["text/plain"].astext().splitlines()
    )


def set_apart(doctree):
    """The bold question that a page opens with, made a paragraph of its own."""
    title = next(iter(doctree.findall(nodes.title)), None)
    opening = title and title.next_node(nodes.paragraph, descend=False, siblings=True)
    if not opening:
        return None
    words = [child for child in opening.children if child.astext()]
    if not isinstance(words[0], nodes.strong) or not plain(words[0]).endswith(
        ("?", "？")
    ):
        return None
    question = nodes.paragraph("", "", words[0], classes=["question"])
    rest = nodes.paragraph("", "", *words[1:])
    opening.replace_self([question, rest] if rest.astext().strip() else question)
    return plain(question)


def plain(node):
    return " ".join(node.astext().split())


def is_mime_bundle(node):
    return isinstance(node, nodes.container) and node.get("nb_element") == "mime_bundle"


def kinds(bundle):
    """An output's forms, {MIME type: node}."""
    return {form["mime_type"]: form for form in bundle.children}


def time_to_read(facts):
    """In words: as the page itself states it, and if it does not, as computed."""
    stated = facts["stated"] and facts["stated"][0]
    return f"about {stated or reading.rounded(facts['minutes'])} minutes"


def sum_up(facts):
    """The line under a title."""
    parts = [f"{time_to_read(facts)} to read"]
    if facts["stated"]:
        parts.append(f"{facts['stated'][1]} to run")
    for name in ("exercises", "sliders"):
        if facts[name]:
            parts.append(f"{facts[name]} {name if facts[name] > 1 else name[:-1]}")
    return " · ".join(parts)


def show(app, pagename, templatename, context, doctree):
    """Put a page's facts under its title, and questions beside its neighbours."""
    facts = app.env.metadata.get(pagename, {})
    head = r"(?P<open><h1>)(?:(?P<number>\d+) · )?(?P<rest>.*?</h1>)"
    if "body" in context and pagename != app.config.root_doc:
        line = ""
        if "question" in facts:
            line = (
                f'<p class="page-facts" data-minutes="{facts["minutes"]:.0f}">'
                f"{sum_up(facts)}</p>"
            )

        def dressed(match):
            number = match["number"] or ""
            if number:
                number = (
                    f'<span class="chapter-number">{number}'
                    '<span class="visually-hidden"> · </span></span>'
                )
            return f"{match['open']}{number}{match['rest']}{line}"

        context["body"] = re.sub(
            head, dressed, context["body"], count=1, flags=re.DOTALL
        )
    if "body" in context:
        context["body"] = EXERCISE.sub(TITLED, context["body"])
    neighbours = getattr(app.builder, "relations", {}).get(pagename, [None] * 3)[1:]
    for side, name in zip(("prev", "next"), neighbours, strict=True):
        if context.get(side) and name:
            question = app.env.metadata.get(name, {}).get("question")
            context[side] = {**context[side], "question": question}


# --- exercises --------------------------------------------------------------------


def number_exercises(app, env):
    """Give each the number that its check has, and not one that counts all pages."""
    for numbers in env.toc_fignumbers.values():
        for label in numbers.get("exercise", {}):
            numbers["exercise"][label] = (exercise_number(label),)
    return []


# --- the first page ---------------------------------------------------------------


class Map(nodes.General, nodes.Element):
    """Stands for the map until all pages have been read."""


class MapDirective(SphinxDirective):
    """`{book-map}`: all pages, part by part."""

    def run(self):
        return [Map()]


def open_wide(app, doctree):
    """The first page: what comes before its sections, as words beside a figure."""
    if app.env.docname != app.config.root_doc:
        return
    app.env.metadata[app.env.docname]["html_theme.sidebar_secondary.remove"] = "true"
    page = next(iter(doctree.findall(nodes.section)))
    title, *rest = page.children
    end = next(i for i, node in enumerate(rest) if isinstance(node, nodes.section))
    is_cell = [node.get("nb_element") == "cell_code" for node in rest[:end]]
    words, figure = (
        nodes.container(
            "",
            *[n for n, cell in zip(rest, is_cell, strict=False) if cell == wanted],
            classes=[name],
        )
        for name, wanted in (("hero-words", False), ("hero-figure", True))
    )
    hero = nodes.container("", words, figure, classes=["hero"])
    page.children = []
    page += [title, hero, *rest[end:]]


def draw_map(app, doctree, docname):
    for node in list(doctree.findall(Map)):
        node.replace_self(nodes.raw("", map_html(app, docname), format="html"))


def map_html(app, docname):
    parts = "".join(part_html(app, docname, *part) for part in parts_of(app))
    return f'<nav class="book-map" aria-label="Map of the book">{parts}</nav>'


def parts_of(app):
    """(caption, pages) of the map: in another language, of the whole book as well."""
    if not sphinx_languages.is_english(app):
        yield from sphinx_languages.parts(app)
        return
    for toctree in app.env.get_doctree(app.config.root_doc).findall(addnodes.toctree):
        pages = [
            page
            for entry in toctree["includefiles"]
            for page in [entry, *app.env.toctree_includes.get(entry, [])]
        ]
        yield toctree["caption"] or "", pages


def part_html(app, docname, caption, pages):
    stops = "".join(stop_html(app, docname, page) for page in pages)
    caption = escape(caption)
    return (
        f'<section class="map-part" aria-label="{caption}">'
        f'<p class="map-caption">{caption}</p><ol>{stops}</ol></section>'
    )


def stop_html(app, docname, page):
    """A station on the map: the page's number, its title, its question, its time."""
    remark = number = ""
    if page in app.env.titles:
        facts, title = app.env.metadata[page], plain(app.env.titles[page])
        link = app.builder.get_relative_uri(docname, page)
    else:  # there is no such page in this language
        facts = sphinx_languages.english_stop(app, page)
        title, remark, link = facts["title"], facts["remark"], facts["link"]
    if numbered := NUMBERED.fullmatch(title):
        number = f'<span class="map-number">{numbered["number"]}</span> '
        title = numbered["title"]
    more = ""
    if facts.get("question"):
        more = (
            f'<p class="map-question">{escape(facts["question"])}</p>'
            f'<p class="map-time">{time_to_read(facts)}</p>'
        )
    return f'<li><a href="{link}">{number}{escape(title)}{remark}</a>{more}</li>'


def setup(app):
    app.add_node(Map)
    app.add_directive("book-map", MapDirective)
    app.connect("doctree-read", describe)
    # After Sphinx has numbered them itself, which it does at 500.
    app.connect("env-get-updated", number_exercises, priority=900)
    app.connect("doctree-read", open_wide)
    app.connect("doctree-resolved", draw_map)
    # The first page shows what others say.
    app.connect("env-updated", lambda app, env: [app.config.root_doc])
    app.connect("html-page-context", show)
