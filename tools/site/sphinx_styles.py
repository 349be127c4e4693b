"""A Sphinx extension: the theme's styles, as one file of what the pages have.

A browser draws nothing before it has read the styles. The theme's and the extensions'
lie in eleven files, one of which another asks for, and nine tenths of them are about
classes that no page has: a whole icon font, grids, cards. After the build one file has
the rules that an element could match, in their order. Rules of the book's own files
stay as they are, and come later.
"""

import re
from functools import partial
from pathlib import Path
from zlib import crc32

from tools.contents import BOOK

MERGED = "styles/theme-of-the-book.css"
LINK = re.compile(
    r'[ \t]*<link (?=[^>]*rel="stylesheet")[^>]*href="(?P<root>[^"]*?_static/)'
    r'(?P<path>[^"?]+)[^"]*"[^>]*>\n?'
)
IMPORT = re.compile(r'@import "([^"]+)";')
COMMENT = re.compile(r"/\*(?P<licence>!)?.*?\*/", re.DOTALL)
RULE = re.compile(r"(?P<selectors>[^{};]+)\{(?P<body>[^{}]*)\}")
EMPTY = re.compile(r"@media[^{}]*\{\s*\}")
ASIDE = re.compile(r"\([^()]*\)|\[[^\]]*\]")  # what a selector says in brackets
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
WORD = re.compile(r"-?[A-Za-z_][\w-]*")
MADE_OF_PARTS = ("bs-", "tooltip", "popover")  # class names that a script puts together
LIVE = re.compile(r'\s*<script (?=[^>]*src="([^"]*_static/live\.js)")[^>]*></script>')
DEFERRED = re.compile(r"\s*<script defer")


def text_of(path):
    """A file of styles, with the one that it imports in place."""
    text = path.read_text(encoding="utf-8").removeprefix('@charset "UTF-8";')
    return IMPORT.sub(lambda link: text_of(path.parent / link[1]), text)


def files_of(static, paths):
    """The files themselves, and those that they import."""
    for path in paths:
        yield static / path
        imported = IMPORT.findall((static / path).read_text(encoding="utf-8"))
        yield from ((static / path).parent / each for each in imported)


def used(css, words):
    """The rules of some CSS that an element could match.

    words  the names that pages and scripts mention: a selector with a class that is
           none of them matches nothing. What stands in brackets may say what an element
           is not, and is never a reason to leave a rule out.
    """
    licences = [each[0] for each in COMMENT.finditer(css) if each["licence"]]
    css = RULE.sub(partial(kept, words=words), COMMENT.sub("", css))
    return "\n".join([*licences, EMPTY.sub("", css)])


def kept(rule, words):
    if "@" in rule["selectors"]:  # a font, say
        return rule[0]
    found = [each for each in split(rule["selectors"]) if could_match(each, words)]
    return f"{','.join(found)}{{{rule['body']}}}" if found else ""


def split(selectors):
    """At the commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in selectors:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def could_match(selector, words):
    while (shorter := ASIDE.sub("", selector)) != selector:
        selector = shorter
    return all(
        name in words or name.startswith(MADE_OF_PARTS)
        for name in CLASS.findall(selector)
    )


def theirs(html):
    """The links of a page for styles that are not the book's own."""
    own = BOOK / "_static"
    return [
        link
        for link in LINK.finditer(html)
        if link["path"] != MERGED and not (own / link["path"]).exists()
    ]


def with_one_link(html, version):
    """The page with one link for all of these, where the first of them is."""
    links = theirs(html)
    start = links[0].start()
    for link in reversed(links):
        html = html[: link.start()] + html[link.end() :]
    address = f"{links[0]['root']}{MERGED}?v={version:08x}"
    one = f'    <link rel="stylesheet" href="{address}" />\n'
    return html[:start] + one + html[start:]


def moving_first(html):
    """What moves the figures is the first script to come, and comes once."""
    found = LIVE.search(html)
    if not found:
        return html
    script = f'\n    <script defer fetchpriority="high" src="{found[1]}"></script>'
    return DEFERRED.sub(lambda tag: script + tag[0], LIVE.sub("", html), count=1)


def finish(app, exception):
    """ValueError for a page whose styles are not the other pages'."""
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    static = site / "_static"
    pages = {
        path: path.read_text(encoding="utf-8")
        for path in site.rglob("*.html")
        if path.relative_to(site).parts[0] not in ("vendor", "_static")
    }
    new = {path: html for path, html in pages.items() if theirs(html)}
    lists = {tuple(link["path"] for link in theirs(html)) for html in new.values()}
    if len(lists) != 1:
        raise ValueError(f"the theme's styles differ from page to page: {lists}")
    [names] = lists
    scripts = (path.read_text(encoding="utf-8") for path in static.rglob("*.js"))
    words = {
        word for text in (*pages.values(), *scripts) for word in WORD.findall(text)
    }
    css = used("".join(text_of(static / name) for name in names), words)
    version = crc32(css.encode())
    (static / MERGED).write_text(css, encoding="utf-8")
    for path, html in new.items():
        html = moving_first(with_one_link(html, version))
        path.write_text(html, encoding="utf-8")
    for path in set(files_of(static, names)):
        path.unlink()


def setup(app):
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
