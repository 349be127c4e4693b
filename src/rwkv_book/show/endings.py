"""A reader's text, and what an automaton that knows every ending of it says at each
letter."""

import html

from rwkv_book.show import live
from rwkv_book.show.facts import TINT
from rwkv_book.show.pictures import Picture

ON = 24  # letters that it writes on
NOTHING = "Type something that repeats itself."
WORDS = "It foretold {right} of {count} letters, and would go on: “{on}”"


def said_after(text):
    """What followed the longest ending of a text when it was last there, and how long
    that ending is: (letter, length), or ("", 0)."""
    for length in range(len(text) - 1, 0, -1):
        at = text.rfind(text[-length:], 0, len(text) - 1)
        if at >= 0:
            return text[at + length], length
    return "", 0


def foretold(text):
    """For each letter whether the text before it says it, and from an ending of which
    length: 0 where it is wrong or silent."""
    found = []
    for place, letter in enumerate(text):
        said, length = said_after(text[:place])
        found.append(length if said == letter else 0)
    return found


def goes_on(text):
    """What it writes after a text, letter by letter."""
    written = ""
    while len(written) < ON:
        said, _ = said_after(text + written)
        if not said:
            break
        written += said
    return written


class Endings(Picture):
    """Letters on a ground that is tinted where they were foretold, by long endings
    more."""

    def __init__(self, text):
        self.text, self.lengths = text, foretold(text)
        self.said = NOTHING
        if text:
            right = sum(length > 0 for length in self.lengths)
            on = shown(goes_on(text))
            self.said = WORDS.format(count=len(text), right=right, on=on)
        super().__init__("", self.said)

    def html(self):
        """Spans with a tinted background, and a line in words."""
        pairs = zip(self.text, self.lengths, strict=True)
        spans = "".join(tinted(letter, length) for letter, length in pairs)
        said = html.escape(self.said)
        return (
            f'<div role="img" aria-label="{said}"><p class="live-words" '
            f'aria-hidden="true">{spans}</p></div><p>{said}</p>'
        )


def tinted(letter, length):
    """A letter, on the more ink the longer the ending was: at 8 there is no more."""
    text = html.escape(shown(letter)).replace(" ", "&nbsp;<wbr>")
    strength = min(8, length) * 9
    return f'<span style="background: rgba({TINT}, {strength / 100:g})">{text}</span>'


def shown(text):
    return text.replace("\n", "⏎")


FIGURE = live.Figure(
    "endings",
    "An automaton that reads your text",
    [
        live.text(
            "text",
            "A text",
            "The cup is red. The ball is blue. The cup is green. The cup is",
            longest=120,
        )
    ],
    Endings,
    {"nothing": NOTHING, "words": WORDS, "most": ON, "tint": TINT},
)


def show():
    """Display the text, to be changed."""
    FIGURE.show()
