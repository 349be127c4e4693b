"""The built site as one PDF, or a chapter as one: `make pdf`, `make pdf CHAPTER=04`.

All pages in the order of the table of contents become one page, which Chromium prints:
with outline, page numbers, links between chapters and formulas. A slider is printed as
the picture that it begins with, and a note says what it moves. Solutions stand at the
end, where nobody reads them by accident, and of the package there is a list of modules
only. Printed twice: after the first time it is known on which page each thing stands.
"""

import argparse
import re
import sys
from html import escape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import sync_playwright

from tools.contents import CONFIG, ROOT, SITE, chapters, parts
from tools.site.browser import chromium

PRINTINGS = 6  # at most, of one document
HOST = "http://book.invalid/"  # served from the folder, by this program

HEAD = re.compile(r"<head>.*?</head>", re.DOTALL)
ARTICLE = re.compile(r'<article class="bd-article"[^>]*>(.*)</article>', re.DOTALL)
SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)
# A sheet that is printed by itself sets a paper and letters that are not the book's.
OWN_PAPER = re.compile(r"<style>(?:(?!</style>).)*@page.*?</style>", re.DOTALL)
LIVE = re.compile(r'<script [^>]*live\.js"></script>')  # on paper nothing moves
TITLE = re.compile(r"<title>(.*?) &#8212;", re.DOTALL)
HEADING = re.compile(
    r'<section id="([^"]+)">\s*(?:<span[^>]*></span>)*<h2>(.*?)<a', re.DOTALL
)
EXERCISE = re.compile(
    r'<div class="exercise admonition" id="(?P<id>[^"]+)">\s*'
    r'<p class="admonition-title">(?P<title>.*?)</p>',
    re.DOTALL,
)
KIND = re.compile(r'<span class="exercise-kind">.*?</span>|<a .*?</a>', re.DOTALL)
SOLUTION = '<div class="solution '
BOX = re.compile(
    r'<div class="solution .*?<p class="admonition-title">.*?</p>', re.DOTALL
)
PACKAGE = "book/appendix/api.html"
MODULE = re.compile(
    r'<section id="(?P<id>[^"]*module-(?P<name>rwkv_book[\w.]*))">.*?'
    r"<p>(?P<about>.*?)</p>",
    re.DOTALL,
)
SENTENCE = re.compile(r".*?[.?!](?=\s|$)", re.DOTALL)
NAMED = re.compile(r"/(?P<name>p\d+(?:-[^\s/\[\]]+)?) \[(?P<page>\d+) 0 R")


class Page:
    """A page of the site on its way into the book: title, sections and text."""

    def __init__(self, site, name, numbers):
        self.html = html = (site / name).read_text(encoding="utf-8")
        self.name, self.number, self.numbers = name, numbers[name], numbers
        self.title = TITLE.search(html)[1]
        text = OWN_PAPER.sub("", SCRIPT.sub("", ARTICLE.search(html)[1]))
        self.sections = [
            (f"p{self.number}-{name}", re.sub(r"<[^>]+>", "", heading))
            for name, heading in HEADING.findall(text)
        ]
        text = self.renamed(text)
        if name == PACKAGE:
            self.sections, text = [], listed(text, f"{SITE}/{name}")
        self.text, self.solutions = parted(text)

    def renamed(self, text):
        """Ids that are no other page's, and links that stay within the book."""
        mark = f"p{self.number}-"
        text = re.sub(r'(\s(?:id|for|aria-labelledby)=")', rf"\g<1>{mark}", text)
        text = re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{mark}", text)
        text = re.sub(r'(?<=\shref=")[^"]*', lambda link: self.link(link[0]), text)
        return re.sub(r'(?<=\ssrc=")[^"]*', lambda link: self.within(link[0]), text)

    def within(self, link):
        return urljoin(HOST + self.name, link)

    def link(self, link):
        address = urlsplit(self.within(link))
        name = address.path.lstrip("/")
        if address.netloc != urlsplit(HOST).netloc:
            return link
        left_out = name == PACKAGE and not address.fragment.startswith("module-")
        if name not in self.numbers or (left_out and address.fragment):
            return urljoin(f"{SITE}/{self.name}", link)
        return f"#p{self.numbers[name]}" + (
            f"-{address.fragment}" if address.fragment else ""
        )


def listed(text, address):
    """Of the package's functions the modules alone, each with its first sentence."""
    title = re.search(r"<h1>.*?</h1>", text, re.DOTALL)[0]
    lines = "".join(
        f'<dt id="{module["id"]}"><code>{module["name"]}</code></dt>'
        f"<dd>{SENTENCE.match(module['about'])[0]}</dd>"
        for module in MODULE.finditer(text)
    )
    return (
        f"{title}<p>These are its modules. What each function takes and returns is at "
        f'<a href="{address}">{address}</a>, with its source.</p><dl>{lines}</dl>'
    )


