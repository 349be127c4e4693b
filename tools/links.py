"""Do the links of the book lead somewhere?

    python tools/links.py              links inside the site and between the files
    python tools/links.py --elsewhere  links to other hosts, which needs the network

The first is quick and belongs to every test run: each link of each built page, and of
the Markdown files beside the book, has to lead to a file that is there and, behind a #,
to a place in it. The second asks every other address once, a few at a time, and again
where that failed.
"""

import argparse
import re
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from html.parser import HTMLParser
from os.path import relpath
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
BESIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
LINKED = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src"}
MARKDOWN_LINK = re.compile(r"\]\(<?([^)>\s]+)>?\)|<(https?://[^>\s]+)>")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# These answer programs with a refusal, whatever is there.
REFUSE = {401, 403, 405, 406, 418, 429, 503, 999}
AGENT = "Mozilla/5.0 (compatible; link check of a book)"


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


def is_elsewhere(link):
    return urlsplit(link).scheme in ("http", "https") or link.startswith("//")


def broken_inside(path):
    """The links of one page that stay here and lead nowhere: (link, why)."""
    for link in page(path).links:
        address, place = urldefrag(link)
        scheme = urlsplit(link).scheme
        if is_elsewhere(link) or scheme in ("mailto", "data", "javascript"):
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


def elsewhere(paths):
    """{address: a page that links to it}, without what comes after #."""
    found = {}
    for path in paths:
        for link in page(path).links:
            if is_elsewhere(link):
                address = urldefrag(urljoin("https:", link))[0]
                found.setdefault(address, path)
    return found


def answer(address, tries=3, wait=5):
    """What is wrong with an address, '' if nothing; '?' before it if it may be fine."""
    for attempt in range(tries):
        if attempt:
            time.sleep(wait * attempt)
        request = urllib.request.Request(address, headers={"User-Agent": AGENT})
        try:
            with urllib.request.urlopen(request, timeout=20):
                return ""
        except urllib.error.HTTPError as error:
            wrong = f"? {error.code}" if error.code in REFUSE else str(error.code)
            if error.code in (404, 410):
                break
        except (OSError, ValueError) as error:
            wrong = str(getattr(error, "reason", error))
    return wrong


def there_is_a_network(host="https://github.com"):
    try:
        with urllib.request.urlopen(host, timeout=10):
            return True
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--elsewhere", action="store_true")
    parser.add_argument("--site", type=Path, default=SITE)
    options = parser.parse_args()
    if not (options.site / "index.html").exists():
        sys.exit("There is no built site: run `make book` first.")
    paths = pages(options.site.resolve())
    if options.elsewhere:
        return check_elsewhere(elsewhere(paths))
    broken = [(path, *found) for path in paths for found in broken_inside(path)]
    for path, link, why in broken:
        print(f"{relpath(path, ROOT)}: {link}: {why}")
    count = sum(len(page(path).links) for path in paths)
    print(f"{len(paths)} pages, {count} links, {len(broken)} lead nowhere")
    return bool(broken)


def check_elsewhere(found):
    if not there_is_a_network():
        print(f"There is no network: {len(found)} addresses elsewhere were not asked.")
        return 0
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(found, pool.map(answer, found), strict=True))
    wrong = {one: why for one, why in answers.items() if why and why[0] != "?"}
    for address, why in answers.items():
        if why:
            print(f"{why}: {address} (in {relpath(found[address], ROOT)})")
    print(f"{len(found)} addresses elsewhere, {len(wrong)} do not answer")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
