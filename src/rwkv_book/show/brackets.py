"""Eight tokens merged in any order of brackets: a tree that readers write."""

import html
import math
from itertools import count

from rwkv_book.show import live
from rwkv_book.show.chain import written
from rwkv_book.show.palette import ACCENT
from rwkv_book.show.pictures import Picture

TOKENS, VALUES = "abcdefgh", [4, 8, 2, 6, 1, 7, 3, 5]
LOUD = 2  # the token whose key can be moved
ORDERS = [
    ("recurrent", "(((((((a b) c) d) e) f) g) h)"),
    ("scan", "(((a b) (c d)) ((e f) (g h)))"),
    ("chunks of 4", "((a b c d) (e f g h))"),
    ("all at once", "(a b c d e f g h)"),
    ("your own", ""),
]
OWN = "((a (b c)) ((d e) ((f g) h)))"
# A column, a row, half a box; how many rows a box stands above its older parts.
WIDE, HIGH, HALF_WIDE, HALF_HIGH, ABOVE_OLDER = 42, 76, 19.5, 30, 0.45
LINE = 13  # from a line of text to the next
WORDS = {
    "wrong": "Write the letters a to h, each once and in this order, with brackets.",
    "end": "num {num}, den {den}, log_scale {log_scale}: average {average}",
    "key": "In a box, from the top: num, den, log_scale, length. Token by token, from "
    "left to right, the average is {straight}.",
    "alt": "A tree over the tokens a to h, with num, den, log_scale and length of "
    "each stretch that was merged. {stretches}.",
}


def parsed(text):
    """Brackets as nested lists of letters: "(a b) c" is [["a", "b"], "c"].

    ValueError, which says what to write, unless a to h stand there once and in order.
    """
    groups, seen = [[]], ""
    for sign in text.replace(" ", "").replace(",", ""):
        if sign == "(":
            groups.append([])
        elif sign == ")" and len(groups) > 1 and groups[-1]:
            group = groups.pop()
            groups[-1].append(group if len(group) > 1 else group[0])
        else:
            groups[-1].append(sign)
            seen += sign
    if seen != TOKENS or len(groups) > 1:
        raise ValueError(WORDS["wrong"])
    return groups[0] if len(groups[0]) > 1 else groups[0][0]


def tree(order, key):
    """The boxes of an order, parts before the whole; c has a key of its own.

    A box has its stretch of letters, the sums over it (num, den, log_scale), a place
    (column, height) and its parts.
    """
    boxes, columns = [], count()

    def place(order):
        if isinstance(order, str):
            token = TOKENS.index(order)
            sums = (VALUES[token], 1, key if token == LOUD else 0)
            found = {"letters": order, "sums": sums, "parts": [], "height": 0}
            found["column"] = next(columns)
        else:
            found = together([place(part) for part in order])
        boxes.append(found)
        return found

    place(order)
    return boxes


def together(parts):
    """The box of some stretches, merged at once: it stands over the last of them."""
    letters = "".join(part["letters"] for part in parts)
    end, scales = 0, []
    for part in parts:
        end += len(part["letters"])
        scales.append(part["sums"][2] - (len(letters) - end) * math.log(2))
    top = max(scales)
    weights = [math.exp(scale - top) for scale in scales]
    num, den = (
        sum(
            weight * part["sums"][n]
            for weight, part in zip(weights, parts, strict=True)
        )
        for n in (0, 1)
    )
    heights = [part["height"] + ABOVE_OLDER for part in parts[:-1]]
    return {
        "letters": letters,
        "sums": (num, den, top),
        "parts": parts,
        "height": max(parts[-1]["height"] + 1, *heights),
        "column": parts[-1]["column"],
    }


def lines_of(box):
    """What stands in a box: num, den, log_scale, length."""
    return [*map(written, box["sums"]), written(len(box["letters"]))]


def average(box):
    num, den, _ = box["sums"]
    return f"{num / den:.4f}"


