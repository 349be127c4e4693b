"""Do the links of the book that stay in it lead somewhere?

    python -m tools.checks.links

Each link of each built page, and of the Markdown files beside the book, has to lead to
a file that is there and, behind a #, to a place in it. Links to other sites are for
`make links`, which needs the network.
"""

import argparse
import re
import sys
from functools import cache
from html.parser import HTMLParser
from os.path import relpath
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from tools.contents import ROOT

SITE = ROOT / "_build" / "html"
ELSEWHERE = ("http", "https", "mailto", "data", "javascript")
BESIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
LINKED = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src"}
MARKDOWN_LINK = re.compile(r"\]\(<?([^)>\s]+)>?\)|<(https?://[^>\s]+)>")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Page(HTMLParser):
    """A page's links and the places in it that a link can name."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = [], {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.places |= {found.get("id"), found.get("name") if tag == "a" else None}
        if tag in LINKED and found.get(LINKED[tag]):
            self.links.append(found[LINKED[tag]])


@cache
def page(path):
    """A built page, or a Markdown file as GitHub shows it."""
    text = path.read_text("utf-8")
    if path.suffix == ".html":
        return Page(text)
    read = Page("")
    code = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
    text = code.sub("", text)
    read.links = [one or other for one, other in MARKDOWN_LINK.findall(text)]
    read.places |= {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }
    return read


def pages(site=SITE):
    files = [*sorted(site.rglob("*.html")), *(ROOT / name for name in BESIDE)]
    return [path for path in files if not {"vendor", "_static"} & set(path.parts)]


def broken_inside(path):
    """The links of one page that stay here and lead nowhere: (link, why)."""
    for link in page(path).links:
        address, place = urldefrag(link)
        if urlsplit(link).scheme in ELSEWHERE or link.startswith("//"):
            continue
        target = path
        if address:
            target = (path.parent / unquote(urlsplit(address).path)).resolve()
        if target.is_dir() and path.suffix == ".html":
            target /= "index.html"
        if not target.exists():
            yield link, "no such file"
        elif (
            place
            and target.suffix in (".html", ".md")
            and unquote(place) not in page(target).places
        ):
            yield link, f"no such place in {target.name}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--site", type=Path, default=SITE)
    options = parser.parse_args()
    if not (options.site / "index.html").exists():
        sys.exit("There is no built site: run `make book` first.")
    paths = pages(options.site.resolve())
    broken = [(path, *found) for path in paths for found in broken_inside(path)]
    for path, link, why in broken:
        print(f"{relpath(path, ROOT)}: {link}: {why}")
    count = sum(len(page(path).links) for path in paths)
    print(f"{len(paths)} pages, {count} links, {len(broken)} lead nowhere")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
