"""What checks of chapter 11 say about right answers and about the usual mistakes."""

import copy
import math

import pytest
import torch
from helpers.exercises import all_heard, of, told
from torch.nn.functional import cross_entropy

from rwkv_book import checkpoint
from rwkv_book.exercises import chapter_11
from rwkv_book.rwkv4.model import RWKV

PRODUCTS = 4.304e8 * 330e9
SHARE = 6 * 7.2e9 * 270e3 / (32 * 989e12)
ROOT = math.sqrt(2.52e22 / 120)
WITHOUT = (2.104, 1.602, 1.470, 1.303)
PASSAGE = b"""KING. How now, my lord? What news is from the north?
LORD. My gracious liege, the enemy is fled,
And all his men are scattered in the wood.
KING. Then let the bells be rung, and wine be brought."""


def right(budget, parameters, price, peak, utilisation):
    return budget / price * 3600 * peak * utilisation / (6 * parameters)


@torch.no_grad()
def losses(part=None, keep_away=False, order=range(4), target=1):
    """The loss on the passage without each block, or what usual mistakes give."""
    model, tokens = RWKV.load(checkpoint.shipped()), torch.tensor(list(PASSAGE))[None]
    found = {}
    for layer in order:
        broken = model if keep_away else copy.deepcopy(model)
        block = broken.blocks[layer]
        for weights in (getattr(block, part) if part else block).parameters():
            weights.zero_()
        logits, _ = broken(tokens[:, :-1])
        wanted = tokens[0, target : len(PASSAGE) - 1 + target]
        found[layer] = cross_entropy(logits[0], wanted).item()
    return [found[layer] for layer in range(4)]


def test_the_losses_that_the_check_knows_are_those_of_the_shipped_model():
    known = {
        chapter_11.WITHOUT: losses(),
        chapter_11.EARLIER_GONE: losses(keep_away=True),
        chapter_11.LATER_GONE: losses(keep_away=True, order=(3, 2, 1, 0)),
        chapter_11.TIME_ALONE: losses("time_mix"),
        chapter_11.CHANNEL_ALONE: losses("channel_mix"),
        chapter_11.SAME_BYTE: losses(target=0),
    }
    for constant, found in known.items():
        assert found == pytest.approx(constant, abs=0.006)
    assert len(PASSAGE) - 1 == chapter_11.BYTES


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
        (6 * 4.304e8 * 330e12, "10 to the 9"),
        (8 * PRODUCTS, "with recomputation"),
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
        (SHARE * 8 / 6, "counts recomputation too"),
        (6 * 7.2e9 * 270 / (32 * 989e12), "270 thousand tokens"),
        (1 / SHARE, "Turn it round"),
        (0.9, "over the peak of 32"),
    ),
    *of(
        "11.3",
        (right, "Right."),
        (1e12, "It should be a function of budget"),
        (lambda b, n, p, f, u: b / p * f * u / 6 / n, "for an hour"),
        (lambda b, n, p, f, u: b / p * 60 * f * u / 6 / n, "and not 60"),
        (lambda b, n, p, f, u: b / p, "Those are the hours"),
        (lambda b, n, p, f, u: None, "returns nothing"),
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
        (WITHOUT, "Right. Without block 0 it is 2.1 nats"),
        (torch.tensor(WITHOUT), "Right."),
        (dict(enumerate(WITHOUT)), "Right."),
        ([2.085, 1.607, 1.467, 1.31], "Right."),  # with an END before it
        (chapter_11.EARLIER_GONE, "The first block is right"),
        (chapter_11.LATER_GONE, "The last block is right"),
        ([3.5] * 4, "All blocks are away"),
        ([1.14] * 4, "Nothing is removed"),
        ([x - 1.14 for x in WITHOUT], "by how much the loss rises"),
        ([x / math.log(2) for x in WITHOUT], "Those are bits"),
        ([math.exp(x) for x in WITHOUT], "Those are perplexities"),
        ([x * 193 for x in WITHOUT], "Those are sums"),
        (WITHOUT[::-1], "Turn it round"),
        (chapter_11.TIME_ALONE, "Only time mixing"),
        (chapter_11.CHANNEL_ALONE, "Only channel mixing"),
        (chapter_11.SAME_BYTE, "the one after it"),
        ([2.1, 1.6, 1.2, 1.3], "Block 2 is the first that is wrong"),
        (0, "a list of four losses"),
        ([2.1], "so four losses, and not 1"),
    ),
    *of(
        "11.5",
        (14.5e9, "Right."),
        (ROOT, "Right."),
        (20 * ROOT, "number of tokens"),
        (14.5, "That many billions"),
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
