"""A Sphinx extension: the picture beside a link to a page, where somebody shares it.

A card has the page's title and the first figure that stands on the page, in the book's
colours; pages without a figure share the first page's card. Pages in another language
have the English card, and say in their language what is on it. A card that was drawn
before is kept in _build/cards.
"""

import hashlib
import re
import shutil
import textwrap
from html import escape, unescape
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rwkv_book.show import palette
from tools import contents
from tools.site import svg
from tools.site.sphinx_languages import is_english

WIDTH, HEIGHT, DPI = 1200, 630, 100
PAPER, INK = "#ffffff", "#1c2328"
EDGE, SEAM = 64, 28  # around what is on a card, and between its parts
LETTERS = 42  # of a title fit in a line
FOLDER = "_static/cards"
FIGURE = re.compile(r'<svg role="img" aria-label="([^"]*)".*?</svg>', re.DOTALL)
TITLE = re.compile(r"<title>(.*?) &#8212;", re.DOTALL)
HEAD = """<meta property="og:image" content="{address}" />
<meta property="og:image:width" content="{width}" />
<meta property="og:image:height" content="{height}" />
<meta property="og:image:alt" content="{alt}" />
<meta name="twitter:card" content="summary_large_image" />
</head>"""


def first_figure(html):
    """(SVG, what it shows in words) of a page, or None."""
    article = html[html.index("<article") :] if "<article" in html else html
    found = FIGURE.search(article)
    return found and (found[0], unescape(found[1]))


def draw(path, title, figure, book):
    """A card of 1200 by 630 pixels, as a PNG."""
    size = WIDTH / DPI, HEIGHT / DPI
    with rc_context({"font.family": "DejaVu Sans", "text.parse_math": False}):
        canvas = Figure(figsize=size, dpi=DPI, facecolor=PAPER)
        axes = canvas.add_axes((0, 0, 1, 1))
        bar = Rectangle((0, 0), 16, HEIGHT, color=palette.ACCENT, linewidth=0)
        axes.add_patch(bar)
        lines = textwrap.wrap(title, LETTERS)
        points = 72 / DPI
        axes.text(
            EDGE, EDGE - 8, "\n".join(lines),
            size=40 * points, weight="bold", color=INK, va="top", linespacing=1.2,
        )  # fmt: skip
        axes.text(
            EDGE, HEIGHT - 40, book, size=26 * points, color=palette.ACCENT,
            weight="bold", va="baseline",
        )  # fmt: skip
        top = EDGE + len(lines) * 48 + SEAM
        room = WIDTH - 2 * EDGE, HEIGHT - 40 - 26 - SEAM - top
        drawing = svg.Drawing(figure, INK, DPI)
        scale = min(room[0] / drawing.width, room[1] / drawing.height)
        left = (WIDTH - drawing.width * scale) / 2
        drawing.draw(axes, left, top + (room[1] - drawing.height * scale) / 2, scale)
        axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        axes.axis("off")
        canvas.savefig(path, metadata={"Software": None})


def kept(folder, title, figure, book):
    """The file of a card, drawn if it never was."""
    folder.mkdir(parents=True, exist_ok=True)
    made_by = [Path(__file__), Path(svg.__file__)]
    parts = [title, figure, book, *(path.read_text("utf-8") for path in made_by)]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    path = folder / f"{digest}.png"
    if not path.exists():
        unfinished = path.with_suffix(".part.png")
        draw(unfinished, title, figure, book)
        unfinished.replace(path)
    return path


def finish(app, exception):
    """Draw the cards, and name its own in the head of every page."""
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    first = app.config.root_doc
    described = {first: first_figure(read(site, first))}
    if described[first] is None:
        return
    for page in sorted(app.env.found_docs):
        html = read(site, page)
        described[page] = first_figure(html)
        shown = page if described[page] else first
        figure, alt = described[shown]
        name = f"{FOLDER}/{shown.rpartition('/')[2]}.png"
        if is_english(app) and shown == page:
            title = unescape(TITLE.search(html)[1])
            title = "" if title == app.config.html_title else title
            card = kept(
                site.parent / "cards",
                title or app.config.html_title,
                figure,
                app.config.html_title,
            )
            (site / FOLDER).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(card, site / name)
        head = HEAD.format(
            address=f"{contents.SITE}/{name}",
            alt=escape(alt),
            width=WIDTH,
            height=HEIGHT,
        )
        (site / f"{page}.html").write_text(html.replace("</head>", head, 1), "utf-8")


def read(site, page):
    return (site / f"{page}.html").read_text("utf-8")


def setup(app):
    # After sliders, at 500, have become figures that stand in the page.
    app.connect("build-finished", finish, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
