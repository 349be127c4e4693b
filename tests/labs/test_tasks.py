"""The tasks of the bench: every answer against a slow and obvious reading of the text,
and what is drawn, how often, and how well a guess does."""

from functools import partial
from itertools import permutations

import pytest
import torch

from rwkv_book.labs import tasks as bench_tasks
from rwkv_book.labs.tasks import ASK, END, EQUALS, MARK, NOTHING, tasks

every_task = pytest.mark.parametrize("name", tasks())


def boxes_and_contents(tokens, vocabulary, asked_always=True):
    """Pairs go into a dictionary; what comes alone is a question."""
    held, answers, at, half = {}, [], 0, vocabulary // 2
    while at < len(tokens):
        if at + 1 < len(tokens) and tokens[at + 1] >= half:
            found = held.get(tokens[at], NOTHING) if asked_always else NOTHING
            held[tokens[at]] = tokens[at + 1]
            answers += [found, NOTHING]
            at += 2
        else:
            answers.append(held[tokens[at]])
            at += 1
    return answers


def needle(tokens, vocabulary):
    assert tokens[0] == MARK
    return [tokens[1] if token == ASK else NOTHING for token in tokens]


def reversal(tokens, vocabulary):
    digits = tokens[: tokens.index(EQUALS)]
    return [NOTHING] * len(digits) + digits[::-1] + [END]


def parity(tokens, vocabulary):
    return [sum(tokens[: t + 1]) % 2 for t in range(len(tokens))]


def modulo_3(tokens, vocabulary):
    return [sum(tokens[: t + 1]) % 3 for t in range(len(tokens))]


def cups(count):
    swaps = [(a, b) for a in range(count) for b in range(a + 1, count)]

    def follow(tokens, vocabulary):
        under, answers = ["ball"] + ["nothing"] * (count - 1), []
        for token in tokens:
            if token:
                a, b = swaps[token - 1]
                under[a], under[b] = under[b], under[a]
            answers.append(under.index("ball"))
        return answers

    return follow


def order_3(tokens, vocabulary):
    orders, things, answers = list(permutations(range(3))), (0, 1, 2), []
    for token in tokens:
        things = tuple(things[place] for place in orders[token])
        answers.append(orders.index(things))
    return answers


OBVIOUS = {
    "overwriting": boxes_and_contents,
    "recall": partial(boxes_and_contents, asked_always=False),
    "needle": needle,
    "reversal": reversal,
    "parity": parity,
    "cups-3": cups(3),
    "cups-5": cups(5),
    "modulo-3": modulo_3,
    "order-3": order_3,
}


@every_task
def test_every_answer_is_what_a_slow_reading_finds(name):
    task, generator = tasks()[name], torch.Generator().manual_seed(1)
    for size in {*task.trained, *task.tested}:
        tokens, answers = task.draw(8, size, generator)
        assert tokens.shape == answers.shape == (8, task.tokens(size))
        assert tokens.min() >= 0 and tokens.max() < task.vocabulary
        for row, said in zip(tokens.tolist(), answers.tolist(), strict=True):
            assert said == OBVIOUS[name](row, task.vocabulary)


@every_task
def test_all_tokens_and_answers_occur(name):
    task, generator = tasks()[name], torch.Generator().manual_seed(2)
    tokens, answers = task.draw(400, task.trained[-1], generator)
    possible = set(range(task.vocabulary)) - {END if name == "reversal" else None}
    states = {"cups-5": 5, "cups-3": 3}.get(name)
    if states:  # fewer answers than tokens
        assert set(answers.unique().tolist()) == set(range(states))
    assert set(tokens.unique().tolist()) == possible


@every_task
def test_the_test_is_fixed_and_no_batch_repeats_it(name):
    task = tasks()[name]
    size = task.trained[-1]
    once, again = task.test(size), task.test(size)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    other = task.test(size, seed=bench_tasks.CHOICE_SEED)
    assert not torch.equal(once[0], other[0])
    generator = torch.Generator().manual_seed(0)
    batches = [task.batch(generator)[0] for _ in range(20)]
    assert all(
        len(tokens) * tokens.shape[1] <= bench_tasks.BATCH_TOKENS for tokens in batches
    )
    assert {tokens.shape[1] for tokens in batches} <= {
        task.tokens(size) for size in task.trained
    }
    seen = {tuple(row) for batch in batches for row in batch.tolist() if len(row) > 16}
    assert not seen & {tuple(row) for row in once[0].tolist()}


@every_task
def test_only_the_end_of_a_text_counts_where_that_is_said(name):
    task = tasks()[name]
    _, answers = task.test(task.tested[-1], texts=4)
    counted = (answers != NOTHING).sum(1)
    if task.counted:
        assert (answers[:, -task.counted :] != NOTHING).all()
        assert (counted == task.counted).all()
    else:
        assert (counted == counted[0]).all() and counted[0] > task.counted


@every_task
def test_a_guess_is_right_as_often_as_chance_says(name):
    """Of a network that knows what may come, and which values the text has."""
    task, generator = tasks()[name], torch.Generator().manual_seed(3)
    size = task.tested[1]
    tokens, answers = task.test(size, texts=2000)
    asked = answers != NOTHING
    if name == "reversal":
        guess = torch.randint(10, answers.shape, generator=generator)
        guess[:, -1] = END
    elif name == "recall":  # any value of this text
        which = 2 * torch.randint(size, answers.shape, generator=generator) + 1
        guess = tokens.gather(1, which)
    else:
        possible = answers[asked].unique()
        which = torch.randint(len(possible), answers.shape, generator=generator)
        guess = possible[which]
    share = (guess == answers)[asked].float().mean().item()
    assert share == pytest.approx(task.chance(size), abs=0.02)


def test_a_box_that_nobody_fills_is_refused():
    with pytest.raises(ValueError, match="at least 16 writes"):
        tasks()["overwriting"].draw(1, 15, torch.Generator())


def test_more_pairs_than_keys_are_refused():
    with pytest.raises(ValueError, match="at most 64 pairs"):
        tasks()["recall"].draw(1, 65, torch.Generator())
