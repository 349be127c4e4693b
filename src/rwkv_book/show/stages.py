"""Three words on their way through a transformer's block, one stage after the other."""

import html
import math

import numpy as np

from rwkv_book.show.chain import written
from rwkv_book.show.palette import PALETTE
from rwkv_book.show.pictures import Picture
from rwkv_book.show.sliders import slider

# Each stage: its name, what is written over its boxes, and what happens there to the
# last word.
STAGES = {
    "embedding": (
        "embedding: its row of a table",
        "Each word gets its row of a table. For {last} that is {embedding}.",
    ),
    "query, key, value": (
        "query q, key k, value v: three matrices, after a norm",
        "A norm, then three matrices: {last} asks with q, offers k and would hand "
        "over v.",
    ),
    "scores": (
        "scores: q · k with each word so far, over √{size}",
        "{last} asks all words so far, and gets {scores}. A dash is a later word, "
        "which nobody may ask.",
    ),
    "weights": (
        "weights: softmax of the scores",
        "Softmax turns scores into weights that add up to 1. {last} listens to {first} "
        "with a weight of {weight}.",
    ),
    "average": (
        "average of the values, by these weights",
        "Here the words meet, and nowhere else. In the first channel, {last} gets "
        "{sum}.",
    ),
    "first residual": (
        "residual: a matrix times the average, added",
        "A matrix turns the average into {attention}, which is added to the embedding. "
        "Nothing is replaced.",
    ),
    "hidden channels": (
        "hidden channels: two matrices and a bend, after a norm",
        "Each word is on its own again: a norm, a matrix, a bend, another matrix. For "
        "{last}, {output} comes out.",
    ),
    "second residual": (
        "residual: that is added, too",
        "That is added as well. The channel of {last}, the word that was just read, "
        "goes from {before} to {after}.",
    ),
    "logits": (
        "logits: all rows of the table, after a last norm",
        "A last norm, then the product with each row of the table: one number for each "
        "word that may come next.",
    ),
    "guess": (
        "softmax of the logits: {names}",
        "Softmax again: after {last}, the model expects {likeliest} with {share}.",
    ),
}
NAMES = list(STAGES)
STREAM = "embedding", "first residual", "second residual"
ACROSS, HALF, LEFT = 114, 52, 60  # from word to word, half a box, the first middle
# Letters on a rim of the page's colour, where the residual stream passes behind them.
HEADING = (
    "text-anchor: start; paint-order: stroke; stroke-width: 4px; "
    "stroke: var(--pst-color-background, Canvas)"
)
CHANNEL = 33  # from a number in a box to the next
LINE, GAP, FAN = 16, 28, 26  # a line of text, room for a heading, and for the arrows


def vectors(seen):
    """What stands in each word's boxes, {stage: numbers (T,·)}; NaN is not asked.

    `seen` has the outputs (T,·) of a one-layer, one-head GPT's modules by their names
    within the block, such as "attention.query_key_value", as hooks find them; "" is the
    model.
    """
    seen = {name: np.asarray(out, dtype=float) for name, out in seen.items()}
    query, key, value = np.split(seen["attention.query_key_value"], 3, axis=1)
    scores = query @ key.T / math.sqrt(query.shape[1])
    scores[np.triu_indices(len(scores), 1)] = np.nan
    weights = shares(np.where(np.isnan(scores), -np.inf, scores))
    return {
        "embedding": seen["embedding"],
        "query, key, value": np.stack([query, key, value], axis=1),
        "scores": scores,
        "weights": np.where(np.isnan(scores), np.nan, weights),
        "average": weights @ value,
        "first residual": seen["embedding"] + seen["attention"],
        "hidden channels": seen["output"],
        "second residual": seen["blocks.0"],
        "logits": seen[""],
        "guess": shares(seen[""]),
    }


def shares(logits):
    """softmax along the last axis"""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


