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


def steps_of(sentence, verdicts, forget, chatter, output):
    """For each word: (word, input gate, candidate, cell, of it the verdict's, hidden).

    `forget` and `output` are gates of all words; the input gate is 1 for words that
    `verdicts` names and `chatter` for all others.
    """
    named = WORD.findall(verdicts.lower())
    steps, cell, verdict = [], 0.0, 0.0
    for word in WORD.findall(sentence)[:MOST]:
        counts = word.lower() in named
        write, candidate = (1, VERDICT) if counts else (chatter, CHATTER)
        cell = forget * cell + write * candidate
        verdict = forget * verdict + (VERDICT if counts else 0)
        steps.append((word, write, candidate, cell, verdict, output * math.tanh(cell)))
    return steps


class Gates(Table):
    """The cell after each word, and what is shown of it, as bars in a table."""

    def __init__(self, sentence, verdicts, forget, chatter, output):
        self.steps = steps_of(sentence, verdicts, forget, chatter, output)
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


def gate(name, label, values, start):
    return live.slider(name, label, [(f"{value:g}", value) for value in values], start)


FIGURE = live.Figure(
    "gates",
    "A cell over a sentence, and its gates",
    [
        live.text("sentence", "Sentence", "a wonderful film in the end and so on"),
        live.text("verdicts", "Words with input gate 1", "wonderful"),
        gate("forget", "Forget gate, all words", (0, 0.5, 0.9, 1), 3),
        gate("chatter", "Input gate, chatter", (0, 0.1, 0.5, 1), 3),
        gate("output", "Output gate, all words", (0, 0.5, 1), 2),
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
