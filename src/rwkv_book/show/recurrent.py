"""Drawings of recurrent networks: a chain unrolled in time, the inside of an LSTM."""

from matplotlib.patches import Circle, FancyBboxPatch

from rwkv_book.show.palette import INK, PALETTE
from rwkv_book.show.pictures import Figure


def chain(tokens, states, title, alt):
    """The same step for each token, with the state that travels from one to the next.

    `states` are texts, one more than the tokens: the first is the state before them.
    ValueError where there are more or fewer.
    """
    if len(states) != len(tokens) + 1:
        counts = f"{len(tokens)} tokens need {len(tokens) + 1} states"
        raise ValueError(f"{counts}, got {len(states)}")
    figure = canvas(title, alt, 3.4 * len(tokens) + 1.6, 4.4, height=2.0)
    axes, colour = figure.axes, PALETTE["Elman"]
    for place, token in enumerate(tokens):
        x = 3.4 * place + 2.5
        box(axes, x, 2.4, "step", colour, width=1.5)
        axes.text(x, 0.35, token, ha="center", va="center", style="italic")
        arrow(axes, (x, 0.8), (x, 1.8))
        arrow(axes, (x - 2.6, 2.4), (x - 0.8, 2.4))
        axes.text(x - 1.7, 2.85, states[place], ha="center", color=colour)
        arrow(axes, (x, 3.0), (x, 3.7))
        axes.text(x, 3.95, states[place + 1], ha="center", va="center", color=colour)
    arrow(axes, (x + 0.8, 2.4), (x + 2.4, 2.4))
    axes.text(x + 1.5, 2.85, states[-1], ha="center", color=colour)
    return figure


def lstm_cell(title, alt):
    """What happens to the cell in one step: kept, added to, shown."""
    figure = canvas(title, alt, 10.6, 6.2, height=3.2)
    axes, colour = figure.axes, PALETTE["LSTM"]
    arrow(axes, (0.9, 5), (9.5, 5), colour, 3)
    axes.text(0.8, 5, "cell", ha="right", va="center", color=colour)
    axes.text(9.6, 5, "cell", ha="left", va="center", color=colour)
    axes.plot([0.9, 8.2], [0.9, 0.9], color=INK, linewidth=1)
    axes.text(0.8, 0.9, "hidden", ha="right", va="center")
    axes.text(1.2, 0.1, "token", ha="center", va="center", style="italic")
    arrow(axes, (1.2, 0.3), (1.2, 0.9))
    gates = {
        2.4: "forget\nσ",
        4.2: "input\nσ",
        6.2: "candidate\ntanh",
        8.2: "output\nσ",
    }
    for x, name in gates.items():
        arrow(axes, (x, 0.9), (x, 1.6))
        box(axes, x, 2.15, name, INK, width=1.75, height=1.1)
    arrow(axes, (2.4, 2.7), (2.4, 4.7))
    arrow(axes, (4.2, 2.7), (5.0, 3.5))
    arrow(axes, (6.2, 2.7), (5.4, 3.5))
    arrow(axes, (5.2, 4.0), (5.2, 4.7))
    arrow(axes, (8.2, 5.0), (8.2, 4.5))
    box(axes, 8.2, 4.2, "tanh", INK, width=1.0, height=0.55)
    arrow(axes, (8.2, 3.9), (8.2, 3.6))
    arrow(axes, (8.2, 2.7), (8.2, 3.05))
    arrow(axes, (8.5, 3.32), (9.5, 3.32))
    axes.text(9.6, 3.32, "hidden", ha="left", va="center")
    for x, y, sign in ((2.4, 5, "×"), (5.2, 3.7, "×"), (5.2, 5, "+"), (8.2, 3.32, "×")):
        node(axes, x, y, sign, colour)
    return figure


def canvas(title, alt, across, up, height):
    """A figure without axes, `across` units wide and `up` high, `height` in inches."""
    figure = Figure(title, alt, height=height)
    figure.axes.set(xlim=(0, across), ylim=(-0.2, up))
    figure.axes.axis("off")
    return figure


def box(axes, x, y, text, colour, width=1.5, height=1.1):
    corner = x - width / 2, y - height / 2
    style = "round,pad=0,rounding_size=0.15"
    axes.add_patch(
        FancyBboxPatch(
            corner, width, height, style, fill=False, edgecolor=colour, linewidth=1.5
        )
    )
    axes.text(x, y, text, ha="center", va="center", linespacing=1.3)


def node(axes, x, y, sign, colour):
    """A multiplication or an addition on the way."""
    axes.add_patch(
        Circle(
            (x, y), 0.28, facecolor=colour, edgecolor=colour, zorder=3, clip_on=False
        )
    )
    axes.text(x, y - 0.03, sign, ha="center", va="center", color="#ffffff", zorder=4)


def arrow(axes, start, end, colour=INK, width=1.2):
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": width}
    axes.annotate(
        "", end, start, arrowprops=style | {"shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
    )  # fmt: skip
