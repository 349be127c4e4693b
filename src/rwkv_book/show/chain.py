"""One sitting's averages, found in two ways, for the numbers that a reader types."""

import math
import re

from rwkv_book.show import live
from rwkv_book.show.pictures import Picture

NUMBER = re.compile(r"-?\d{1,3}(?:\.\d)?")
MOST = 8
HEADER = ["value", "all pairs", "two sums, and the new value twice"]
NOTHING = "Type some numbers."


def rows_of(numbers):
    """A row of texts for each number: itself, and its average found in either way.

    The past is halved at every step, and the newest number counts double.
    """
    values = [float(number) for number in NUMBER.findall(numbers)][:MOST]
    rows, num, den = [], 0.0, 0.0
    for t, value in enumerate(values):
        weights = [0.5 ** (t - 1 - i) for i in range(t)] + [2.0]
        products = [w * v for w, v in zip(weights, values[: t + 1], strict=True)]
        pairs, weight = sum(products), sum(weights)
        chain = (num + 2 * value) / (den + 2)
        rows.append(
            [
                written(value),
                f"{written(pairs)} / {written(weight)} = {written(pairs / weight)}",
                f"({written(num)} + 2 · {written(value)}) / ({written(den)} + 2) "
                f"= {written(chain)}",
            ]
        )
        num, den = num / 2 + value, den / 2 + 1
    return rows


def written(number):
    """With two decimals at most, rounded as JavaScript does."""
    return f"{math.floor(100 * number + 0.5) / 100:.10g}".replace("-", "−")


class Chain(Picture):
    """The table of `rows_of`."""

    def __init__(self, numbers):
        self.rows = rows_of(numbers)
        lines = [" | ".join(row) for row in [HEADER, *self.rows]]
        super().__init__("", "\n".join(lines) if self.rows else NOTHING)

    def html(self):
        """A table, or a line where there is no number."""
        if not self.rows:
            return f"<p>{NOTHING}</p>"
        head = "".join(f"<th>{name}</th>" for name in HEADER)
        body = "".join(
            f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>"
            for row in self.rows
        )
        return (
            f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
            "</table>"
        )


FIGURE = live.Figure(
    "chain",
    "A chain of averages",
    [live.text("numbers", "Your values, up to eight", "4, 8, 2, 10, 6", longest=40)],
    Chain,
    {"header": HEADER, "nothing": NOTHING, "most": MOST},
)


def show():
    """Display the chain, to be edited."""
    FIGURE.show()
