"""Names that were planted in a text, or were not, and what is left of them later."""

import html
import math

from rwkv_book.show import live
from rwkv_book.show.chain import written
from rwkv_book.show.palette import ACCENT, PALETTE
from rwkv_book.show.pictures import Table

HEADER = ["asked for", "nats gained", "times as likely"]
WORDS = {
    "found": "{name}, said {later} bytes ago, is {times} times as likely as where "
    "another name was said. Of the seven that nobody said here, the best off is "
    "{best}, at {most}.",
    "nothing": "Type a name of 2 to 12 letters, A to Z.",
    "wrong": "“{name}” is no name here: type 2 to 12 letters, A to Z.",
    "ask": "For this name the model itself has to read: it is fetched once, and then "
    "answers for any name.",
    "loading": "Loading the model …",
    "reading": "The model reads eight texts, {name} in one of them and another name in "
    "each of the seven others …",
    "failed": "The model could not be loaded ({reason}). With a connection, press the "
    "button again; the names of the first picture need no model.",
    "unknown": "no reason was given",
}


def gained(log_p):
    """What each text adds to each name, in nats: rows are texts, columns names.

    `log_p` (N,N) has the name j in text i, which says name i. A name is compared with
    itself in all other texts that don't say it. ValueError for fewer than three names.
    """
    count = len(log_p)
    if count < 3:
        raise ValueError(f"need three names or more to compare, got {count}")
    found = []
    for i in range(count):
        row = []
        for j in range(count):
            others = [log_p[k][j] for k in range(count) if k not in (i, j)]
            row.append(log_p[i][j] - sum(others) / len(others))
        found.append(row)
    return found


class Planted(Table):
    """One text, asked for all names some time later: a bar for each."""

    def __init__(self, names, later, gains, said):
        others = [n for n in range(len(names)) if n != said]
        best = max(others, key=lambda n: gains[n])
        words = WORDS["found"].format(
            name=names[said],
            later=later,
            times=times(gains[said]),
            best=names[best],
            most=times(gains[best]),
        )
        rows = [
            f'<th scope="row">{html.escape(name)}{", said" * (n == said)}</th>'
            f"{bar(gain, n == said)}<td>{times(gain)}</td>"
            for n, (name, gain) in enumerate(zip(names, gains, strict=True))
        ]
        super().__init__(words, HEADER, rows)


def times(gain):
    """How many times as likely, with one decimal."""
    return f"{math.floor(10 * math.exp(gain) + 0.5) / 10:.10g}"


def bar(gain, said):
    """A number over a bar that starts in the middle, and leads to the left below 0."""
    wide = min(50, 10 * abs(gain))
    left = 50 if gain > 0 else 50 - wide
    colour = ACCENT if said else PALETTE["other"]
    return (
        f'<td style="width: 40%">{written(gain)}<span style="display: block; '
        f"height: 0.4rem; margin-left: {written(left)}%; width: {written(wide)}%; "
        f'background: {colour}"></span></td>'
    )


def figure(names, later, log_ps, plant, scene):
    """A live figure of a name that is said, later: one of `names`, or a reader's own.

    `log_ps` [(N,N)] are a matrix for each of the times `later` (bytes), as
    `labs.recall` finds them: ln p of name j in the text of name i. `plant(name, time)`
    gives names and log_p (N,N) for any other name. A page without a kernel does that
    with `scene`: all of `recall.scene`, the model's file, and how many bytes it has.
    """
    all_gains = [
        [[round(gain, 2) for gain in row] for row in gained(log_p)] for log_p in log_ps
    ]
    passed = [f"{tokens:,}" for tokens in later]
    times = [(tokens, n) for n, tokens in enumerate(passed)]

    def picture(name, time):
        own = name.strip().upper()
        if own in names:
            said = names.index(own)
            return Planted(names, passed[time], all_gains[time][said], said)
        if not own:
            return Table(WORDS["nothing"], HEADER, [])
        try:
            others, log_p = plant(own, time)
        except ValueError:
            return Table(WORDS["wrong"].format(name=name), HEADER, [])
        gains = [round(gain, 2) for gain in gained(log_p)[0]]
        return Planted(others, passed[time], gains, 0)

    return live.Figure(
        "planted",
        "A name that was said, and what is left of it later",
        [
            live.text("name", "Name that is said: type your own", names[0], longest=40),
            live.slider("time", "Bytes later", times, 0),
        ],
        picture,
        {
            "names": list(names),
            "later": passed,
            "gains": all_gains,
            "header": HEADER,
            "words": WORDS,
            "colours": [ACCENT, PALETTE["other"]],
            "button": f"Load the model ({scene['bytes'] / 1e6:.1f} MB)",
            **scene,
        },
    )
