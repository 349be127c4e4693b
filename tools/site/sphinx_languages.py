"""A Sphinx extension: every page leads to itself in the book's other languages.

And for the pages of another language: headings keep the ids of the English ones, so
that a link to a place is good in both; what the theme and this site's own programs
write is translated; the first page leads to the translators' guide; and the map of the
book shows the pages that there are in English only, too.
"""

import re
from pathlib import Path

from docutils import nodes

from rwkv_book.language import outputs
from rwkv_book.language.catalogue import Catalogue
from tools import contents
from tools.checks import reading
from tools.contents import ROOT
from tools.notebooks import plain_markdown, translated
from tools.site import translated_words

GUIDE = (
    '<p class="lost d-print-none">'
    '<a href="{}/blob/main/CONTRIBUTING.md#another-language">Translate with us</a>'
    ": some pages are in English only, and the guide says how.</p>"
)
STATED = re.compile(r"about\s+(\d+)\s+minutes\s+to\s+read,\s+([\w. ]+?)\s+to\s+run")


def is_english(app):
    return app.config.language in (None, "en")


# --- from language to language -------------------------------------------------------


def offer_languages(app, pagename, templatename, context, doctree):
    """The switch at the top of a page, and what it says of it to search engines."""
    up = context.get("pathto", lambda *_: "")("", 1)
    suffix = "" if up.endswith("/") or not up else "/"
    root = up + suffix + ("" if is_english(app) else "../")
    offered = []
    if not is_english(app):
        link = f"{root}{pagename}.html"
        offered = [{"code": "en", "name": "English", "missing": "", "link": link}]
    for each in translated.published():
        if each.code != app.config.language:
            offered.append(switch(each, pagename, f"{root}{each.code}/"))
    context["languages"] = offered
    context["metatags"] = context.get("metatags", "") + alternates(pagename)


def switch(language, pagename, folder):
    """To the page in a language, or to its first page where there is none."""
    there = has(language, pagename)
    return {
        "code": language.code.replace("_", "-"),
        "name": language.name if there else language.first_page,
        "missing": "" if there else language.missing,
        "link": f"{folder}{pagename if there else 'book/index'}.html",
    }


def has(language, pagename):
    return language.has(pagename) or pagename == "search"


def invite(app, pagename, templatename, context, doctree):
    """Under the first page of a translation: where it says how to go on with it."""
    if pagename == "book/index" and not is_english(app):
        context["body"] += GUIDE.format(app.config.html_theme_options["repository_url"])


def alternates(pagename):
    """Links for search engines, on a page that there is in several languages."""
    others = [each for each in translated.published() if each.has(pagename)]
    if not others:
        return ""
    found = [("en", ""), ("x-default", "")]
    found += [(each.code.replace("_", "-"), f"{each.code}/") for each in others]
    return "".join(
        f'<link rel="alternate" hreflang="{code}" '
        f'href="{contents.SITE}/{folder}{pagename}.html">\n'
        for code, folder in found
    )


# --- pages in another language -------------------------------------------------------


def keep_ids(app, doctree):
    """Headings have the ids of the English headings, beside their own."""
    if is_english(app):
        return
    from tools.site.translated_site import headings

    sections = list(doctree.findall(stands_in_sections))
    ids = headings(app.env.docname)
    if len(ids) != len(sections):
        raise ValueError(
            f"{app.env.docname}: {len(sections)} headings, in English {len(ids)}"
        )
    for section, name in zip(sections, ids, strict=True):
        if name and name not in section["ids"]:
            section["ids"].insert(0, name)


def stands_in_sections(node):
    """Whether it is a section, and not one inside an exercise."""
    above = node
    while isinstance(above, nodes.section):
        above = above.parent
    return above is not node and isinstance(above, nodes.document)


def keep_facts(app, doctree):
    """What a page takes is known of the English one: words are counted there."""
    if is_english(app):
        return
    facts = app.env.metadata[app.env.docname]
    facts["minutes"] = reading.minutes(translated.source(app.env.docname))
    facts["stated"] = stated_in(app.env.docname)


def stated_in(page):
    path = translated.source(page)
    found = STATED.search(opening(path))
    return found and tuple(" ".join(each.split()) for each in found.groups())


def opening(path):
    """What a page says in its first cells."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    return "\n".join(cell.source for cell in plain_markdown.cells(path)[:4])


def parts(app):
    """[(caption, pages)] of the whole book, for its map."""
    say = translated.prose_of("site", app.config.language).say
    return [
        (say(caption), [page.relative_to(ROOT).as_posix() for page in pages])
        for caption, pages in contents.parts().items()
        if caption
    ]


def english_stop(app, page):
    """A station of the map in English: title, link, question and language's remark."""
    language = translated.language(app.config.language)
    say = translated.prose_of("site", language.code).say
    title, question = translated_words.title_and_question(ROOT / page)
    return {
        "title": say(title),
        "remark": language.english,
        "link": f"../../{page}.html",
        "question": question and say(question),
        "minutes": reading.minutes(translated.source(page)),
        "stated": stated_in(page),
    }


def translate_words(app, error):
    """What stands around the pages, in the finished pages."""
    if error or is_english(app) or app.builder.format != "html":
        return
    known = translated.prose_of("site", app.config.language).exact
    around = translated_words.around()
    words = Catalogue({text: known[text] for text in around if text in known})

    def say(text):
        found = words.find(text)
        if found is None and " · " in text:
            return " · ".join(words.say(part) for part in text.split(" · "))
        return words.say(text)

    for path in Path(app.outdir).rglob("*.html"):
        if "_static" in path.relative_to(app.outdir).parts:
            continue
        text = path.read_text("utf-8")
        head, body = text.split("</head>", 1)
        path.write_text(f"{head}</head>{outputs.html(body, say)}", "utf-8")


def setup(app):
    app.connect("doctree-read", keep_ids, priority=400)
    app.connect("doctree-read", keep_facts, priority=600)
    # Before the theme, at 500, looks which of its parts are empty.
    app.connect("html-page-context", offer_languages, priority=450)
    app.connect("html-page-context", invite)
    app.connect("build-finished", translate_words, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
