"""A layer of RWKV-4 as boxes, from top to bottom, with the numbers of one letter."""

from rwkv_book.show.palette import ACCENT, INK
from rwkv_book.show.pictures import Figure
from rwkv_book.show.recurrent import arrow, box, signed

# Each box: its column, its row, and what is written over its numbers.
BOXES = {
    "stream": (0, 0, "stream"),
    "norm_time": (1, 1, "norm"),
    "x_time": (3, 1, "x_time"),
    "receptance": (1, 2.3, "receptance r"),
    "key": (2, 2.3, "key"),
    "value": (3, 2.3, "value"),
    "average": (2, 3.5, "average"),
    "past": (3, 3.5, "num / den"),
    "gated": (1, 4.5, "r · average"),
    "after_time": (0, 5.4, "stream"),
    "norm_channel": (1, 6.4, "norm"),
    "x_channel": (3, 6.4, "x_channel"),
    "channel_receptance": (1, 7.7, "receptance r"),
    "hidden": (2, 7.7, "hidden"),
    "out": (1, 8.9, "r · W hidden"),
    "after_channel": (0, 9.8, "stream"),
}
STATE = "x_time", "x_channel", "past"
WIDE, HIGH = 2.4, 0.72  # of a box; a column is 2.6 wide and a row is 1 high
ACROSS = 2.6


def layer(vectors, title, alt, above, below, channels=(0, 1)):
    """A layer's boxes, with two channels of each vector in them.

    `vectors` (C,) by name, as `labs.tracing.through` finds them; `above` and `below`
    say what comes before the layer and after it. The alt text ends with all numbers.
    """
    boxes = {
        name: (label, [signed(float(vectors[name][n])) for n in channels])
        for name, (_, _, label) in BOXES.items()
    }
    read = "; ".join(f"{label}: {', '.join(said)}" for label, said in boxes.values())
    figure = Figure(title, f"{alt} {read}.", height=7.8, width=4.4)
    axes = figure.axes
    axes.set(xlim=(-1.3, 3 * ACROSS + 1.3), ylim=(10.75, -0.95))
    axes.axis("off")
    for start, end in arrows():
        arrow(axes, start, end)
    for name, (column, row, _) in BOXES.items():
        label, numbers = boxes[name]
        colour = ACCENT if name in STATE else INK
        text = f"{label}\n{'  '.join(numbers)}"
        box(axes, ACROSS * column, row, text, colour, WIDE, HIGH)
    axes.text(-1.2, -0.75, above, va="center")
    axes.text(-1.2, 10.55, below, va="center")
    figure.numbers = {name: vectors[name][list(channels)] for name in BOXES}
    return figure


def arrows():
    """[(start, end)] from box to box, as the numbers flow."""

    def at(name, side):
        column, row, _ = BOXES[name]
        x = ACROSS * column
        ends = {"top": (x, row - HIGH / 2), "bottom": (x, row + HIGH / 2)}
        ends |= {"left": (x - WIDE / 2, row), "right": (x + WIDE / 2, row)}
        return ends[side]

    def falls(*pairs):
        return [(at(one, "bottom"), at(other, "top")) for one, other in pairs]

    lines = falls(
        ("stream", "after_time"), ("after_time", "after_channel"),
        ("norm_time", "receptance"), ("norm_time", "key"), ("norm_time", "value"),
        ("x_time", "receptance"), ("x_time", "key"), ("x_time", "value"),
        ("key", "average"), ("value", "average"), ("receptance", "gated"),
        ("norm_channel", "channel_receptance"), ("norm_channel", "hidden"),
        ("x_channel", "channel_receptance"), ("x_channel", "hidden"),
        ("channel_receptance", "out"), ("hidden", "out"), ("average", "gated"),
    )  # fmt: skip
    lines.append((at("past", "left"), at("average", "right")))
    for start, end in (("stream", "norm_time"), ("after_time", "norm_channel")):
        lines.append((at(start, "bottom"), at(end, "left")))
    for start, end in (("gated", "after_time"), ("out", "after_channel")):
        lines.append((at(start, "bottom"), at(end, "right")))
    return lines
