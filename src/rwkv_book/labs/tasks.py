"""Small questions that a memory answers or doesn't: the tasks of the bench.

    overwriting   16 boxes are filled again and again: what is in each now?
    recall        pairs of a key and a value: which value came with this key?
    needle        one name was marked, long ago: which?
    reversal      digits, to be said backwards
    parity        ones and zeros: is the number of ones odd so far?
    cups-3        a ball under one of 3 cups that are swapped two by two: where is it?
    cups-5        the same with 5 cups
    modulo-3      a sum of 0, 1 and 2 so far, without its threes
    order-3       three things in a row, put in another order by each token: in which
                  order are they now? (the group S3)

A task draws texts of a size, which is a number of tokens, or of writes, pairs, digits:
tokens (B,T), and answers (B,T) that hold the token which is right after each, or
NOTHING where nothing is asked. What it draws follows from the generator alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations, permutations

import torch

NOTHING = -100  # what cross_entropy ignores
KEYS = VALUES = 16  # of overwriting
RECALL_KEYS = RECALL_VALUES = 64
NAMES = FILLERS = 16  # of the needle
MARK, ASK = 0, 1
EQUALS, END = 10, 11  # of reversal, after the digits
TESTED_TEXTS = 256
TEST_SEED, CHOICE_SEED = 7, 8
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Task:
    """A task: how it is drawn, the sizes of training and of the test, its chance.

    `draw(count, size, generator)` gives tokens and answers (count, tokens(size)).
    `chance(size)` is the share that guessing gets right, of a network that knows which
    answers are possible. In a test the last `counted` tokens of a text count, 0 for
    all.
    """

    name: str
    size_of: str  # what a size counts
    vocabulary: int
    draw: Callable
    tokens: Callable
    chance: Callable
    trained: tuple
    tested: tuple
    steps: int
    counted: int = 0
    batch_tokens: int = BATCH_TOKENS

    def batch(self, generator):
        """A batch for training: one of its sizes, about `batch_tokens` tokens."""
        which = torch.randint(len(self.trained), (1,), generator=generator).item()
        size = self.trained[which]
        count = max(1, self.batch_tokens // self.tokens(size))
        return self.draw(count, size, generator)

    def test(self, size, texts=TESTED_TEXTS, seed=TEST_SEED):
        """The test texts of a size: the same ones every time."""
        generator = torch.Generator().manual_seed(1000 * seed + size)
        tokens, answers = self.draw(texts, size, generator)
        if self.counted:
            answers = answers.clone()
            answers[:, : -self.counted] = NOTHING
        return tokens, answers


def shuffled(count, size, generator):
    """Numbers from 0 to size - 1 in an order of each row: (count,size)."""
    return torch.rand(count, size, generator=generator).argsort(1)


def overwriting(count, writes, generator):
    """Pairs of a box and what is put into it, then every box once.

    Boxes are the tokens 0 to 15 and contents 16 to 31. Whenever a box is named, what is
    in it is asked, but for the first time; each is written at least once. ValueError
    for fewer writes than boxes.
    """
    if writes < KEYS:
        raise ValueError(f"need at least {KEYS} writes, one for each box, got {writes}")
    boxes = torch.randint(KEYS, (count, writes), generator=generator)
    boxes[:, :KEYS] = torch.arange(KEYS)
    boxes = boxes.gather(1, shuffled(count, writes, generator))
    contents = torch.randint(VALUES, (count, writes), generator=generator) + KEYS
    held = torch.full((count, KEYS), NOTHING)
    found = torch.empty_like(boxes)  # what a write takes the place of
    for write in range(writes):
        one = slice(write, write + 1)
        found[:, one] = held.gather(1, boxes[:, one])
        held.scatter_(1, boxes[:, one], contents[:, one])
    asked = shuffled(count, KEYS, generator)
    tokens, answers = pairs_then_questions(boxes, contents, asked, held)
    answers[:, : 2 * writes : 2] = found
    return tokens, answers


def recall(count, pairs, generator):
    """Pairs of a key and a value, no key twice, then every key once.

    Keys are the tokens 0 to 63 and values 64 to 127; it is the multi-query associative
    recall of arXiv 2312.04927, with questions at the end. ValueError for more pairs
    than keys.
    """
    if pairs > RECALL_KEYS:
        raise ValueError(f"there are keys for at most {RECALL_KEYS} pairs, got {pairs}")
    keys = shuffled(count, RECALL_KEYS, generator)[:, :pairs]
    values = torch.randint(RECALL_VALUES, (count, pairs), generator=generator)
    values = values + RECALL_KEYS
    order = shuffled(count, pairs, generator)
    held = torch.empty(count, RECALL_KEYS, dtype=torch.long).scatter_(1, keys, values)
    return pairs_then_questions(keys, values, keys.gather(1, order), held)


def pairs_then_questions(keys, values, asked, held):
    """Texts of keys and values in turn, then questions; held[key] answers them."""
    told = torch.stack([keys, values], 2).flatten(1)
    answers = torch.full((len(keys), told.shape[1] + asked.shape[1]), NOTHING)
    answers[:, told.shape[1] :] = held.gather(1, asked)
    return torch.cat([told, asked], 1), answers


def needle(count, length, generator):
    """A mark, the name that counts, then names and fillers, among them questions.

    One token in eight asks for the marked name, and the last one does. Names are the
    tokens 2 to 17, and appear unmarked, too.
    """
    tokens = torch.randint(2, 2 + NAMES + FILLERS, (count, length), generator=generator)
    marked = torch.randint(2, 2 + NAMES, (count, 1), generator=generator)
    asks = torch.rand(count, length, generator=generator) < 1 / 8
    asks[:, :2], asks[:, -1] = False, True
    tokens = torch.where(asks, ASK, tokens)
    tokens[:, :1], tokens[:, 1:2] = MARK, marked
    return tokens, torch.where(asks, marked, NOTHING)


def reversal(count, digits, generator):
    """Digits, =, the same digits backwards, and END, which are asked from = on."""
    number = torch.randint(10, (count, digits), generator=generator)
    equals, end = torch.tensor([EQUALS, END]).expand(count, 2).unbind(1)
    tokens = torch.cat([number, equals[:, None], number.flip(1), end[:, None]], 1)
    answers = torch.full_like(tokens, NOTHING)
    answers[:, digits:-1] = tokens[:, digits + 1 :]
    return tokens[:, :-1], answers[:, :-1]


def tracked(count, length, generator, moves):
    """Moves, each drawn like any other, and where they lead: asked after every one.

    `moves` (states, tokens) says where each leads from each state; the first is 0.
    """
    moves = torch.tensor(moves)
    tokens = torch.randint(moves.shape[1], (count, length), generator=generator)
    place, places = torch.zeros(count, dtype=torch.long), []
    for token in tokens.unbind(1):
        place = moves[place, token]
        places.append(place)
    return tokens, torch.stack(places, 1)


def cup_moves(cups):
    """Under which cup the ball is after each swap of two, and after none."""
    swaps = [(0, 0), *combinations(range(cups), 2)]
    return tuple(
        tuple({a: b, b: a}.get(cup, cup) for a, b in swaps) for cup in range(cups)
    )


def order_moves(things):
    """Which order comes of each order, when it is put in each order."""
    orders = list(permutations(range(things)))
    return tuple(
        tuple(orders.index(tuple(order[i] for i in move)) for move in orders)
        for order in orders
    )


def tracking(name, moves, steps):
    """The Task of a table of moves."""
    states = len(moves)
    return Task(
        name,
        "tokens",
        vocabulary=max(states, len(moves[0])),
        draw=partial(tracked, moves=moves),
        tokens=lambda length: length,
        chance=lambda length: 1 / states,
        trained=(8, 16, 24, 32),
        tested=(8, 16, 32, 64, 128, 256),
        steps=steps,
        counted=4,
    )


@cache
def tasks():
    """All tasks, {name: Task}, in the order in which the bench takes them."""
    return {
        task.name: task
        for task in (
            Task(
                "overwriting",
                "writes",
                vocabulary=KEYS + VALUES,
                draw=overwriting,
                tokens=lambda writes: 2 * writes + KEYS,
                chance=lambda writes: 1 / VALUES,
                trained=(16, 24, 32, 48),
                tested=(16, 32, 64, 128, 256),
                steps=500,
                counted=KEYS,
            ),
            tracking("parity", ((0, 1), (1, 0)), steps=300),
            tracking("cups-3", cup_moves(3), steps=400),
            Task(
                "recall",
                "pairs",
                vocabulary=RECALL_KEYS + RECALL_VALUES,
                draw=recall,
                tokens=lambda pairs: 3 * pairs,
                chance=lambda pairs: 1 / pairs,
                trained=(4, 8, 16, 32),
                tested=(4, 8, 16, 32, 48, 64),
                steps=800,
            ),
            Task(
                "needle",
                "tokens",
                vocabulary=2 + NAMES + FILLERS,
                draw=needle,
                tokens=lambda length: length,
                chance=lambda length: 1 / NAMES,
                trained=(16, 32, 64),
                tested=(16, 64, 128, 256, 512, 1024),
                steps=250,
                counted=1,
            ),
            Task(
                "reversal",
                "digits",
                vocabulary=END + 1,
                draw=reversal,
                tokens=lambda digits: 2 * digits + 1,
                chance=lambda digits: (1 + digits / 10) / (digits + 1),
                trained=(2, 4, 6, 8, 10, 12),
                tested=(2, 4, 8, 12, 16, 24, 48),
                steps=600,
            ),
            tracking("modulo-3", ((0, 1, 2), (1, 2, 0), (2, 0, 1)), steps=600),
            tracking("order-3", order_moves(3), steps=600),
            tracking("cups-5", cup_moves(5), steps=1000),
        )
    }
