"""The two faces of a model on a reader's text, and the state after its last letter.

The figure knows no model: it is given what a model says of a text, all letters at once
and one by one. In a page without a kernel, book/_static/live/faces.js runs the model,
which is fetched as soon as a reader types.
"""

import html
import math

import numpy as np

from rwkv_book.show import live
from rwkv_book.show.facts import TINT
from rwkv_book.show.palette import PALETTE
from rwkv_book.show.pictures import Picture

CELLS = 32  # averages that are shown of each layer
LIKELIEST = 3
ROWS = ["all at once", "one by one"]
LABEL = "The probability of each letter, in percent, found in both ways"
WORDS = (
    "Largest difference between the two rows: {most} percentage points. What comes "
    "next, most likely first, in percent: {next}"
)
NOTHING = "What comes first, most likely first, in percent: {next}"
STATE = (
    "The state after the last letter: {numbers} numbers, as after the first. Here are "
    "some of its averages, a row for each layer, from quick to forget to slow."
)
OTHER = ", ".join(str(int(PALETTE["other"][i : i + 2], 16)) for i in (1, 3, 5))
NAMES = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def found(text, at_once, one_by_one, state, decay_rate):
    """What is shown of a text of T bytes, as plain numbers, with the digits shown.

    `apart` is the largest difference between the two ways, in percentage points.

    at_once, one_by_one   logits (T+1,V): after the first token, 0, and after each byte
    state                 (L,5,C) after the last one, as `rwkv4.minimal` has it
    decay_rate            (L,C), by which the averages of each layer are ordered

    ValueError where the logits are not of T + 1 tokens.
    """
    tokens = list(text.encode())
    rows = [probabilities(logits) for logits in (at_once, one_by_one)]
    for row in rows:
        if len(row) != len(tokens) + 1:
            raise ValueError(f"need logits of {len(tokens) + 1} tokens, got {len(row)}")
    shares, at = [[], []], 0
    for letter in text:
        length = len(letter.encode())
        for row, share in zip(rows, shares, strict=True):
            read = range(at, at + length)
            share.append(math.prod(float(row[t][tokens[t]]) for t in read))
        at += length
    likeliest = np.argsort(-rows[1][-1], kind="stable")[:LIKELIEST]
    ends = [[float(row[-1][token]) for token in likeliest] for row in rows]
    pairs = zip(shares[0] + ends[0], shares[1] + ends[1], strict=True)
    return {
        "letters": list(text),
        "shares": [[round(share, 3) for share in row] for row in shares],
        "apart": round(100 * max(abs(one - other) for one, other in pairs), 3),
        "next": [
            [int(token), round(share, 3)]
            for token, share in zip(likeliest, ends[1], strict=True)
        ],
        "state": averages(state, decay_rate),
        "numbers": int(np.size(state)),
    }


def probabilities(logits):
    """Softmax over the last axis, in double precision."""
    weights = np.exp(np.float64(logits) - np.max(logits, axis=-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def averages(state, decay_rate):
    """num / den of some channels of each layer, from the quickest to forget on."""
    rows = []
    for (_, num, den, _, _), rates in zip(state, decay_rate, strict=True):
        order = np.argsort(-rates, kind="stable")
        chosen = order[[math.floor(n * len(order) / CELLS) for n in range(CELLS)]]
        rows.append([round(float(num[c] / den[c]), 1) for c in chosen])
    return rows


class Faces(Picture):
    """A table with a letter in each column, and a strip of the state for each layer."""

    def __init__(self, found):
        self.found = found
        super().__init__("", self.said())

    def said(self):
        """How far the rows are apart, and what the model expects next."""
        expected = "; ".join(
            f"“{byte(token)}” {percent(p)}" for token, p in self.found["next"]
        )
        words = WORDS if self.found["letters"] else NOTHING
        return words.format(most=f"{self.found['apart']:.3f}", next=expected)

    def html(self):
        """The sentence, the table and the strips, as the page's script has them."""
        head = "".join(
            f'<th scope="col">{name(letter)}</th>' for letter in self.found["letters"]
        )
        rows = "".join(
            f'<tr><th scope="row">{row}</th>{"".join(map(cell, shares))}</tr>'
            for row, shares in zip(ROWS, self.found["shares"], strict=True)
        )
        return (
            f"<p>{escaped(self.alt)}</p>"
            f'<div class="live-faces" role="region" aria-label="{LABEL}" '
            'aria-live="off" tabindex="0">'
            f'<table class="table"><thead><tr><td></td>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{self.strips()}"
        )

    def strips(self):
        """The state as SVG, and what it is."""
        said = STATE.format(numbers=f"{self.found['numbers']:,}")
        rects = "".join(
            f'<rect x="{10 * n}" y="{12 * layer}" width="9" height="10" '
            f'fill="rgb({OTHER if value < 0 else TINT})" '
            f'fill-opacity="{rounded(min(1, abs(value) / 2))}"/>'
            for layer, row in enumerate(self.found["state"])
            for n, value in enumerate(row)
        )
        return (
            f'<svg role="img" aria-label="{said}" viewBox="0 0 {10 * CELLS} '
            f'{12 * len(self.found["state"])}" '
            'style="display: block; width: 100%; max-width: 32rem">'
            f'{rects}</svg><p class="live-note" aria-hidden="true">{said}</p>'
        )


def cell(share):
    """A probability, on the more ink the larger it is."""
    style = f"background: rgba({TINT}, {rounded(0.6 * share)})"
    return f'<td style="{style}">{percent(share)}</td>'


def rounded(number):
    """With two decimals at most, rounded as JavaScript does."""
    return f"{math.floor(100 * number + 0.5) / 100:.10g}"


def percent(share):
    return f"{math.floor(1000 * share + 0.5) / 10:.1f}"


def name(letter):
    return escaped(NAMES.get(letter, letter))


def escaped(text):
    """As JavaScript's `escape` in faces.js: an apostrophe stays."""
    return html.escape(text, quote=False).replace('"', "&quot;")


def byte(token):
    """A byte as something that can be seen."""
    letter = chr(token)
    return NAMES.get(letter, letter if 32 < token < 127 else f"#{token}")


def figure(read, text, file):
    """A live figure that begins with `text`.

    read  a text to what `found` gives for it
    file  the name of the model's file, which the page fetches when a reader types
    """
    start = read(text)
    return live.Figure(
        "faces",
        "Both faces of the model on your text",
        [live.text("text", "Type something else", text, longest=32)],
        lambda text: Faces(read(text)),
        {
            "text": text,
            "start": start,
            "file": file,
            "rows": ROWS,
            "label": LABEL,
            "words": WORDS,
            "nothing": NOTHING,
            "state": STATE,
            "likeliest": LIKELIEST,
            "tint": TINT,
            "other": OTHER,
        },
    )
