"""What the chapters show: source code, figures, tables and sliders.

A figure is an SVG in the page, its ink the colour of the text around it, so that it is
right on a white page, on a dark one and in grey print. A slider moves between pictures
that were made beforehand, so that it moves in the static page too, without a kernel.
This is the only module that imports matplotlib, ipywidgets and IPython.
"""

import hashlib
import html
import inspect
import io
import re
import textwrap
from itertools import cycle

import ipywidgets
import matplotlib
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

# Each architecture keeps its colour in the whole book. All have a contrast of at least
# 3 to a white page and to a dark one, and differ in brightness as well as in hue.
PALETTE = {
    "RWKV": "#0e8a86",
    "transformer": "#d4602a",
    "LSTM": "#7a68d8",
    "Elman": "#b65aa8",
    "AFT": "#a98011",
    "linear attention": "#3c85d6",
    "Linformer": "#6b8e23",
    "Nyströmformer": "#c4507a",
    "Longformer": "#2f8f57",
    "Performer": "#9a6a3a",
    "other": "#808080",
}
# Equally bright colours are one grey in print, and some of these are one colour to
# colour-blind eyes: each architecture has its own dashes too, in widths of the line.
DASHES = {
    "RWKV": (),
    "transformer": (4, 1.5),
    "LSTM": (1, 1),
    "Elman": (4, 1.5, 1, 1.5),
    "AFT": (7, 2),
    "linear attention": (2, 1),
    "Linformer": (7, 1.5, 2, 1.5),
    "Nyströmformer": (1, 2.5),
    "Longformer": (4, 1.5, 1, 1.5, 1, 1.5),
    "Performer": (2.5, 2.5),
    "other": (7, 1.5, 1, 1.5),
}
ACCENT = PALETTE["RWKV"]
INK = "#010203"  # stands for the colour of the text around the figure
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 9.5,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "axes.facecolor": "none",
    "font.size": 9.5,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "lines.linewidth": 2,
    "path.simplify_threshold": 0.5,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "rwkv",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def source(*things):
    """Show functions, classes or modules as they are imported, highlighted."""
    code = "\n\n\n".join(inspect.getsource(thing).rstrip() for thing in things)
    show_markdown(f"```python\n{code}\n```", code)


