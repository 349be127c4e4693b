"""The charts that chapters draw: lines with their labels, bars, heat maps."""

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator

from rwkv_book.show.palette import ACCENT, colours, dashes
from rwkv_book.show.pictures import Figure


def lines(
    series,
    title,
    alt,
    x="",
    y="",
    x_scale="linear",
    y_scale="linear",
    dots=False,
    **options,
):
    """A line for each {label: (xs, ys)}, labelled at its right end.

    Scales are "linear" or "log"; `options` are those of Figure.
    """
    figure = Figure(title, alt, x, y, **options)
    axes, marker = figure.axes, "o" if dots else None
    axes.set_xscale(x_scale)
    axes.set_yscale(y_scale)
    styles = zip(colours(series), dashes(series), strict=True)
    for (xs, ys), (colour, dash) in zip(series.values(), styles, strict=True):
        axes.plot(
            xs, ys, color=colour, linestyle=(0, dash), marker=marker, markersize=4
        )
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


def bars(values, title, alt, x="", y="", format="{:.2f}", **options):
    """A horizontal bar for each {label: value}, with the value written beside it."""
    options.setdefault("height", 1.1 + 0.28 * len(values))
    figure = Figure(title, alt, x, y, **options)
    axes, labels = figure.axes, list(values)
    colour = colours(values, others=[ACCENT])
    drawn = axes.barh(labels, values.values(), color=colour, height=0.7)
    axes.bar_label(drawn, [format.format(v) for v in values.values()], padding=3)
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