def parted(text):
    """The text of a page without its solutions, and [(exercise's id, title, solution)].

    Where a solution stood, the text says on which page it is, see `with_pages`.
    """
    kept, found, place = [], [], 0
    while (start := text.find(SOLUTION, place)) >= 0:
        kept.append(text[place:start])
        place = end_of_div(text, start)
        *_, exercise = EXERCISE.finditer(text, 0, start)
        title = KIND.sub("", exercise["title"]).strip()
        solution = BOX.sub("<div>", text[start:place], count=1)
        found.append((exercise["id"], title, solution))
        kept.append(
            f'<p class="print-see">Solution: {see(of_solution(exercise["id"]))}</p>'
        )
    return "".join([*kept, text[place:]]), found


def end_of_div(text, start):
    """The place after the element that begins at `start`."""
    depth = 0
    for tag in re.finditer(r"<(/?)div\b", text[start:]):
        depth += -1 if tag[1] else 1
        if not depth:
            return text.index(">", start + tag.end()) + 1
    raise ValueError("a <div> without its end")


def of_solution(exercise):
    page, _, name = exercise.partition("-")
    return f"{page}-solution-of-{name}"


def see(name):
    """A link that says on which page it leads, once that is known."""
    return f'<a href="#{name}">page {{page of {name}}}</a>'


def with_pages(html, begins):
    """The numbers of pages put in; as wide as one will be, where they are not known."""
    return re.sub(
        r"\{page of (\S+)\}", lambda place: str(begins.get(place[1], "000")), html
    )


class Solutions:
    """All solutions of some pages, as the last page of the book."""

    title = "Solutions"

    def __init__(self, pages, number):
        self.number = number
        solved = [page for page in pages if page.solutions]
        self.sections = [(f"p{number}-{page.number}", page.title) for page in solved]
        parts = (
            f'<section id="{name}"><h2>{title}</h2>{self.part(page)}</section>'
            for (name, title), page in zip(self.sections, solved, strict=True)
        )
        self.text = f"<h1>{self.title}</h1>{''.join(parts)}" if solved else ""

    def part(self, page):
        return "".join(
            f'<section id="{of_solution(exercise)}"><h3>{title}</h3>'
            f'<p class="print-see">Exercise: {see(exercise)}</p>{text}</section>'
            for exercise, title, text in page.solutions
        )


def names_of(chapter=None):
    """{caption: files of pages} of the whole book, or of one chapter."""
    names = {
        caption: [page.relative_to(ROOT).as_posix() + ".html" for page in part]
        for caption, part in parts().items()
    }
    if chapter is None:
        return names
    named = re.compile(rf"book/{re.escape(chapter)}_\w+\.html")
    found = [name for part in names.values() for name in part if named.fullmatch(name)]
    if not found:
        raise ValueError(f"there is no chapter {chapter!r}: say 01, 02 and so on")
    return {"": found}


def whole(site, begins, chapter=None):
    """The book, or a chapter, as one HTML page; `begins`: on which pages things are."""
    listed = names_of(chapter)
    names = [name for part in listed.values() for name in part]
    numbers = {name: number for number, name in enumerate(names)}
    pages = {name: Page(site, name, numbers) for name in names}
    solutions = Solutions(pages.values(), len(pages))
    contents = []
    for caption, part in listed.items():
        if caption:
            contents.append(f"<li class='print-part'>{escape(caption)}</li>")
        contents += [entry(pages[name], begins) for name in part]
    heads = [HEAD.search(page.html)[0] for page in pages.values()]
    head = next((head for head in heads if "mathjax" in head), heads[0])
    head = LIVE.sub("", head).replace('="../', f'="{HOST}')
    title = escape(CONFIG["title"])
    shown = title if chapter is None else pages[names[0]].title + f" · {title}"
    head = re.sub(
        r"<title>.*?</title>",
        lambda _: f"<title>{shown}</title>",
        head,
        flags=re.DOTALL,
    )
    articles = "".join(
        f'<article class="bd-article" id="p{page.number}">{page.text}</article>'
        for page in [*pages.values(), solutions]
        if page.text
    )
    rights = "Text and figures CC BY 4.0, code Apache-2.0"
    if chapter is None:
        opening = (
            "<header class='print-cover'>"
            f"<p class='print-title'>{title}</p>"
            f"<p>{escape(CONFIG['author'])}</p><p>{escape(SITE)}</p><p>{rights}</p>"
            f"</header><nav class='print-contents'><h1>Contents</h1>"
            f"<ol>{''.join(contents)}{entry(solutions, begins)}</ol></nav>"
        )
    else:
        opening = f"<p class='print-note'>{title} · {escape(SITE)} · {rights}</p>"
    html = (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-content_root="{HOST}">'
        f'{head}<body class="print-book">{opening}<main>{articles}</main></body></html>'
    )
    return with_pages(html, begins)


