"""Drawings of recurrent networks: chains unrolled in time, the inside of an LSTM."""

import math
from collections import defaultdict

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


def lstm_cell(title, alt, numbers=None):
    """What happens to the cell in one step: kept, added to, shown.

    `numbers` of one step, if any, are written into it, with two decimals: token (a
    text), hidden_before, cell_before, forget, input, candidate, output, cell, hidden.
    Such a name in braces in `alt` stands for its number; so do kept, added, flattened.
    """
    says = texts_of(numbers)
    if numbers:
        said = {name: text.strip() for name, text in says.items()}
        alt = alt.format(token=numbers["token"], **said)
    figure = canvas(title, alt, 10.6, 6.2, height=3.2)
    axes, colour = figure.axes, PALETTE["LSTM"]
    arrow(axes, (0.9, 5), (9.5, 5), colour, 3)
    ends = {"va": "center", "linespacing": 1.3}
    axes.text(0.8, 5, "cell" + says["cell_before"], ha="right", color=colour, **ends)
    axes.text(9.6, 5, "cell" + says["cell"], ha="left", color=colour, **ends)
    axes.plot([0.9, 8.3], [0.9, 0.9], color=INK, linewidth=1)
    axes.text(0.8, 0.9, "hidden" + says["hidden_before"], ha="right", **ends)
    token = numbers["token"] if numbers else "token"
    axes.text(1.2, 0.05, token, ha="center", va="center", style="italic")
    arrow(axes, (1.2, 0.35), (1.2, 0.9))
    gates = {2.1: "forget", 4.1: "input", 6.2: "candidate", 8.3: "output"}
    for x, name in gates.items():
        arrow(axes, (x, 0.9), (x, 1.6))
        kind = says[name] or ("\ntanh" if name == "candidate" else "\nσ")
        width = 2.1 if name == "candidate" else 1.75
        box(axes, x, 2.15, name + kind, INK, width)
    arrow(axes, (2.1, 2.7), (2.1, 4.7))
    arrow(axes, (4.1, 2.7), (5.0, 3.5))
    arrow(axes, (6.2, 2.7), (5.4, 3.5))
    arrow(axes, (5.2, 4.0), (5.2, 4.7))
    arrow(axes, (8.3, 5.0), (8.3, 4.5))
    box(axes, 8.3, 4.2, "tanh", INK, width=1.15, height=0.55)
    arrow(axes, (8.3, 3.9), (8.3, 3.6))
    arrow(axes, (8.3, 2.7), (8.3, 3.05))
    arrow(axes, (8.6, 3.32), (9.5, 3.32))
    axes.text(9.6, 3.32, "hidden" + says["hidden"], ha="left", **ends)
    axes.text(3.6, 5.35, says["kept"].strip(), ha="center", color=colour)
    axes.text(5.4, 4.2, says["added"].strip(), ha="left")
    axes.text(8.1, 3.68, says["flattened"].strip(), ha="right", va="center")
    for x, y, sign in ((2.1, 5, "×"), (5.2, 3.7, "×"), (5.2, 5, "+"), (8.3, 3.32, "×")):
        node(axes, x, y, sign, colour)
    return figure


def texts_of(numbers):
    """A step's numbers, each on a line of its own, and what they make on the way."""
    if numbers is None:
        return defaultdict(str)
    found = {name: x for name, x in numbers.items() if name != "token"} | {
        "kept": numbers["forget"] * numbers["cell_before"],
        "added": numbers["input"] * numbers["candidate"],
        "flattened": math.tanh(numbers["cell"]),
    }
    return {name: f"\n{signed(x)}" for name, x in found.items()}


def signed(number):
    """With two decimals, and a minus sign as in print; no minus at 0."""
    return f"{round(number, 2) + 0:.2f}".replace("-", "−")


def lstm_chain(steps, title, alt):
    """An LSTM unrolled: a box for each step, between two lines that connect them.

    `steps` are the numbers of `lstm_cell`. Above travels the cell, below what is shown.
    """
    figure = canvas(title, alt, 3.4 * len(steps) + 1.6, 6.6, height=3.2)
    axes, colour = figure.axes, PALETTE["LSTM"]
    for place, numbers in enumerate(steps):
        x, says = 3.4 * place + 2.5, texts_of(numbers)
        gates = "forget", "input", "candidate", "output"
        lines = [f"{name[0]} {says[name].strip()}" for name in gates[:2]]
        lines += [f"g {says['candidate'].strip()}", f"o {says['output'].strip()}"]
        box(axes, x, 3.5, "\n".join(lines), INK, width=1.8, height=3.6)
        axes.text(x, 0.3, numbers["token"], ha="center", va="center", style="italic")
        arrow(axes, (x, 0.7), (x, 1.65))
        for y, name, ink in ((4.6, "cell", colour), (2.4, "hidden", INK)):
            arrow(axes, (x - 2.5, y), (x - 0.9, y), ink)
            axes.text(x - 1.7, y + 0.3, says[f"{name}_before"].strip(), ha="center")
            if place == len(steps) - 1:
                arrow(axes, (x + 0.9, y), (x + 2.5, y), ink)
                axes.text(x + 1.7, y + 0.3, says[name].strip(), ha="center")
    axes.text(0.8, 5.5, "cell", ha="center", color=colour)
    axes.text(0.8, 1.6, "hidden", ha="center")
    return figure


def canvas(title, alt, across, up, height):
    """A figure without axes, `across` units wide and `up` high, `height` in inches."""
    figure = Figure(title, alt, height=height, width=4.1)  # fits a phone
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