class Stage(Picture):
    """All boxes up to one stage; of the later ones there are only the outlines."""

    def __init__(self, words, seen, stage):
        self.words, self.stage, self.numbers = words, stage, vectors(seen)
        told = self.told(seen)
        self.headings = [heading.format(**told) for heading, _ in STAGES.values()]
        said = STAGES[NAMES[stage]][1].format(**told)
        self.said = said[0].upper() + said[1:]
        boxes = "; ".join(
            f"{word} {' '.join(map(vector, self.lines(NAMES[stage], t)))}"
            for t, word in enumerate(words)
        )
        alt = f"{self.headings[stage]}. {boxes}. The boxes of later stages are empty."
        name = f"Stage {stage + 1} of {len(STAGES)}: {NAMES[stage]}"
        super().__init__(name, alt)

    def told(self, seen):
        """What the sentences say of the last word."""
        numbers, last = self.numbers, len(self.words) - 1
        weights = numbers["weights"][last]
        values = numbers["query, key, value"][:, 2, 0]
        parts = [
            f"{written(weight)} · {written(value)}"
            for weight, value in zip(weights, values, strict=True)
        ]
        guess = numbers["guess"][last]
        added = np.asarray(seen["attention"], dtype=float)[last]
        return {
            "first": self.words[0],
            "last": self.words[last],
            "names": ", ".join(self.words),
            "size": numbers["query, key, value"].shape[2],
            "embedding": vector(row(numbers["embedding"][last])),
            "scores": vector(row(numbers["scores"][last])),
            "weight": written(weights[0]),
            "sum": f"{' + '.join(parts)} = {written(numbers['average'][last][0])}",
            "attention": vector(row(added)),
            "output": vector(row(numbers["hidden channels"][last])),
            "before": written(numbers["first residual"][last][last]),
            "after": written(numbers["second residual"][last][last]),
            "likeliest": self.words[guess.argmax()],
            "share": f"{guess.max():.0%}",
        }

    def lines(self, stage, word):
        """The lines in a word's box of a stage, each a list of texts."""
        numbers = self.numbers[stage][word]
        if stage == "guess":
            return [[f"{share:.0%}" for share in numbers]]
        return [row(each) for each in np.atleast_2d(numbers)]

    def html(self):
        """The stage's name, the words from top to bottom as an SVG, and a sentence."""
        y, drawn, ends = 18, [], []
        middle = [LEFT + ACROSS * t for t in range(len(self.words))]
        for x, word in zip(middle, self.words, strict=True):
            drawn.append(text(x, y - 4, word, "font-weight: 650"))
        for n, name in enumerate(NAMES):
            pale = ' opacity="0.3"' if n > self.stage else ""
            y += GAP
            heading = text(LEFT - HALF, y - 8, self.headings[n], HEADING)
            arrows = ""
            if name == "average":
                arrows, y = self.fan(middle, y - 2), y + FAN
            high = LINE * len(self.lines(name, 0)) + 8
            boxes = "".join(
                box(x, y, high, self.lines(name, t), name, n - self.stage)
                for t, x in enumerate(middle)
            )
            drawn.append(f"<g{pale}>{heading}{arrows}{boxes}</g>")
            if name in STREAM and n <= self.stage:
                ends.append(y + high / 2)
            y += high
        drawn = [*(stream(x, ends) for x in middle), *drawn]
        wide = middle[-1] + HALF + 3
        return (
            f"<p><strong>{self.title}</strong></p>"
            f'<svg role="img" aria-label="{html.escape(self.alt)}" '
            f'viewBox="0 0 {wide} {y + 4:g}" style="display: block; width: 100%; '
            "max-width: min(29rem, 100%); margin: 0.75rem auto; fill: currentColor; "
            'font-size: 12.5px; text-anchor: middle">'
            f"{''.join(drawn)}</svg><p>{html.escape(self.said)}</p>"
        )

    def fan(self, middle, y):
        """Lines from each word to those that hear it, as thick as the weights."""
        lines = []
        for t, weights in enumerate(self.numbers["weights"]):
            for i, weight in enumerate(weights[: t + 1]):
                lines.append(
                    f'<path d="M{middle[i]} {y}L{middle[t]} {y + FAN}" fill="none" '
                    f'stroke="{PALETTE["transformer"]}" '
                    f'stroke-width="{written(6 * weight)}"/>'
                )
        return "".join(lines)


def row(numbers):
    """A vector's numbers as texts, and a dash for one that is none."""
    return ["–" if np.isnan(x) else written(x) for x in numbers]


def vector(texts):
    return f"({', '.join(texts)})"


def text(x, y, said, style=""):
    style = f' style="{style}"' if style else ""
    return f'<text x="{x}" y="{y:g}"{style}>{html.escape(said)}</text>'


def box(x, y, high, lines, name, ahead):
    """A box with its lines; empty where its stage is `ahead` > 0 of the one shown."""
    colour = PALETTE["transformer" if name in STREAM else "other"]
    fill = f'fill="{colour}" fill-opacity="0.2"' if ahead == 0 else 'fill="none"'
    drawn = (
        f'<rect x="{x - HALF}" y="{y:g}" width="{2 * HALF}" height="{high}" rx="4" '
        f'{fill} stroke="{colour}" stroke-width="{2.5 if ahead == 0 else 1}"/>'
    )
    if ahead > 0:
        return drawn
    for n, line in enumerate(lines):
        height, middle = y + LINE * (n + 1), (len(line) - 1) / 2
        if len(lines) > 1:
            drawn += text(x - HALF + 6, height, "qkv"[n], "opacity: 0.7")
        aside = 5 if len(lines) > 1 else 0
        for channel, said in enumerate(line):
            drawn += text(x + aside + CHANNEL * (channel - middle), height, said)
    return drawn


def stream(x, ends):
    """The residual stream of a word: a line past what is added to it."""
    side = x - HALF - 5
    path = f"M{side} {ends[0]:g}V{ends[-1]:g}"
    path += "".join(f"M{side} {y:g}H{x - HALF}" for y in ends)
    return f'<path d="{path}" fill="none" stroke="{PALETTE["transformer"]}"/>'


def show(words, seen):
    """Display the words' way with a slider over its stages; it begins at the end."""
    slider(
        "stage",
        range(len(STAGES)),
        lambda stage: Stage(words, seen, stage),
        start=len(STAGES) - 1,
        text=NAMES.__getitem__,
    )
