"""Three switches that turn one member of the family into the next, and its tables."""

import html

from rwkv_book.show import live
from rwkv_book.show.chain import written
from rwkv_book.show.facts import TINT, cell
from rwkv_book.show.pictures import Picture

THINGS, COLOURS = ["cup", "ball"], ["red", "blue", "green"]
CORNER = "in the table"
# For each sentence: its key, its colour or None; how much is left by a decay of the
# token, a head and a key; its rate, a head and a key.
STORY = [
    {"says": "The cup is red.", "key": [1, 0], "colour": 0},
    {"says": "The ball is blue.", "key": [0, 1], "colour": 1},
    {"says": "Somebody takes the ball.", "fades": [0.5, [1, 0]]},
    {"says": "Perhaps the cup is green.", "key": [1, 0], "colour": 2, "rates": 0.5},
    {"says": "The mug is blue.", "key": [0.8, 0.6], "colour": 1, "spare": [1, 0]},
]
CONSTANT = [0.8, [0.9, 0.5]]  # what a decay that stays leaves, a head and a key
DECAYS = [
    ("nothing fades", ["none", ""]),
    ("one for all, always the same", ["constant", "one"]),
    ("one for all, as the token says", ["by token", "one"]),
    ("one a key, always the same", ["constant", "each key"]),
    ("one a key, as the token says", ["by token", "each key"]),
]
REMOVALS = [("nothing", False), ("what stands under the key", True)]
RATES = [
    ("everything is believed", "none"),
    ("one for all, as the token says", "one"),
    ("one a key, as the token says", "each key"),
]
# Whose settings they are: decay, by what, whether something is taken out, rate.
NAMES = {
    ("none", "", False, "none"): "linear attention, without its division",
    ("constant", "one", False, "none"): "RetNet, Lightning, and a channel of RWKV-4",
    ("by token", "one", False, "one"): "Mamba-2, mLSTM",
    ("constant", "each key", False, "none"): "RWKV-5",
    ("by token", "each key", False, "none"): "GLA, RWKV-6",
    ("by token", "each key", False, "one"): "Mamba",
    ("by token", "each key", False, "each key"): "HGRN2",
    ("none", "", True, "none"): "the table of facts in chapter 13",
    ("none", "", True, "one"): "DeltaNet",
    ("by token", "one", True, "one"): "Gated DeltaNet, Comba, DeltaProduct",
    ("by token", "each key", True, "one"): "Kimi Delta Attention",
    ("by token", "each key", True, "each key"): "RWKV-7, Gated DeltaNet-2",
}
NOBODY = "none of our eighteen"


def after_each(decay, removal, rate):
    """The tables after each sentence, [[a number for each thing] for each colour]."""
    table, found = [[0, 0] for _ in COLOURS], []
    for token in STORY:
        left = kept(token, *decay)
        key = token.get("key", [0, 0])
        share = believed(token, rate)
        for row, numbers in enumerate(table):
            stands = [numbers[n] * left[n] for n in range(2)]
            there = stands[0] * key[0] + stands[1] * key[1] if removal else 0
            comes = (token.get("colour") == row) - there
            table[row] = [stands[n] + comes * share[n] * key[n] for n in range(2)]
        found.append([numbers[:] for numbers in table])
    return found


def kept(token, kind, by):
    """What a token leaves of each key."""
    if kind == "none":
        return [1, 1]
    shares = CONSTANT if kind == "constant" else token.get("fades", [1, [1, 1]])
    return shares[1] if by == "each key" else [shares[0], shares[0]]


def believed(token, rate):
    """At which rate a token writes, and takes out, in each key channel."""
    if rate == "none":
        return [1, 1]
    most = token.get("rates", 1)
    spare = token.get("spare", [1, 1]) if rate == "each key" else [1, 1]
    return [most * spare[0], most * spare[1]]


def formula(by, removal, rate):
    """The update as a line of text; k′ is the key as a row."""
    stays = {"": "S", "one": "a S", "each key": "S diag(a)"}[by]
    times = {"none": "", "one": "b ", "each key": ""}[rate]
    under = "(b * k)′" if rate == "each key" else "k′"
    if removal:
        stays = f"{stays} (I − {times}k {under})"
    return f"S ← {stays} + {times}v {under}"


def settings():
    """All settings of the three switches: [(decay, removal, rate)]."""
    return [
        (decay, removal, rate)
        for _, decay in DECAYS
        for _, removal in REMOVALS
        for _, rate in RATES
    ]


def heading(decay, removal, rate):
    """Whose settings they are, and the update."""
    _, by = decay
    name = NAMES.get((*decay, removal, rate), NOBODY)
    return f"{name}: {formula(by, removal, rate)}"


class Tables(Picture):
    """The tables after each sentence, side by side, under the name of a member."""

    def __init__(self, decay, removal, rate):
        self.tables = after_each(decay, removal, rate)
        pairs = zip(STORY, self.tables, strict=True)
        lines = [f"{token['says']} {said(table)}" for token, table in pairs]
        super().__init__(heading(decay, removal, rate), " ".join(lines))

    def html(self):
        """A line, and one table with two columns for each sentence."""
        head = "".join(
            f'<th colspan="2" scope="colgroup">{html.escape(token["says"])}</th>'
            for token in STORY
        )
        things = "".join(f'<th scope="col">{name}</th>' for name in THINGS) * len(STORY)
        body = "".join(
            f'<tr><th scope="row">{colour}</th>'
            + "".join(cell(x) for table in self.tables for x in table[row])
            + "</tr>"
            for row, colour in enumerate(COLOURS)
        )
        return (
            f"<p><strong>{html.escape(self.title)}</strong></p>"
            '<div class="live-wide-table" tabindex="0" role="region" '
            'aria-label="The tables">'
            f'<table class="table"><thead><tr><th rowspan="2" scope="col">{CORNER}'
            f"</th>{head}</tr><tr>{things}</tr></thead><tbody>{body}</tbody></table>"
            "</div>"
        )


def said(table):
    """What stands in a table, in words."""
    columns = [
        f"{thing} {', '.join(written(row[n]) for row in table)}"
        for n, thing in enumerate(THINGS)
    ]
    return f"Red, blue, green: {'; '.join(columns)}."


FIGURE = live.Figure(
    "switches",
    "One member of the family turned into the next",
    [
        live.slider("decay", "Decay", DECAYS, 4),
        live.slider("removal", "Taken out before a value comes", REMOVALS, 1),
        live.slider("rate", "Rate", RATES, 1),
    ],
    Tables,
    {
        "story": STORY,
        "constant": CONSTANT,
        "colours": COLOURS,
        "things": THINGS,
        "corner": CORNER,
        "headings": [heading(*each) for each in settings()],
        "settings": [[*decay, removal, rate] for decay, removal, rate in settings()],
        "tint": TINT,
    },
)


def show():
    """Display the tables, with their switches."""
    FIGURE.show()
