"""What pages load, made less: part of the Sphinx extension `sphinx_book`.

The theme draws a dozen icons with a script of 1.5 MB, and loads the index of the search
on every page; the book has a search of its own, whose data wait for a reader who
searches. After the build, icons stand in the pages as drawings and both scripts are
gone, and MathJax where there is no formula; what is left of scripts waits until the
page is there. What the glossary and the bibliography say is gathered in one
small script, which `notes.js` loads when a reader first rests on a term or a citation.
"""

import json
import re
from functools import cache
from pathlib import Path

from bs4 import BeautifulSoup

ICON = re.compile(
    r'<(?P<tag>i|span) class="(?P<classes>[^"]*\bfa-[^"]*)"(?P<more>[^>]*)></(?P=tag)>'
)
DRAWING = (
    r'[{{,]"?{name}"?:\[(?P<width>\d+),(?P<height>\d+),\[[^\]]*\],"\w+",'
    r'"(?P<path>[^"]+)"\]'
)
NEWER_NAMES = {"pencil-alt": "pencil"}
SCRIPTS = re.compile(
    r'\s*<script (?:defer )?src="[^"]*(?:scripts/fontawesome|_static/searchtools|'
    r'_static/language_data|searchindex)\.js[^"]*"></script>'
)
MATHJAX = re.compile(
    r"\s*<script>window\.MathJax = .*?</script>"
    r"\s*<script [^>]*tex-mml-chtml\.js[^>]*></script>"
)
# What a page needs once it is there may wait for it; MathJax, the largest, comes last.
MATHJAX_SCRIPT = re.compile(
    r'\s*<script defer="defer" (src="[^"]*tex-mml-chtml\.js[^"]*")></script>'
    r"(.*?)(?=\s*</head>)",
    re.DOTALL,
)
LAST = r'\2\n    <script defer fetchpriority="low" \1></script>'
WAITS = re.compile(
    r"<script (?![^>]*(?:defer|async|type=|documentation_options))(?=[^>]*\bsrc=)"
)


def finish(app, exception):
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    icons = site / "_static" / "scripts" / "fontawesome.js"
    drawings = icons.read_text(encoding="utf-8")
    icons.unlink()
    for page in site.rglob("*.html"):
        name = page.relative_to(site).as_posix()
        if name.startswith(("vendor/", "_static/")):
            continue
        text = page.read_text(encoding="utf-8")
        text = SCRIPTS.sub("", text)
        if 'class="math' not in text:
            text = MATHJAX.sub("", text)
        text = WAITS.sub("<script defer ", text)
        text = MATHJAX_SCRIPT.sub(LAST, text)
        text = ICON.sub(lambda icon: drawn(icon, drawings), text)
        page.write_text(text, encoding="utf-8")
    script = f"bookNotes({json.dumps(notes(site), ensure_ascii=False)});\n"
    (site / "_static" / "notes-data.js").write_text(script, encoding="utf-8")


def drawn(icon, drawings):
    """An icon as the theme names it, as a drawing."""
    names = re.findall(r"\bfa-([a-z-]+)", icon["classes"])
    name = next(name for name in names if name not in ("solid", "lg"))
    width, height, path = outline(NEWER_NAMES.get(name, name), drawings)
    return (
        f'<svg class="icon {icon["classes"]}"{icon["more"]} aria-hidden="true" '
        f'viewBox="0 0 {width} {height}"><path fill="currentColor" d="{path}"/></svg>'
    )


@cache
def outline(name, drawings):
    """Width, height and path of an icon in the theme's script.

    ValueError if the theme does not have it.
    """
    kinds = re.finditer(DRAWING.format(name=re.escape(name)), drawings)
    # Of a filled icon and its outline the filled one has the shorter path.
    found = min(kinds, key=lambda kind: len(kind["path"]))
    return found["width"], found["height"], found["path"]


def notes(site):
    """What terms and citations stand for, {address within the site: HTML}."""
    found = {}
    for page, entries, text in (
        ("book/appendix/glossary.html", "dt[id^=term-]", "dd"),
        ("book/appendix/bibliography.html", ".citation[id]", "p"),
    ):
        if not (site / page).exists():  # a language may lack it
            continue
        soup = BeautifulSoup((site / page).read_text(encoding="utf-8"), "html.parser")
        for entry in soup.select(entries):
            said = entry.find_next(text)
            for citation in said.select(".bibtex-citation"):
                citation.decompose()
            for link in said.select("a"):
                link.unwrap()
            found[f"{page}#{entry['id']}"] = said.decode_contents().strip()
    return found


def setup(app):
    app.connect("build-finished", finish)
