"""A reader's facts in a table that fades, and that each new fact corrects."""

import html
import re

import numpy as np

from rwkv_book.show import live
from rwkv_book.show.chain import written
from rwkv_book.show.palette import ACCENT
from rwkv_book.show.pictures import Picture

WORD = re.compile(r"[a-zà-ÿ0-9]+")
SMALL = ["the", "a", "an", "is", "are"]
MOST = 10
NOTHING = "Type some facts, such as: the cup is red."
CORNER = "value"
TINT = ", ".join(str(int(ACCENT[i : i + 2], 16)) for i in (1, 3, 5))


def pairs_of(text):
    """The first and the last word of each sentence that has two, small ones apart."""
    sentences = (WORD.findall(part) for part in re.split("[.,;]", text.lower()))
    sentences = ([w for w in words if w not in SMALL] for words in sentences)
    return [(words[0], words[-1]) for words in sentences if len(words) > 1][:MOST]


def table_of(text, keep, rate):
    """Things, values, and the table (values, things) after all facts of a text.

    Every thing is a key of its own, at right angles to the others. A fact looks up what
    stands under its thing, lets the table keep the share `keep`, takes out `rate` of
    what it found, and writes its value.
    """
    pairs = pairs_of(text)
    things, values = (list(dict.fromkeys(words)) for words in zip(*pairs, strict=True))
    table = np.zeros((len(values), len(things)))
    for thing, value in pairs:
        column = things.index(thing)
        found = table[:, column].copy()
        table *= keep
        table[:, column] -= rate * found
        table[values.index(value), column] += 1
    return things, values, table


class Facts(Picture):
    """The table of `table_of`, a row for each value and a column for each thing."""

    def __init__(self, facts, keep, rate):
        self.things, self.values, self.table = [], [], np.zeros((0, 0))
        if pairs_of(facts):
            self.things, self.values, self.table = table_of(facts, keep, rate)
        rows = [
            f"{value}: {', '.join(map(written, row))}"
            for value, row in zip(self.values, self.table.tolist(), strict=True)
        ]
        named = [f"{CORNER}: {', '.join(self.things)}", *rows]
        super().__init__("", "\n".join(named) if rows else NOTHING)

    def html(self):
        """A table with tinted numbers, or a line where there is no fact."""
        if not self.values:
            return f"<p>{NOTHING}</p>"
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.header())
        body = "".join(
            f"<tr><td>{html.escape(value)}</td>{''.join(map(cell, row))}</tr>"
            for value, row in zip(self.values, self.table.tolist(), strict=True)
        )
        return (
            f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
            "</table>"
        )

    def header(self):
        return [CORNER, *self.things]


def cell(number):
    """A number, on the more ink the larger it is."""
    strength = written(0.6 * min(1, abs(number)))
    style = f"padding-left: 0.5rem; background: rgba({TINT}, {strength})"
    return f'<td style="{style}">{written(number)}</td>'


FIGURE = live.Figure(
    "facts",
    "Facts of your own in one table",
    [
        live.text(
            "facts",
            "What the table is told",
            "The cup is red. The ball is blue. The cup is green",
            longest=120,
        ),
        live.slider(
            "keep", "The table keeps", [(f"{n:g}", n) for n in (0.5, 0.7, 0.9, 1)], 3
        ),
        live.slider(
            "rate",
            "In-context rate",
            [(f"{n:g}", n) for n in (0, 0.25, 0.5, 0.75, 1)],
            4,
        ),
    ],
    Facts,
    {"small": SMALL, "most": MOST, "nothing": NOTHING, "corner": CORNER, "tint": TINT},
)


def show():
    """Display the table, to be told other facts."""
    FIGURE.show()
