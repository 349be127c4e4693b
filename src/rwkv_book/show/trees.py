"""A tree of brackets: what is merged with what, from the leaves at the bottom up."""

from dataclasses import dataclass, field
from itertools import count

from rwkv_book.show.palette import ACCENT, INK
from rwkv_book.show.pictures import Figure

ROW = 0.72  # inches that a box and its line take
ABOVE_OLDER = 0.45  # of a row: the box of an older part stands in another column
HALF_HIGH, HALF_WIDE = 0.4, 0.29  # of a box, in rows and columns


@dataclass
class Node:
    """A box with some short lines of text, over the parts that it was made of."""

    lines: list
    parts: list = field(default_factory=list)


def tree(root, title, alt, key=(), width=5.4):
    """Draw a node and all below it: every box stands over the last of its leaves.

    `key` says, left of the leaves, what the lines of a box are.
    """
    boxes = placed(root)
    top = max(height for _, height, _ in boxes.values())
    figure = Figure(title, alt, height=0.75 + ROW * (top + 1), width=width)
    axes = figure.axes
    axes.set_axis_off()
    leaves = max(column for column, _, _ in boxes.values()) + 1
    axes.set(xlim=(-1.1, leaves - 0.45), ylim=(-0.55, top + 0.55))
    for column, height, node in boxes.values():
        for part in node.parts:
            x, y, _ = boxes[id(part)]
            below = x == column
            xs = x, column if below else column - HALF_WIDE
            ys = y + HALF_HIGH, height - HALF_HIGH if below else height
            axes.plot(xs, ys, color=ACCENT, linewidth=1.2, alpha=0.6)
    for column, height, node in boxes.values():
        write(axes, column, height, node.lines, framed=True)
    write(axes, -0.75, 0, key, framed=False)
    figure.numbers = {
        (column, height): node.lines for column, height, node in boxes.values()
    }
    return figure


def placed(root):
    """{id: (column, height, node)} of a node and all below it."""
    boxes, columns = {}, count()

    def place(node):
        column, height = next(columns) if not node.parts else 0, 0
        for part in node.parts[:-1]:
            height = max(height, place(part)[1] + ABOVE_OLDER)
        if node.parts:
            column, last = place(node.parts[-1])
            height = max(height, last + 1)
        boxes[id(node)] = column, height, node
        return column, height

    place(root)
    return boxes


def write(axes, x, y, lines, framed):
    """Some lines of text, one below the other."""
    box = {"boxstyle": "round,pad=0.25", "facecolor": "none", "edgecolor": ACCENT}
    axes.text(
        x, y, "\n".join(lines), ha="center", va="center", fontsize=9.5, color=INK,
        linespacing=1.05, bbox=box if framed else None,
    )  # fmt: skip
