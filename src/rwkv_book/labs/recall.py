"""What a network still knows of a name that it read some time ago: plant it, ask later.

Every name gets a text of its own, and the texts differ in nothing else. After each
passage all names are tried in all texts, so that each is compared with itself: in the
text that has it, and in those that have another. What differs is memory alone.
"""

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


class Recall(NamedTuple):
    """What `tokens` later is left of a name: ln p of it, a mean over all names.

    `told` is in the text that has it, `untold` in the others. `named` is the share of
    texts in which no other name was likelier; a guess has 1 / number of names.
    """

    tokens: int
    told: float
    untold: float
    named: float


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
    log_p = log_p[:, common - 1 :].sum(1).view(count, count)  # (text,name)
    told = log_p.diag()
    untold = (log_p.sum(0) - told) / (count - 1)
    named = (log_p.argmax(1) == torch.arange(count)).float()
    return Recall(tokens, *(x.mean().item() for x in (told, untold, named)))


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
