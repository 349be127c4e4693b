"""What the checks of chapter 9 say about right answers and about the usual mistakes."""

import math

import pytest
import torch

from rwkv_book import checkpoint
from rwkv_book.exercises import chapter_09, diagnose
from rwkv_book.rwkv4.model import RWKV

PRODUCTS = 4.304e8 * 330e9
SHARE = 6 * 7.2e9 * 270e3 / (32 * 989e12)
ROOT = math.sqrt(2.52e22 / 120)


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("09.1", 6 * PRODUCTS),
        ("09.1", 8.52e20),
        ("09.2", SHARE),
        ("09.2", 0.37),
        ("09.5", ROOT),
        ("09.5", 14.5e9),
    ],
)
def test_a_right_number_is_right(number, answer):
    assert diagnose(number, answer).startswith("Right.")


@pytest.mark.parametrize(
    ("number", "answer", "sentence"),
    [
        ("09.1", PRODUCTS, "there are six"),
        ("09.1", 2 * PRODUCTS, "forward pass alone"),
        ("09.1", 3 * PRODUCTS, "a multiplication and an addition"),
        ("09.1", 4 * PRODUCTS, "backward pass alone"),
        ("09.1", 6 * 4.304e8, "That is one token"),
        ("09.1", 3 * 7.573e8 * 330e9, "the exact count"),
        ("09.1", 6 * 4.304e8 * 300e9, "with 300 billion"),
        ("09.1", 1, "Multiply 6"),
        ("09.3", 1e12, "It should be a function of budget"),
        ("09.2", 32 * SHARE, "all 32 machines"),
        ("09.2", SHARE / 3, "not two"),
        ("09.2", 6 * 7.2e9 * 270e3 / (32 * 1979e12), "half zeros"),
        ("09.2", 6 * 7.2e9 * 270e3 / (32 * 312e12), "these are H100s"),
        ("09.2", 36.9, "in percent"),
        ("09.2", 0.9, "over the peak of 32"),
        ("09.5", 20 * ROOT, "number of tokens"),
        ("09.5", ROOT**2, "take the root"),
        ("09.5", math.sqrt(2.52e22 / 20), "six FLOPs"),
        ("09.5", math.sqrt(2.52e22 / 6), "one token a parameter"),
        ("09.5", math.sqrt(2.52e22 / 40), "a forward pass"),
        ("09.5", 14e9, "keeps 300 billion"),
        ("09.5", 1e9, "solve for N"),
    ],
)
def test_a_usual_mistake_is_named(number, answer, sentence):
    found = diagnose(number, answer)
    assert found.startswith("Not yet.") and sentence in found


def right(budget, parameters, price, peak, utilisation):
    return budget / price * 3600 * peak * utilisation / (6 * parameters)


def test_a_right_function_is_right():
    assert diagnose("09.3", right).startswith("Right.")


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda b, n, p, f, u: b / p * f * u / 6 / n, "for an hour"),
        (lambda b, n, p, f, u: b / p * 3600 * f / 6 / n, "utilisation is missing"),
        (lambda b, n, p, f, u: b / p * 3600 * f / u / 6 / n, "fewer tokens, not more"),
        (lambda b, n, p, f, u: b / p * 3600 * f * u / 2 / n, "training takes 6"),
        (lambda b, n, p, f, u: b / p * 3600 * f * u / n, "six FLOPs a token"),
        (lambda b, n, p, f, u: b * 3600 * f * u / 6 / n, "price is missing"),
        (lambda b, n, p, f, u: b * p * 3600 * f * u / 6 / n, "Divide by the price"),
        (lambda b, n, p, f, u: b / p * 3600 * f * u / 6, "by the parameters too"),
        (lambda b, n, p, f, u: b / p * 3600 * f * u, "Those are FLOPs: a token"),
        (lambda b, n, p, f, u: 7.0, "it should give 1.39"),
        (lambda b, n, p, f, u: right(1e5, n, p, f, u), "Twice the budget"),
    ],
)
def test_a_usual_mistake_in_the_function_is_named(mistake, sentence):
    found = diagnose("09.3", mistake)
    assert found.startswith("Not yet.") and sentence in found


def test_the_block_that_is_missed_most_is_found():
    """By removing blocks from fresh models, the other way round than the check does."""
    losses = []
    for layer in range(RWKV.load(checkpoint.shipped()).config.layers):
        model = RWKV.load(checkpoint.shipped())
        model.blocks[layer].forward = lambda x, state: (x, state)
        tokens = torch.tensor(list(chapter_09.PASSAGE))[None]
        with torch.no_grad():
            logits, _ = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:])
        losses.append(loss.item())
    order = sorted(range(len(losses)), key=losses.__getitem__)
    assert diagnose("09.4", order[-1]).startswith("Right.")
    assert "is missed least" in diagnose("09.4", order[0])
    assert "put back" in diagnose("09.4", order[1])
    assert "count from 0" in diagnose("09.4", len(losses))
