"""A picture in a page, and the figure that matplotlib draws for it.

A figure is an SVG in the page, its ink the colour of the text around it, so that it is
right on a white page, on a dark one and in grey print.
"""

import hashlib
import html
import io
import re
import textwrap
from copy import deepcopy

import matplotlib
from matplotlib.figure import Figure as Canvas

from rwkv_book import language
from rwkv_book.show.palette import INK, STYLE


class Picture:
    """Something to look at: `html()` for a page, and `alt`, what it shows, in words."""

    def __init__(self, title, alt):
        if not alt.strip():
            raise ValueError("a picture needs an alt text: its message in words")
        self.title, self.alt = title, " ".join(alt.split())

    def _repr_mimebundle_(self, **_):
        plain = f"{self.title}\n{self.alt}".strip()
        return language.bundle({"text/html": self.html(), "text/plain": plain})


class Table(Picture):
    """What is to be read first, and under it a table whose rows have bars in them.

    `said` is plain text; `rows` are HTML, cells and all, one for each row. Without rows
    there is no table.
    """

    def __init__(self, said, header, rows):
        super().__init__("", said)
        self.header, self.rows = header, rows

    def html(self):
        """A line, and a table as wide as the page."""
        said = html.escape(self.alt)
        if not self.rows:
            return f"<p>{said}</p>"
        head = "".join(f'<th scope="col">{name}</th>' for name in self.header)
        body = "".join(f"<tr>{row}</tr>" for row in self.rows)
        return (
            f"<p><strong>{said}</strong></p>"
            '<table class="table" style="width: 100%"><thead><tr>'
            f"{head}</tr></thead><tbody>{body}</tbody></table>"
        )


class Figure(Picture):
    """A figure with one message, which its title states, drawn by matplotlib.

    `axes` are matplotlib's, one or, for `columns` > 1, a list of them. `numbers` keeps
    what was drawn, for tests. Width and height are in inches; a page has room for 5.4.
    ValueError without a title or an alt text.
    """

    def __init__(self, title, alt, x="", y="", height=2.9, width=5.4, columns=1):
        super().__init__(title, alt)
        if not title.strip():
            raise ValueError("a figure needs a title: its message")
        self.numbers = {}
        with matplotlib.rc_context(STYLE):
            self.canvas = Canvas(figsize=(width, height))
            all_axes = self.canvas.subplots(1, columns, squeeze=False)[0]
            lines = textwrap.wrap(title, int(11 * width))
            self.canvas.suptitle("\n".join(lines), x=0.01, ha="left")
        self.axes = all_axes[0] if columns == 1 else list(all_axes)
        for axes in all_axes:
            axes.set_xlabel(x)
            axes.set_ylabel(y)

    def html(self):
        """An SVG element, the same bytes for the same numbers.

        It is a copy that is drawn: each drawing moves the layout of a figure a little.
        """
        with matplotlib.rc_context(STYLE), io.StringIO() as file:
            copy = deepcopy(self.canvas)
            copy.savefig(file, format="svg", metadata={"Date": None})
            return tidy(file.getvalue(), self.alt)


def tidy(svg, alt):
    """Matplotlib's SVG made fit for a page: themed, named, small, ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(f"{INK}|#000000", "currentColor", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"(\d+\.\d\d)\d+(?=[^<>]*>)", r"\1", svg)  # in tags, not in text
    used = set(re.findall(r"(?:url\(#|href=\"#)([\w-]+)", svg))
    mark = hashlib.sha256(svg.encode()).hexdigest()[:8]

    def rename(match):
        return f' id="{mark}{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([\w.-]+)"', rename, svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{mark}", svg)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    opening = (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="{size[0][9:-1]}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'style="width: 100%; max-width: {float(size[1]) * 1.5:.0f}px; '
        'fill: currentColor">'
    )
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()
