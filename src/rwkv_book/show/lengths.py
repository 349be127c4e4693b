"""Accuracy against length: one panel for each group of networks, seeds and chance."""

import matplotlib
import numpy as np

from rwkv_book.show.charts import spread
from rwkv_book.show.palette import DASHES, INK, PALETTE, STYLE
from rwkv_book.show.pictures import Figure

GROUPS = {
    "tables": ("RWKV-5", "RWKV-6", "RWKV-7", "RWKV-7 twice"),
    "others": ("LSTM", "attention", "attention unplaced", "RWKV-4"),
}
LABELS = {
    "RWKV-7 twice": "7, rates to 2",
    "attention": "attention, rotary",
    "attention unplaced": "no positions",
}
COLOURS = {
    "RWKV-4": PALETTE["RWKV"],
    "RWKV-5": PALETTE["linear attention"],
    "RWKV-6": PALETTE["Nyströmformer"],
    "RWKV-7": PALETTE["RWKV"],
    "RWKV-7 twice": INK,
    "LSTM": PALETTE["LSTM"],
    "attention": PALETTE["transformer"],
    "attention unplaced": PALETTE["Performer"],
}
LINES = dict(zip(COLOURS, DASHES.values(), strict=False))


def by_length(shares, sizes, chance, trained, title, alt, x):
    """Curves of {name: accuracies (seeds, sizes)}, tables left, others right.

    A line is the mean, the band around it goes from the worst seed to the best. What
    `chance` gives at each size is dotted, and the sizes of training are shaded.
    """
    figure = Figure(title, alt, x, height=3.3, width=6.6, columns=2)
    for axes, (group, names) in zip(figure.axes, GROUPS.items(), strict=True):
        with matplotlib.rc_context(STYLE):
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes], fontsize=8)
            axes.minorticks_off()
        axes.set_ylim(-0.03, 1.05)
        axes.axvspan(sizes[0], max(trained), color=PALETTE["other"], alpha=0.12, lw=0)
        axes.plot(sizes, chance, ":", color=INK, linewidth=1)
        axes.set_title(group)
        draw_group(figure, axes, {n: shares[n] for n in names if n in shares}, sizes)
    figure.axes[0].set_ylabel("share of answers right")
    figure.numbers = {name: np.mean(rows, 0) for name, rows in shares.items()}
    return figure


def draw_group(figure, axes, shares, sizes):
    """Lines, bands and labels in one panel."""
    for name, rows in shares.items():
        style = {"color": COLOURS[name], "linestyle": (0, LINES[name])}
        axes.plot(sizes, np.mean(rows, 0), marker="o", markersize=3, **style)
        low, high = np.min(rows, 0), np.max(rows, 0)
        axes.fill_between(sizes, low, high, color=COLOURS[name], alpha=0.15, lw=0)
    ends = [np.mean(rows, 0)[-1] for rows in shares.values()]
    heights = spread(ends, axes, figure.canvas) if ends else []
    for name, height in zip(shares, heights, strict=True):
        label = LABELS.get(name, name)
        axes.annotate(
            label, (sizes[-1], height), (6, 0), textcoords="offset points",
            color=COLOURS[name], va="center", fontweight="bold", fontsize=8,
            annotation_clip=False,
        )  # fmt: skip
