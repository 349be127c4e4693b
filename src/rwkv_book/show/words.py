"""A text whose tokens are tinted by their weight."""

import html

from rwkv_book.show.palette import ACCENT
from rwkv_book.show.pictures import Picture


class Words(Picture):
    """A text in which each token is tinted by its weight, from 0 to 1.

    A line `note` is written below. ValueError when there are not as many weights as
    tokens.
    """

    def __init__(self, tokens, weights, alt, note=""):
        if len(tokens) != len(weights):
            raise ValueError(f"{len(tokens)} tokens and {len(weights)} weights")
        super().__init__(note, alt)
        self.tokens, self.weights = list(tokens), [float(w) for w in weights]

    def html(self):
        """Spans with a tinted background."""
        pairs = zip(self.tokens, self.weights, strict=True)
        text = "".join(tinted(token, weight) for token, weight in pairs)
        return (
            f'<div role="img" aria-label="{html.escape(self.alt)}">'
            '<div aria-hidden="true" style="font: 1.05rem/2 monospace">'
            f'{text}</div><div aria-hidden="true">{html.escape(self.title)}</div></div>'
        )


def tinted(token, weight):
    """One token of `Words`; spaces are kept, and lines may break after them."""
    red, green, blue = (int(ACCENT[i : i + 2], 16) for i in (1, 3, 5))
    style = (
        f"background: rgba({red}, {green}, {blue}, {0.75 * weight:.2f}); "
        "border-radius: 2px; padding: 0.25em 0.05em"
    )
    text = html.escape(token.replace("\n", "⏎")).replace(" ", "&nbsp;<wbr>")
    return f'<span style="{style}">{text}</span>'
