"""A table that fills while a reader's sentence is read, and that each letter asks."""

from itertools import pairwise

import numpy as np

from rwkv_book.show import live
from rwkv_book.show.chain import written
from rwkv_book.show.faces import NAMES, escaped
from rwkv_book.show.facts import TINT
from rwkv_book.show.palette import ACCENT
from rwkv_book.show.pictures import Picture

MOST, COLUMNS = 60, 32  # letters of a line, and different ones among them
WIDE, LEFT, TOP = 320, 34, 32  # of the drawing; where its table begins
CELL, ROOM = 24, 20  # the largest cell, and the smallest that has room for its number
FULL = 2  # a number with all of the ink
HEADER = ["came next", "written", "comes out"]
WORDS = {
    "nothing": "Type a sentence.",
    "none": "No letter has been read: all numbers of the table are 0.",
    "new": "“{now}” asks what came after it. Nothing has been written under it.",
    "asks": "“{now}” asks what came after it. Written under it: {count}. "
    "Left of that: {sum}. It hears: {heard}.",
    "first": "It is the first letter and follows none, so nothing is written.",
    "writes": "Then the table keeps {share}% of itself, and “{now}” is written under "
    "“{before}”.",
    "long": "Only the first {read} letters are read: a line may have {most}, and the "
    "table has columns for {columns} different ones.",
    "frames": "In frames: the column that was asked, and the number that was changed "
    "last.",
    "empty": "The table is empty.",
    "alt": "The table, key by key: {columns}.",
    "under": "under “{key}”: {all}",
    "key": "key: the previous letter",
    "value": "value: this letter",
}


def letters_of(sentence):
    """The beginning of a sentence that is read: so long, and with so many columns."""
    letters = []
    for letter in sentence[:MOST]:
        if letter not in letters and len(set(letters)) == COLUMNS:
            break
        letters.append(letter)
    return letters


def filled(letters, count, keep):
    """The table (N,N), values by keys, after `count` letters, and the last's answer
    (N,).

    Each letter has a key and a value of its own, at right angles to all others, in the
    order in which the letters come. A letter asks for itself, with a bonus of 1; the
    table keeps the share `keep`; the letter is written under the previous one.
    """
    names = list(dict.fromkeys(letters))
    places = [names.index(letter) for letter in letters[:count]]
    table, answer = np.zeros((len(names), len(names))), np.zeros(len(names))
    for before, now in pairwise([None, *places]):
        answer = table[:, now].copy()
        table *= keep
        if before is not None:
            answer[now] += before == now
            table[now, before] += 1
    return table, answer