def table(header, rows):
    """Show rows of text under a header; numbers should come formatted."""
    rows = [[str(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *rows]
    markdown = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    plain = "\n".join(
        "  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip()
        for line in [header, *rows]
    )
    show_markdown(markdown, plain)


def show_markdown(markdown, plain):
    """One output that is Markdown where that can be shown, and plain text elsewhere."""
    display({"text/markdown": markdown, "text/plain": plain}, raw=True)


class Picture:
    """Something to look at: `html()` for a page, and `alt`, what it shows, in words."""

    def __init__(self, title, alt):
        if not alt.strip():
            raise ValueError("a picture needs an alt text: its message in words")
        self.title, self.alt = title, " ".join(alt.split())

    def _repr_mimebundle_(self, **_):
        plain = f"{self.title}\n{self.alt}".strip()
        return {"text/html": self.html(), "text/plain": plain}


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
        """An SVG element, the same bytes for the same numbers."""
        with matplotlib.rc_context(STYLE), io.StringIO() as file:
            self.canvas.savefig(file, format="svg", metadata={"Date": None})
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


def lines(series, title, alt, x="", y="", **options):
    """A line for each {label: (xs, ys)}, labelled at its right end.

    `options` are those of Figure, and `x_scale`, `y_scale` ("log"), and `dots`.
    """
    scales = {k: options.pop(f"{k}_scale", "linear") for k in "xy"}
    marker = "o" if options.pop("dots", False) else None
    figure = Figure(title, alt, x, y, **options)
    axes = figure.axes
    axes.set_xscale(scales["x"])
    axes.set_yscale(scales["y"])
    styles = zip(colours(series), dashes(series), strict=True)
    for (xs, ys), (colour, dash) in zip(series.values(), styles, strict=True):
        line = {"color": colour, "linestyle": (0, dash)}
        axes.plot(xs, ys, marker=marker, markersize=4, **line)
    ends = [(ys[-1], label) for label, (_, ys) in series.items()]
    heights = spread([end for end, _ in ends], axes, figure.canvas)
    right = max(xs[-1] for xs, _ in series.values())
    for (_, label), height, colour in zip(ends, heights, colours(series), strict=True):
        axes.annotate(
            label, (right, height), (6, 0), textcoords="offset points",
            color=colour, va="center", fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    figure.numbers = {label: (list(xs), list(ys)) for label, (xs, ys) in series.items()}
    return figure


def bars(values, title, alt, x="", y="", **options):
    """A horizontal bar for each {label: value}, with the value written beside it."""
    written = options.pop("format", "{:.2f}")
    options.setdefault("height", 1.1 + 0.28 * len(values))
    figure = Figure(title, alt, x, y, **options)
    axes, labels = figure.axes, list(values)
    colour = colours(values, others=[ACCENT])
    drawn = axes.barh(labels, values.values(), color=colour, height=0.7)
    axes.bar_label(drawn, [written.format(v) for v in values.values()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.numbers = dict(values)
    return figure


def heat(matrix, title, alt, x="", y="", colour=ACCENT, most=None, **options):
    """A picture of a matrix of numbers >= 0: the larger, the more ink.

    `most` is the number with full ink, by default the largest. Row 0 is at the top.
    """
    matrix = np.asarray(matrix, dtype=float)
    figure = Figure(title, alt, x, y, **options)
    heat_on(figure.axes, matrix, colour, most)
    figure.numbers = {"matrix": matrix}
    return figure


def heat_on(axes, matrix, colour=ACCENT, most=None):
    """Draw the matrix of `heat` on some axes, for figures with several of them."""
    matrix = np.asarray(matrix, dtype=float)
    most = most or matrix.max() or 1.0
    ink = np.empty((*matrix.shape, 4))
    ink[..., :3] = matplotlib.colors.to_rgb(colour)
    ink[..., 3] = np.clip(matrix / most, 0, 1)
    axes.imshow(ink, interpolation="none", aspect="auto")
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    for spine in axes.spines.values():
        spine.set_visible(True)


def colours(labels, others=None):
    """The colours of labels that begin with a name in PALETTE; else from `others`."""
    others = cycle(others or PALETTE.values())
    return [PALETTE[name] if name else next(others) for name in map(named, labels)]


def dashes(labels):
    """The line of each label, as matplotlib takes it; chosen as `colours` are."""
    others = cycle(DASHES.values())
    return [DASHES[name] if name else next(others) for name in map(named, labels)]


def named(label):
    """The longest name in PALETTE that a label begins with, or None."""
    known = [name for name in PALETTE if str(label).startswith(name)]
    return max(known, key=len, default=None)


def spread(heights, axes, canvas, points=12):
    """The heights of labels, moved apart until they are `points` from each other."""
    canvas.draw_without_rendering()
    to_points, back = axes.transData, axes.transData.inverted()
    x = axes.get_xlim()[1]
    places = np.array([to_points.transform((x, h))[1] for h in heights])
    least = points * canvas.dpi / 72
    order = np.argsort(places)
    moved = places[order].copy()
    for _ in range(200):
        gaps = np.diff(moved)
        short = np.clip(least - gaps, 0, None) / 2
        if not short.any():
            break
        moved[:-1] -= short
        moved[1:] += short
    places[order] = moved
    return [back.transform((0, place))[1] for place in places]


class Words(Picture):
    """A text in which each token is tinted by its weight, from 0 to 1.

    A line `note` is written below. ValueError when there are not as many weights as
    tokens.
    """

    def __init__(self, tokens, weights, alt, note=""):
        if len(tokens) != len(weights):
            raise ValueError(f"{len(tokens)} tokens and {len(weights)} weights")
        super().__init__(note, alt)
        self.tokens, self.weights = list(tokens), [float(w) for w in weights]

    def html(self):
        """Spans with a tinted background."""
        pairs = zip(self.tokens, self.weights, strict=True)
        text = "".join(tinted(token, weight) for token, weight in pairs)
        return (
            f'<div role="img" aria-label="{html.escape(self.alt)}">'
            '<div aria-hidden="true" style="font: 1.05rem/2 monospace">'
            f'{text}</div><div aria-hidden="true">{html.escape(self.title)}</div></div>'
        )


def tinted(token, weight):
    """One token of `Words`; spaces are kept, and lines may break after them."""
    red, green, blue = (int(ACCENT[i : i + 2], 16) for i in (1, 3, 5))
    style = (
        f"background: rgba({red}, {green}, {blue}, {0.75 * weight:.2f}); "
        "border-radius: 2px; padding: 0.25em 0.05em"
    )
    text = html.escape(token.replace("\n", "⏎")).replace(" ", "&nbsp;<wbr>")
    return f'<span style="{style}">{text}</span>'


def slider(name, values, picture, start=0, text=str):
    """A slider over `values`, each of which shows picture(value), one or several.

    `text` writes a value beside the slider. It moves in a page without a kernel too:
    all pictures are made now, and the browser chooses among them.
    """
    frames = [frame(picture(value)) for value in values]
    control = selection(name, values, start, text)
    show_widget([control], stack_of(frames, start))


def two_sliders(names, values, picture, start=(0, 0), text=(str, str)):
    """Two sliders, and picture(first, second) for every pair of their values."""
    first, second = (
        selection(*each) for each in zip(names, values, start, text, strict=True)
    )
    rows = []
    for one in values[0]:
        frames = [frame(picture(one, other)) for other in values[1]]
        rows.append(stack_of(frames, start[1]))
        link(second, rows[-1])
    show_widget([first, second], stack_of(rows, start[0]))


def selection(name, values, start, text):
    """A slider over the texts of some values."""
    options = [(text(value), position) for position, value in enumerate(values)]
    control = ipywidgets.SelectionSlider(
        options=options, index=start, description=name,
        style={"description_width": "initial"}, layout={"width": "100%"},
    )  # fmt: skip
    control.summary = f"{name}: {options[0][0]} to {options[-1][0]}"
    return control


def frame(pictures):
    """A picture, or several of them one below the other, as a widget."""
    pictures = [pictures] if isinstance(pictures, Picture) else pictures
    return ipywidgets.HTML("".join(picture.html() for picture in pictures))


def stack_of(frames, start):
    """One of several widgets at a time, as wide as the page."""
    return ipywidgets.Stack(frames, selected_index=start, layout={"width": "100%"})


def link(control, stack):
    """Let a slider choose what a stack shows, in the browser."""
    ipywidgets.jslink((control, "index"), (stack, "selected_index"))


def show_widget(controls, stack):
    """Sliders above the stack that the first of them moves."""
    link(controls[0], stack)
    box = ipywidgets.VBox([*controls, stack])
    plain = "\n".join(f"[slider] {control.summary}" for control in controls)
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    bundle = {"application/vnd.jupyter.widget-view+json": view, "text/plain": plain}
    display(bundle, raw=True)
