"""One palette for the whole book: each architecture keeps its colour and its dashes."""

from itertools import cycle

# Each architecture keeps its colour in the whole book (RWKV-4 has that of RWKV). All
# have a contrast of at least 3 to a white page and to a dark one, and differ in
# brightness as well as in hue.
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
    "RWKV-5": "#5a7fd6",
    "RWKV-6": "#b07a10",
    "RWKV-7": "#c8406e",
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
    "RWKV-5": (3, 1),
    "RWKV-6": (1.5, 1.5),
    "RWKV-7": (9, 1.5),
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
