"""The built site as one PDF: `make pdf`.

All pages in the order of the table of contents become one page, which Chromium prints:
with outline, page numbers, links between chapters and formulas. A slider is printed as
the picture that it begins with, and a note says what it moves. Printed twice: after the
first time it is known on which page a chapter begins.
"""

import argparse
import re
import sys
from html import escape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import sync_playwright

from tools.contents import CONFIG, ROOT, SITE, parts
from tools.site.browser import chromium

HOST = "http://book.invalid/"  # served from the folder, by this program

HEAD = re.compile(r"<head>.*?</head>", re.DOTALL)
ARTICLE = re.compile(r'<article class="bd-article"[^>]*>(.*)</article>', re.DOTALL)
SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)
LIVE = re.compile(r'<script [^>]*live\.js"></script>')  # on paper nothing moves
TITLE = re.compile(r"<title>(.*?) &#8212;", re.DOTALL)
HEADING = re.compile(
    r'<section id="([^"]+)">\s*(?:<span[^>]*></span>)*<h2>(.*?)<a', re.DOTALL
)
NAMED = re.compile(r"/(?P<name>p\d+(?:-[^\s/\[\]]+)?) \[(?P<page>\d+) 0 R")


class Page:
    """A page of the site on its way into the book: title, sections and text."""

    def __init__(self, site, name, numbers):
        self.html = html = (site / name).read_text(encoding="utf-8")
        self.name, self.number, self.numbers = name, numbers[name], numbers
        self.title = TITLE.search(html)[1]
        text = SCRIPT.sub("", ARTICLE.search(html)[1])
        self.sections = [
            (f"p{self.number}-{name}", re.sub(r"<[^>]+>", "", heading))
            for name, heading in HEADING.findall(text)
        ]
        self.text = self.renamed(text)

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
        if name not in self.numbers:
            return urljoin(f"{SITE}/{self.name}", link)
        return f"#p{self.numbers[name]}" + (
            f"-{address.fragment}" if address.fragment else ""
        )


def whole(site, begins):
    """The book as one HTML page; `begins` tells on which pages things begin."""
    listed = {
        caption: [page.relative_to(ROOT).as_posix() + ".html" for page in part]
        for caption, part in parts().items()
    }
    names = [name for part in listed.values() for name in part]
    numbers = {name: number for number, name in enumerate(names)}
    pages = {name: Page(site, name, numbers) for name in names}
    contents = []
    for caption, part in listed.items():
        if caption:
            contents.append(f"<li class='print-part'>{escape(caption)}</li>")
        contents += [entry(pages[name], begins) for name in part]
    heads = (HEAD.search(page.html)[0] for page in pages.values())
    head = next(head for head in heads if "mathjax" in head)
    head = LIVE.sub("", head).replace('="../', f'="{HOST}')
    title = escape(CONFIG["title"])
    head = re.sub(
        r"<title>.*?</title>", f"<title>{title}</title>", head, flags=re.DOTALL
    )
    chapters = "".join(
        f'<article class="bd-article" id="p{page.number}">{page.text}</article>'
        for page in pages.values()
    )
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-content_root="{HOST}">'
        f'{head}<body class="print-book"><header class="print-cover">'
        f"<p class='print-title'>{title}</p>"
        f"<p>{escape(CONFIG['author'])}</p>"
        f"<p>{escape(SITE)}</p>"
        "<p>Text and figures CC BY 4.0, code Apache-2.0</p></header>"
        f"<nav class='print-contents'><h1>Contents</h1><ol>{''.join(contents)}</ol>"
        f"</nav><main>{chapters}</main></body></html>"
    )


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
        margin={"top": "18mm", "bottom": "20mm", "left": "20mm", "right": "20mm"},
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

    order = {leaf: place for place, leaf in enumerate(leaves(root), 1)}
    return {place["name"]: order[place["page"]] for place in NAMED.finditer(text)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "_build" / "html")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    output = arguments.output or arguments.site.parent / "rwkv-book.pdf"
    executable = chromium()
    if executable is None:
        sys.exit("A PDF is printed by Chromium. On Debian: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=executable, args=["--no-sandbox"]
        )
        begins = first_pages(
            printed(browser, arguments.site, whole(arguments.site, {}))
        )
        document = printed(browser, arguments.site, whole(arguments.site, begins))
        browser.close()
    output.write_bytes(document)
    print(f"{output}: {len(document) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
