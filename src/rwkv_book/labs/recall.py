"""What a network still knows of a name that it read some time ago: plant it, ask later.

Every name gets a text of its own, and the texts differ in nothing else. After each
passage all names are tried in all texts, so that each is compared with itself: in the
text that has it, and in those that have another. What differs is memory alone.
"""

import re
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from rwkv_book.text import END_OF_TEXT

SPEECHES = (
    "\nDUKE.\nCome nearer, friend. What brings thee to our gate?\n",
    "\nMESSENGER.\nThe sea, my lord, that was not kind to us.\n"
    "We saw your lights, and left the broken ship,\n"
    "And walked till morning on the open sand.\n",
    "\nDUKE.\nThen sit, and eat, and tell me of the storm.\n"
    "Call in the captain, and the men that live,\n"
    "And let a fire be made in every room.\n",
    "\nMESSENGER.\nThe captain hath a wound upon his cheek,\n"
    "And in his hand he bears a little box\n"
    "That he will open for no man but thee.\n",
    "\nDUKE.\nLet him come in. I never saw a box\n"
    "That was not worth the lifting of the lid.\n"
    "And bring us wine, for I am dry with talk.\n",
    "\nMESSENGER.\nI go, my lord, and bid them all come in.\n"
    "They have not slept since first the wind was up,\n"
    "And some of them are sick, and some are old.\n",
    "\nDUKE.\nPoor souls, we shall be kind to them to night.\n"
    "The table shall be laid within the hall,\n"
    "And every man shall have his bread and meat.\n",
    "\nMESSENGER.\nThe heavens thank thee, as these men will do.\n"
    "They ask no more than what the poor may ask,\n"
    "A roof, a bed, and leave to go in peace.\n",
)
"""A scene of ours, in the manner of what the book's model has read; nobody is named."""


POOL = (
    "MALVORNISTEL", "BRATHICUMARD", "DELPHINORAST", "OSWINDOREMUS",
    "TIBERTOLANDE", "GRUNDLEWICKS", "PIRANDOLETTA", "KELSTORMUNDY",
)  # fmt: skip
"""What no play knows; the first letters differ, so they do at any length."""


class Recall(NamedTuple):
    """What is left of names `tokens` later: `log_p` (N,N), ln p of name j in text i.

    `told` is the mean where the text has the name, `untold` where it has another, and
    `gains` (N,) their difference for each name. `named` is the share of texts in which
    no other name was likelier; a guess has 1 / N.
    """

    tokens: int
    log_p: Tensor

    @property
    def told(self):
        return self.log_p.diag().mean().item()

    @property
    def untold(self):
        return self.told - self.gains.mean().item()

    @property
    def gains(self):
        told = self.log_p.diag()
        return told - (self.log_p.sum(0) - told) / (len(told) - 1)

    @property
    def named(self):
        right = self.log_p.argmax(1) == torch.arange(len(self.log_p))
        return right.float().mean().item()


def introduction(name):
    """What a newcomer says: MALVORN and Malvorn."""
    return f"{name}.\nGood morrow, sir. I am {name.title()}, and come from sea.\n"


def question(name):
    """Who speaks next? The line break is read, and the letters of the name judged."""
    return f"\n{name}"


def plant(network, name, between=SPEECHES):
    """`recall` for a name of yours and seven invented ones, as long as yours.

    The first of the gains is yours. ValueError unless the name is 2 to 12 of the
    letters A to Z; small ones are made large.
    """
    return recall(network, names_with(name), introduction, between, question)


def names_with(name):
    """The eight names of `plant`, yours first."""
    name = name.upper()
    if not re.fullmatch("[A-Z]{2,12}", name):
        raise ValueError(f"a name of 2 to 12 letters, A to Z, and not {name!r}")
    others = [other[: len(name)] for other in POOL if other[: len(name)] != name]
    return [name, *others[:7]]


def scene():
    """All that `plant` tells and asks, for a page that does the same: its {name}."""
    return {
        "pool": POOL,
        "told": introduction("{name}"),  # and {Name}
        "asked": question(""),
        "between": SPEECHES,
    }


def scenes_of(text, count, marks=(180, 480, 1030)):
    """`count` scenes for `between`, evenly spread over a text of bytes.

    Each begins at an empty line and is cut where a line ends, at the first one after
    so many bytes as each mark. ValueError where the text ends before.
    """
    for k in range(count):
        begin = text.index(b"\n\n", k * len(text) // count)
        ends = [begin, *(text.index(b"\n", begin + mark) + 1 for mark in marks)]
        yield [text[a:b].decode() for a, b in pairwise(ends)]


@torch.no_grad()
def recall(network, names, told, between, asked):
    """A Recall after told(name), and after each of the passages `between`.

    The network reads bytes, forward(tokens, state) -> (logits, state), and is asked for
    asked(name): what all questions begin with, such as a line break, and then what
    alone counts. N names take N texts and N² questions. ValueError for fewer than two
    names, or of different lengths, since texts and questions have to be as long as each
    other, and for questions that don't begin alike or don't differ.
    """
    texts, questions = ([f(name) for name in names] for f in (told, asked))
    lengths = {len(name.encode()) for name in names}
    if len(names) < 2 or len(lengths) != 1 or len(set(names)) < len(names):
        raise ValueError(
            f"need two names or more, that differ and have one length: {names}"
        )
    _, state = network(as_rows(texts, start=[END_OF_TEXT]))
    found, tokens = [ask(network, state, questions, 0)], 0
    for passage in between:
        _, state = network(as_rows([passage] * len(names)), state)
        tokens += len(passage.encode())
        found.append(ask(network, state, questions, tokens))
    return found


def ask(network, state, questions, tokens):
    """All questions in all texts, each text going on from its own state: a Recall."""
    count = len(questions)
    asked = as_rows(questions * count)  # (N·N,T): text by text
    logits, _ = network(asked[:, :-1], repeat(state, count))
    log_p = logits.log_softmax(-1).gather(2, asked[:, 1:, None])[..., 0]
    common = (asked == asked[0]).all(0).int().argmin()  # where they begin to differ
    if common == 0:  # at once, or nowhere
        raise ValueError(f"questions must begin alike, and then differ: {questions}")
    return Recall(tokens, log_p[:, common - 1 :].sum(1).view(count, count))


def as_rows(texts, start=()):
    """Texts of as many bytes as each other as tokens (B,T)."""
    return torch.tensor([[*start, *text.encode()] for text in texts])


def repeat(state, times):
    """Each text's state `times` times, one after the other: B·times texts to go on.

    A state is a tensor (B,...), or a tuple of states, as a KV cache is.
    """
    if isinstance(state, Tensor):
        return state.repeat_interleave(times, 0)
    parts = [repeat(part, times) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