class Brackets(Picture):
    """The tree of an order, or what to write where there is none."""

    def __init__(self, order, own, key):
        try:
            boxes = tree(parsed(order or own), key)
        except ValueError as wrong:
            self.boxes = []
            super().__init__("", str(wrong))
            return
        self.boxes = boxes
        names = dict(
            zip(("num", "den", "log_scale"), lines_of(boxes[-1]), strict=False)
        )
        straight = average(tree(parsed(ORDERS[0][1]), key)[-1])
        stretches = "; ".join(
            f"{box['letters']}: {', '.join(lines_of(box))}"
            for box in boxes
            if box["parts"]
        )
        self.key = WORDS["key"].format(straight=straight)
        super().__init__(
            WORDS["end"].format(**names, average=average(boxes[-1])),
            WORDS["alt"].format(stretches=stretches),
        )

    def html(self):
        """The result, the tree as an SVG, and what its numbers are."""
        if not self.boxes:
            return f"<p>{self.alt}</p>"
        wide = WIDE * len(TOKENS)
        top = self.boxes[-1]["height"] * HIGH + HALF_HIGH + 2
        across, up = middle_of(top)
        drawn = [shape(box, across, up) for box in self.boxes]
        names = [
            f'<text x="{written(across(n))}" y="{written(top + HALF_HIGH + 16)}">'
            f"{letter}</text>"
            for n, letter in enumerate(TOKENS)
        ]
        return (
            f"<p><strong>{self.title}</strong></p>"
            f'<svg role="img" aria-label="{html.escape(self.alt)}" '
            f'viewBox="0 0 {wide} {written(top + HALF_HIGH + 22)}" '
            'style="display: block; width: 100%; max-width: 30rem; '
            "margin: 0.75rem auto; fill: currentColor; font-size: 11px; "
            'text-anchor: middle">'
            f"{''.join(drawn)}{''.join(names)}</svg><p>{self.key}</p>"
        )


def middle_of(top):
    """Two functions, of a column and of a height: where a box's middle is drawn."""
    return lambda column: (column + 0.5) * WIDE, lambda height: top - height * HIGH


def shape(box, across, up):
    """A box, its lines of text, and the lines that lead to it from its parts."""
    x, y = across(box["column"]), up(box["height"])
    paths = []
    for part in box["parts"]:
        below = written(up(part["height"]) - HALF_HIGH)
        start = f"M{written(across(part['column']))} {below}"
        if part is box["parts"][-1]:
            paths.append(f"{start}V{written(y + HALF_HIGH)}")
        else:
            paths.append(f"{start}V{written(y)}H{written(x - HALF_WIDE)}")
    path = (
        f'<path d="{"".join(paths)}" fill="none" stroke="{ACCENT}"/>' if paths else ""
    )
    lines = "".join(
        f'<text x="{written(x)}" y="{written(y + (n - 1.5) * LINE + 4)}">{line}</text>'
        for n, line in enumerate(lines_of(box))
    )
    return (
        f'{path}<rect x="{written(x - HALF_WIDE)}" y="{written(y - HALF_HIGH)}" '
        f'width="{2 * HALF_WIDE:g}" height="{2 * HALF_HIGH}" rx="4" fill="none" '
        f'stroke="{ACCENT}" stroke-width="1.5"/>{lines}'
    )


FIGURE = live.Figure(
    "brackets",
    "Eight tokens merged in any order of brackets",
    [
        live.menu("order", "Order", ORDERS, 1),
        live.slider("key", "Key of token c", [(f"{k}", k) for k in (0, 2, 300)], 0),
        live.text("own", "Your own brackets, if you choose them", OWN, longest=60),
    ],
    Brackets,
    {
        "tokens": TOKENS,
        "values": VALUES,
        "loud": LOUD,
        "straight": ORDERS[0][1],
        "words": WORDS,
        "accent": ACCENT,
        "sizes": [WIDE, HIGH, HALF_WIDE, HALF_HIGH, ABOVE_OLDER, LINE],
    },
)


def show():
    """Display the tree, to be rearranged."""
    FIGURE.show()
