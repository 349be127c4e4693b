"""One cell over a reader's sentence, and its gates to set."""

import html
import math
import re

from rwkv_book.show import live
from rwkv_book.show.chain import written
from rwkv_book.show.palette import PALETTE
from rwkv_book.show.pictures import Table

WORD = re.compile(r"[^\s.,;:!?]+")
MOST = 12  # words of a sentence
VERDICT, CHATTER = 0.8, 0.3  # candidates, of the words that count and of all others
FULL = 3.2  # a cell whose bar takes all of its column
HEADER = ["word", "input · candidate", "cell", "hidden"]
WORDS = {
    "nothing": "Type some words.",
    "end": "At the end the cell holds {cell}: {verdict} of the verdict, {chatter} of "
    "chatter. Shown of it: {hidden}.",
}


def steps_of(sentence, verdicts, write, keep, forget, chatter, output):
    """For each word: (word, input gate, candidate, cell, of it the verdict's, hidden).

    `write` and `keep` are the input and the forget gate of words that `verdicts` names,
    `chatter` and `forget` those of all others; `output` is every word's.
    """
    named = WORD.findall(verdicts.lower())
    steps, cell, verdict = [], 0.0, 0.0
    for word in WORD.findall(sentence)[:MOST]:
        counts = word.lower() in named
        kept = keep if counts else forget
        added, candidate = (write, VERDICT) if counts else (chatter, CHATTER)
        cell = kept * cell + added * candidate
        verdict = kept * verdict + (added * VERDICT if counts else 0)
        steps.append((word, added, candidate, cell, verdict, output * math.tanh(cell)))
    return steps


class Gates(Table):
    """The cell after each word, and what is shown of it, as bars in a table."""

    def __init__(self, sentence, verdicts, **gates):
        self.steps = steps_of(sentence, verdicts, **gates)
        said = WORDS["nothing"]
        if self.steps:
            *_, cell, verdict, hidden = self.steps[-1]
            said = WORDS["end"].format(
                cell=written(cell),
                verdict=written(verdict),
                chatter=written(cell - verdict),
                hidden=written(hidden),
            )
        rows = [
            f'<th scope="row">{html.escape(word)}</th>'
            f"<td>{written(write)} · {written(candidate)}</td>"
            f"{bar(cell)}{bar(hidden)}"
            for word, write, candidate, cell, _, hidden in self.steps
        ]
        super().__init__(said, HEADER, rows)


def bar(number):
    """A number over a bar of its length."""
    wide = written(min(100, 100 * number / FULL))
    return (
        f'<td style="width: 30%">{written(number)}<span style="display: block; '
        f'height: 0.4rem; width: {wide}%; background: {PALETTE["LSTM"]}"></span></td>'
    )


def gate(name, label, start):
    """A slider from 0, shut, to 1, open, in steps of 0.05."""
    values = [step / 20 for step in range(21)]
    options = [(f"{value:g}", value) for value in values]
    return live.slider(name, label, options, values.index(start))


FIGURE = live.Figure(
    "gates",
    "A cell over a sentence, and its gates",
    [
        live.text("sentence", "Sentence", "a wonderful film in the end and so on"),
        live.text("verdicts", "Words with gates of their own", "wonderful"),
        gate("write", "Their input gate", 1),
        gate("keep", "Their forget gate", 0.95),
        gate("chatter", "Input gate, other words", 0.1),
        gate("forget", "Forget gate, other words", 0.95),
        gate("output", "Output gate, all words", 1),
    ],
    Gates,
    {
        "most": MOST,
        "verdict": VERDICT,
        "rest": CHATTER,
        "full": FULL,
        "header": HEADER,
        "words": WORDS,
        "colour": PALETTE["LSTM"],
    },
)


def show():
    """Display the cell, with its gates to set."""
    FIGURE.show()