class Filling(Picture):
    """The table after some letters of a sentence, and what it says to the last one."""

    def __init__(self, sentence, read, keep):
        self.letters = letters_of(sentence)
        self.count, self.keep = min(read, len(self.letters)), keep
        self.table, answer = filled(self.letters, self.count, keep)
        _, stored = filled(self.letters, self.count, 1)
        columns = list(dict.fromkeys(self.letters))
        self.names = [name(letter) for letter in columns]
        self.places = [columns.index(each) for each in self.letters[: self.count]]
        self.heard = [
            (self.names[n], float(stored[n]), float(answer[n]))
            for n in sorted(np.flatnonzero(stored), key=lambda n: -answer[n])
        ]
        self.note = ""
        if len(self.letters) < len(sentence):
            limits = {"read": len(self.letters), "most": MOST, "columns": COLUMNS}
            self.note = WORDS["long"].format(**limits)
        super().__init__(self.asked(), self.all_numbers())

    def asked(self):
        """What the newest letter asks and hears, in words."""
        if not self.places:
            return WORDS["none" if self.letters else "nothing"]
        now = self.names[self.places[-1]]
        if not self.heard:
            return WORDS["new"].format(now=now)
        return WORDS["asks"].format(
            now=now,
            count=written(sum(stored for _, stored, _ in self.heard)),
            sum=written(sum(out for _, _, out in self.heard)),
            heard=", ".join(f"{value} {written(out)}" for value, _, out in self.heard),
        )

    def writes(self):
        """What the newest letter does to the table, in words."""
        if self.count == 1:
            return WORDS["first"]
        before, now = (self.names[place] for place in self.places[-2:])
        share = written(100 * self.keep)
        return WORDS["writes"].format(share=share, now=now, before=before)

    def all_numbers(self):
        """The table in words: what stands under each key."""
        columns = []
        for key, column in zip(self.names, self.table.T.tolist(), strict=True):
            pairs = zip(self.names, column, strict=True)
            under = [f"{value} {written(number)}" for value, number in pairs if number]
            if under:
                columns.append(WORDS["under"].format(key=key, all=", ".join(under)))
        if not columns:
            return WORDS["empty"]
        return WORDS["alt"].format(columns="; ".join(columns))

    def html(self):
        """The words, the sentence, and the table beside what comes out of it."""
        said = f"<p><strong>{escaped(self.title)}</strong></p>"
        if not self.letters:
            return said
        note = f'<p class="live-note">{self.note}</p>' if self.note else ""
        writes = f"<p>{escaped(self.writes())}</p>" if self.count else ""
        return (
            f'{said}{writes}{note}<p class="live-words" aria-hidden="true">'
            f"{self.sentence()}</p>"
            '<div style="display: flex; flex-wrap: wrap; gap: 0.75rem 2rem; '
            'margin-top: 0.75rem">'
            f'<div style="flex: 2 1 17rem; min-width: 0">{self.drawing()}</div>'
            f'<div style="flex: 1 1 12rem">{self.answer()}</div></div>'
        )

    def sentence(self):
        """The letters, on the more ink the more is left of what they wrote."""
        spans, left = [], 1.0
        for n in reversed(range(len(self.letters))):
            style = ""
            if n < self.count:
                style = f"background: rgba({TINT}, {written(0.5 * left)});"
                left *= self.keep
            if n == self.count - 1:
                style += " outline: solid 2px"
            shown = escaped(self.letters[n]).replace(" ", "&nbsp;<wbr>")
            spans.append(f'<span style="{style}">{shown}</span>')
        return "".join(reversed(spans))

    def drawing(self):
        """The table as an SVG: the asked column and the newest number have frames."""
        count = len(self.names)
        cell = min(CELL, (WIDE - LEFT - 2) / count)
        side, size = cell * count, written(min(11, cell))
        drawn = [
            f'<text x="{LEFT}" y="10" style="text-anchor: start">{WORDS["key"]}</text>'
            f'<text transform="translate(10 {TOP}) rotate(-90)" '
            f'style="text-anchor: end">{WORDS["value"]}</text>'
        ]
        for n, letter in enumerate(map(escaped, self.names)):
            drawn.append(text(LEFT + (n + 0.5) * cell, TOP - 5, letter))
            drawn.append(text(LEFT - 9, TOP + (n + 0.5) * cell + 4, letter))
        for (row, column), number in np.ndenumerate(self.table):
            if number:
                ink = f"{TINT}, {written(0.6 * min(1, number / FULL))}"
                x, y = LEFT + column * cell, TOP + row * cell
                drawn.append(box(x, y, cell, cell, f'fill="rgba({ink})"'))
                if cell >= ROOM:
                    x, y = x + cell / 2, y + cell / 2 + 4
                    drawn.append(text(x, y, written(number), "font-size: 10px"))
        line = 'fill="none" stroke="currentColor"'
        drawn.append(box(LEFT, TOP, side, side, f'{line} stroke-opacity="0.4"'))
        for now in self.places[-1:]:
            asked = f'fill="none" stroke="{ACCENT}" stroke-width="2"'
            drawn.append(box(LEFT + now * cell, TOP, cell, side, asked))
        for before, now in pairwise(self.places[-2:]):
            x, y = LEFT + before * cell, TOP + now * cell
            drawn.append(box(x, y, cell, cell, f'{line} stroke-width="2"'))
        frames = f'<p class="live-note">{WORDS["frames"]}</p>' if self.count > 1 else ""
        return (
            f'<svg role="img" aria-label="{escaped(self.alt)}" '
            f'viewBox="0 0 {WIDE} {written(TOP + side + 2)}" style="display: block; '
            "width: 100%; max-width: min(26rem, 100%); fill: currentColor; "
            f'font-size: {size}px; text-anchor: middle">{"".join(drawn)}</svg>{frames}'
        )

    def answer(self):
        """What was written under the asked key, framed, and what comes out, filled."""
        if not self.heard:
            return ""
        most = max(stored for _, stored, _ in self.heard)
        head = "".join(f'<th scope="col">{each}</th>' for each in HEADER)
        rows = "".join(
            f'<tr><th scope="row">{escaped(value)}</th><td>{written(stored)}</td>'
            f'<td style="width: 60%">{written(out)}{bar(stored / most, out / stored)}'
            "</td></tr>"
            for value, stored, out in self.heard
        )
        return (
            '<table class="table" style="width: 100%"><thead><tr>'
            f"{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def name(letter):
    return NAMES.get(letter, letter)


def text(x, y, said, style=""):
    style = f' style="{style}"' if style else ""
    return f'<text x="{written(x)}" y="{written(y)}"{style}>{said}</text>'


def box(x, y, wide, high, drawn):
    """A rectangle; `drawn` are its attributes for that."""
    return (
        f'<rect x="{written(x)}" y="{written(y)}" width="{written(wide)}" '
        f'height="{written(high)}" {drawn}/>'
    )


def bar(wide, full):
    """A frame over a share of its column, and filled to a share of itself."""
    return (
        f'<span style="display: block; height: 0.5rem; width: {written(100 * wide)}%; '
        f'border: 1px solid {ACCENT}"><span style="display: block; height: 100%; '
        f'width: {written(100 * full)}%; background: {ACCENT}"></span></span>'
    )


HALF_LIVES = [(f"{n}", 0.5 ** (1 / n)) for n in (1, 3, 10, 30)]
SENTENCE = "she sells sea shells by the sea shore"
FIGURE = live.Figure(
    "filling",
    "A table that your sentence fills",
    [
        live.text("sentence", "A sentence", SENTENCE, longest=200),
        live.along("read", "Letters read", "sentence", 11, MOST),
        live.slider(
            "keep", "Half-life in letters", [*HALF_LIVES, ("it never fades", 1)], 4
        ),
    ],
    Filling,
    {
        "most": MOST,
        "columns": COLUMNS,
        "sizes": [WIDE, LEFT, TOP, CELL, ROOM, FULL],
        "header": HEADER,
        "names": NAMES,
        "words": WORDS,
        "tint": TINT,
        "accent": ACCENT,
    },
)


def show():
    """Display the table, to be filled by another sentence."""
    FIGURE.show()
