"""What checks of chapter 11 say about right answers and about the usual mistakes."""

import math

import torch
from helpers.exercises import all_heard, of, told

from rwkv_book import checkpoint
from rwkv_book.exercises import chapter_11
from rwkv_book.rwkv4.model import RWKV

PRODUCTS = 4.304e8 * 330e9
SHARE = 6 * 7.2e9 * 270e3 / (32 * 989e12)
ROOT = math.sqrt(2.52e22 / 120)
PASSAGE = b"""KING. How now, my lord? What news is from the north?
LORD. My gracious liege, the enemy is fled,
And all his men are scattered in the wood.
KING. Then let the bells be rung, and wine be brought."""


def right(budget, parameters, price, peak, utilisation):
    return budget / price * 3600 * peak * utilisation / (6 * parameters)


def test_each_block_is_missed_more_than_the_next():
    losses = []
    for layer in range(4):
        model = RWKV.load(checkpoint.shipped())
        model.blocks[layer].forward = lambda x, state: (x, state)
        tokens = torch.tensor(list(PASSAGE))[None]
        with torch.no_grad():
            logits, _ = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:])
        losses.append(loss.item())
    assert sorted(range(4), key=losses.__getitem__) == [3, 2, 1, 0]


ANSWERS = [
    *of(
        "11.1",
        (8.52e20, "Right."),
        (6 * PRODUCTS, "Right."),
        (PRODUCTS, "there are six"),
        (2 * PRODUCTS, "forward pass alone"),
        (3 * PRODUCTS, "a multiplication and an addition"),
        (4 * PRODUCTS, "backward pass alone"),
        (6 * 4.304e8, "That is one token"),
        (3 * 7.573e8 * 330e9, "the exact count"),
        (6 * 4.304e8 * 300e9, "with 300 billion"),
        (1, "Multiply 6"),
    ),
    *of(
        "11.2",
        (0.37, "Right."),
        (SHARE, "Right."),
        (32 * SHARE, "all 32 machines"),
        (SHARE / 3, "not two"),
        (6 * 7.2e9 * 270e3 / (32 * 1979e12), "half zeros"),
        (6 * 7.2e9 * 270e3 / (32 * 312e12), "these are H100s"),
        (36.9, "in percent"),
        (0.9, "over the peak of 32"),
    ),
    *of(
        "11.3",
        (right, "Right."),
        (1e12, "It should be a function of budget"),
        (lambda b, n, p, f, u: b / p * f * u / 6 / n, "for an hour"),
        (lambda b, n, p, f, u: b / p * 3600 * f / 6 / n, "utilisation is missing"),
        (
            lambda b, n, p, f, u: b / p * 3600 * f / u / 6 / n,
            "fewer tokens, not more",
        ),
        (lambda b, n, p, f, u: b / p * 3600 * f * u / 2 / n, "training takes 6"),
        (lambda b, n, p, f, u: b / p * 3600 * f * u / n, "six FLOPs a token"),
        (lambda b, n, p, f, u: b * 3600 * f * u / 6 / n, "price is missing"),
        (lambda b, n, p, f, u: b * p * 3600 * f * u / 6 / n, "Divide by the price"),
        (lambda b, n, p, f, u: b / p * 3600 * f * u / 6, "by the parameters too"),
        (lambda b, n, p, f, u: b / p * 3600 * f * u, "Those are FLOPs: a token"),
        (lambda b, n, p, f, u: 7.0, "it should give 1.39"),
        (lambda b, n, p, f, u: right(1e5, n, p, f, u), "Twice the budget"),
    ),
    *of(
        "11.4",
        (0, "Right."),
        (1, "put back before the next"),
        (2, "put back before the next"),
        (3, "is missed least"),
        (4, "count from 0"),
    ),
    *of(
        "11.5",
        (14.5e9, "Right."),
        (ROOT, "Right."),
        (20 * ROOT, "number of tokens"),
        (ROOT**2, "take the root"),
        (math.sqrt(2.52e22 / 20), "six FLOPs"),
        (math.sqrt(2.52e22 / 6), "one token a parameter"),
        (math.sqrt(2.52e22 / 40), "a forward pass"),
        (14e9, "keeps 300 billion"),
        (1e9, "solve for N"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_11, ANSWERS)
