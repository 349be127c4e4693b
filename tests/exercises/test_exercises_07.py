"""Chapter 7's checks: the right answer passes, each usual mistake hears its name."""

import math
from dataclasses import replace

import torch
from helpers.exercises import all_heard, of, told
from torch.nn.functional import cross_entropy

from rwkv_book import training
from rwkv_book.exercises import chapter_07
from rwkv_book.text import corpora
from rwkv_book.training import ablations

LOSS = (3 * math.log(2) + math.log(256)) / 4


def in_pieces(mistake=None):
    """Truncated backpropagation, right or with one mistake."""

    def backward(model, inputs, targets, through):
        model.zero_grad()
        state, count = None, -(-inputs.shape[1] // through)
        if mistake == "whole":
            through = inputs.shape[1]
        for start in range(0, inputs.shape[1], through):
            piece = slice(start, start + through)
            logits, state = model(inputs[:, piece], state)
            reduction = "mean" if mistake in ("means", "mean of means") else "sum"
            asked = targets[:, piece].flatten()
            loss = cross_entropy(logits.flatten(0, 1), asked, reduction=reduction)
            if reduction == "sum" and mistake != "sum":
                loss = loss / targets.numel()
            if mistake == "mean of means":
                loss = loss / count
            if mistake == "zeroed":
                model.zero_grad()
            if mistake != "no backward":
                loss.backward()
            if mistake != "remembers":
                state = None if mistake == "no state" else state.detach()

    return backward


def twice_as_steep(model, *arguments):
    in_pieces()(model, *arguments)
    for weights in model.parameters():
        weights.grad *= 2


def one_graph(model, inputs, targets, through):
    model.zero_grad()
    logits, _ = ablations.Truncated(model, through)(inputs)
    cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()


def trapezoid(run, step, flat=0.8, late=0, end=0):
    top, last = run.learning_rate, run.steps - 1
    if step < run.warm_up:
        return top * (step + 1 - late) / run.warm_up
    begin = flat * run.steps
    if step < begin:
        return top
    return top + (run.final_learning_rate - top) * (step - begin) / (last - begin + end)


def test_channel_mixing_with_two_zeros_never_wakes():
    run = replace(ablations.SMALL, steps=4, warm_up=1, batch=2, length=12)
    model = ablations.first_model(run)
    for block in model.blocks:
        torch.nn.init.zeros_(block.channel_mix.key.weight)
    before = {n: w.clone() for n, w in model.state_dict().items()}
    data = training.join(corpora.load(run.corpus).training)
    assert len(list(training.fit(model, run, data))) == run.steps
    after = model.state_dict()
    asleep = [n for n, weights in before.items() if torch.equal(after[n], weights)]
    assert len(asleep) == 14


ANSWERS = [
    *of(
        "07.1",
        (LOSS, "Right. 1.91"),
        (1.91, "Right. 1.91"),
        (torch.tensor(1.906), "Right. 1.91"),
        (4 * LOSS, "That is the sum"),
        (LOSS / math.log(2), "Those are bits"),
        (LOSS / math.log(10), "base 10"),
        (-LOSS, "The sign is turned"),
        (-math.log((1.5 + 1 / 256) / 4), "the mean of the probabilities"),
        (math.log(2), "The fourth byte is missing"),
        (math.exp(LOSS), "the perplexity"),
        (5.0, "5 it is not"),
        ("nats", "should be a number"),
    ),
    *of(
        "07.2",
        (in_pieces(), "Right. 5 pieces"),
        (in_pieces("remembers"), "detach() it"),
        (in_pieces("no state"), "began with an empty state"),
        (in_pieces("zeroed"), "gradients of the last piece alone"),
        (in_pieces("mean of means"), "the last one is shorter"),
        (in_pieces("means"), "You added up the means"),
        (in_pieces("sum"), "gradients of the sum"),
        (in_pieces("whole"), "not cut anywhere"),
        (twice_as_steep, "differ from those of ablations.Truncated"),
        (lambda m, i, t, n: (m(i), in_pieces()(m, i, t, n)), "a piece had 22 tokens"),
        (one_graph, "in memory at once"),
        (in_pieces("no backward"), "call backward() for every piece"),
        (lambda *a: (in_pieces()(*a), in_pieces("zeroed")(*a)), "last piece alone"),
        (3, "It should be a function"),
    ),
    *of(
        "07.3",
        (trapezoid, "Right."),
        (lambda run, step: trapezoid(run, step, late=1), "it would be wasted"),
        (lambda run, step: trapezoid(run, step, late=-1), "1/10 of the highest"),
        (
            lambda run, step: trapezoid(run, step) * (1 - 0.1 * (step == 9)),
            "The last step of the warm-up",
        ),
        (
            lambda run, step: trapezoid(run, step, flat=0.5),
            "should stay at its highest",
        ),
        (lambda run, step: trapezoid(run, step, end=1), "Steps count from 0"),
        (
            lambda run, step: trapezoid(run, step) + (step == 90) * 1e-5,
            "a straight line",
        ),
        (1e-3, "It should be a function"),
    ),
    *of(
        "07.4",
        (14, "Right. Seven a layer"),
        (0, "Some do stay"),
        (2, "what is fed by them alone"),
        (4, "what it lets through, which is always zero"),
        (6, "Now the matrices are complete"),
        (7, "That is one layer"),
        (10, "learns only through it"),
        (12, "a weight and a bias"),
        (13, "13 it is not"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_07, ANSWERS)