def entry(page, begins):
    lines = [(f"p{page.number}", page.title, "print-chapter")]
    lines += [(name, title, "print-section") for name, title in page.sections]
    return "".join(
        f'<li class="{kind}"><a href="#{name}"><span>{title}</span>'
        f"<span>{begins.get(name, '')}</span></a></li>"
        for name, title, kind in lines
    )


def printed(browser, site, html):
    page = browser.new_page()
    page.route(f"{HOST}**", lambda route: answer(route, site, html))
    page.goto(HOST + "whole.html", timeout=300_000)
    page.wait_for_function(
        "document.readyState === 'complete' && MathJax.startup.promise",
        timeout=300_000,
    )
    page.evaluate(
        "MathJax.startup.promise.then(() => document.fonts.ready).then(() => 0)"
    )
    page.evaluate(
        "document.querySelectorAll('details').forEach((e) => (e.open = true))"
    )
    number = (
        '<div style="width: 100%; font: 9px sans-serif; text-align: center">'
        '<span class="pageNumber"></span></div>'
    )
    document = page.pdf(
        format="A4",
        margin={"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"},
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=number,
        print_background=True,
        outline=True,
        tagged=True,
    )
    page.close()
    return document


def answer(route, site, html):
    name = urlsplit(route.request.url).path.lstrip("/")
    path = site / name
    if name == "whole.html":
        route.fulfill(body=html, content_type="text/html; charset=utf-8")
    elif path.is_file():
        route.fulfill(path=path)
    else:
        route.fulfill(status=404)


def first_pages(document):
    """On which page each named place is, {name: number}, read from the PDF itself."""
    order = {leaf: place for place, leaf in enumerate(pages_of(document), 1)}
    text = document.decode("latin-1")
    return {place["name"]: order[place["page"]] for place in NAMED.finditer(text)}


def pages_of(document):
    """The numbers of the objects that are the pages of a PDF, in their order."""
    text = document.decode("latin-1")
    objects = dict(re.findall(r"\n(\d+) 0 obj\n(.*?)\nendobj", text, re.DOTALL))
    root = re.search(r"/Type /Catalog\n/Pages (\d+) 0 R", text)[1]

    def leaves(number):
        kids = re.search(r"/Kids \[(.*?)\]", objects[number], re.DOTALL)
        if not kids:
            return [number]
        return [
            leaf for kid in re.findall(r"(\d+) 0 R", kids[1]) for leaf in leaves(kid)
        ]

    return leaves(root)


def document_of(browser, site, chapter=None):
    """The PDF, printed again until each thing is on the page that is said of it.

    The numbers themselves take room, so that what they say can move. RuntimeError where
    it never comes to rest.
    """
    begins = {}
    for _ in range(PRINTINGS):
        document = printed(browser, site, whole(site, begins, chapter))
        before, begins = begins, first_pages(document)
        if begins == before:
            return document
    raise RuntimeError(f"after {PRINTINGS} printings the pages still move")


def write(browser, site, output, chapter=None):
    document = document_of(browser, site, chapter)
    output.write_bytes(document)
    print(f"{output}: {len(pages_of(document))} pages, {len(document) / 1e6:.1f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "_build" / "html")
    parser.add_argument("--output", type=Path, help="the file, or with all the folder")
    parser.add_argument(
        "--chapter", help="one chapter, as in 04, or all: each by itself"
    )
    arguments = parser.parse_args()
    site, chapter, beside = arguments.site, arguments.chapter, arguments.site.parent
    executable = chromium()
    if executable is None:
        sys.exit("A PDF is printed by Chromium. On Debian: apt-get install chromium")
    if chapter == "all":
        folder = arguments.output or beside
        chosen = [path.name[:2] for path in chapters()]
        outputs = {each: folder / f"rwkv-book-{each}.pdf" for each in chosen}
    else:
        name = f"rwkv-book-{chapter}.pdf" if chapter else "rwkv-book.pdf"
        outputs = {chapter: arguments.output or beside / name}
    try:
        names_of(None if chapter == "all" else chapter)
    except ValueError as error:
        sys.exit(str(error))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=executable, args=["--no-sandbox"]
        )
        for each, output in outputs.items():
            write(browser, site, output, each)
        browser.close()


if __name__ == "__main__":
    main()
