"""Chapter 7's checks: the right answer passes, each usual mistake hears its name."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.exercises import all_heard, of, told
from torch.nn.functional import cross_entropy

from rwkv_book import training
from rwkv_book.exercises import chapter_07
from rwkv_book.text import corpora
from rwkv_book.training import ablations

LOSS = (3 * math.log(2) + math.log(256)) / 4


MEANS = "means", "mean of means", "twice"  # mistakes that begin with a piece's mean


def in_pieces(mistake=None):
    """Truncated backpropagation, right or with one mistake."""

    def backward(model, inputs, targets, through):
        model.zero_grad()
        length = inputs.shape[1]
        state, count = None, -(-length // through)
        if mistake == "whole":
            through = length
        if mistake == "no shorter piece":
            length -= length % through
        for start in range(0, length, through):
            piece = slice(start, start + through)
            logits, state = model(inputs[:, piece], state)
            reduction = "mean" if mistake in MEANS else "sum"
            asked = (inputs if mistake == "same byte" else targets)[:, piece].flatten()
            loss = cross_entropy(logits.flatten(0, 1), asked, reduction=reduction)
            if mistake == "one text":
                loss = loss / inputs.shape[1]
            elif mistake == "twice" or (reduction == "sum" and mistake != "sum"):
                loss = loss / targets.numel()
            if mistake == "mean of means":
                loss = loss / count
            if mistake == "turned":
                loss = -loss
            if mistake == "zeroed":
                model.zero_grad()
            if mistake == "detached loss":
                loss = loss.detach()
            if mistake != "no backward":
                loss.backward(retain_graph=mistake == "retains")
            if mistake not in ("remembers", "retains"):
                state = None if mistake == "no state" else state.detach()

    return backward


def piece_by_piece_with_cuts(model, inputs, targets, through):
    """Right, in another form: tensors split, the mean weighted by its tokens."""
    state = None
    for read, asked in zip(
        inputs.split(through, 1), targets.split(through, 1), strict=True
    ):
        logits, state = model(read, None if state is None else state.detach())
        share = asked.numel() / targets.numel()
        (cross_entropy(logits.mT, asked) * share).backward()


def prefixes(model, inputs, targets, through):
    """Each piece is read with all that stands before it, from an empty state."""
    model.zero_grad()
    for start in range(0, inputs.shape[1], through):
        end = start + through
        logits, _ = model(inputs[:, :end])
        asked = targets[:, start:end]
        cross_entropy(logits[:, start:].mT, asked, reduction="sum").div(7).backward()


def not_steep_enough(model, *arguments):
    in_pieces()(model, *arguments)
    for weights in model.parameters():
        weights.grad *= 0.7


def taking_the_step(model, *arguments):
    in_pieces()(model, *arguments)
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def one_graph(model, inputs, targets, through):
    model.zero_grad()
    logits, _ = ablations.Truncated(model, through)(inputs)
    cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()


def trapezoid(run, step, flat=0.8, late=0, end=0, way=lambda progress: progress):
    top, last = run.learning_rate, run.steps - 1
    if step < run.warm_up:
        return top * (step + 1 - late) / run.warm_up
    begin = flat * run.steps
    if step < begin:
        return top
    progress = (step - begin) / (last - begin + end)
    return top + (run.final_learning_rate - top) * way(progress)


def at_once_lower(run, step):
    """Right too: the first step after four fifths is the first on the way down."""
    if step < run.steps * 4 // 5:
        return trapezoid(run, step)
    left = (run.steps - 1 - step) / (run.steps - run.steps * 4 // 5)
    height = run.learning_rate - run.final_learning_rate
    return torch.tensor(run.final_learning_rate + height * left, dtype=torch.double)


def down_a_step(run, step):
    """The final rate from four fifths on."""
    return trapezoid(run, step) if step < 0.8 * run.steps else run.final_learning_rate


def half_at_once(progress):
    return (1 + progress) / 2


def after_warm_up(run, step):
    """Four fifths of what the warm-up leaves."""
    flat = run.warm_up + 0.8 * (run.steps - run.warm_up)
    return trapezoid(run, step, flat=flat / run.steps)


def forgets_the_height(run, step):
    if step < 0.8 * run.steps:
        return trapezoid(run, step)
    left = (run.steps - 1 - step) / (0.2 * run.steps - 1)
    return run.final_learning_rate + run.learning_rate * left


def down_to_nothing(run, step):
    return trapezoid(replace(run, final_learning_rate=0.0), step)


def only_for_a_hundred(run, step):
    return trapezoid(replace(run, steps=100, warm_up=10), step)


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


def test_the_first_gradient_is_as_long_as_the_exercise_says():
    data = training.join(corpora.load("prose").training)
    batch = training.windows(data, ablations.SMALL, 0)

    def length(smaller):
        model = ablations.first_model()
        with torch.no_grad():
            model.embedding.weight /= smaller
        return ablations.norm(ablations.gradient(model, *batch).values())

    assert length(1) == pytest.approx(chapter_07.OUR_GRADIENT, rel=0.03)
    assert length(10) == pytest.approx(6350, rel=0.03)
    for smaller in (1e3, 1e5):
        found = length(smaller)
        assert found == pytest.approx(chapter_07.LONGEST_GRADIENT, rel=0.03)


ANSWERS = [
    *of(
        "07.1",
        (LOSS, "Right. 1.91"),
        (1.91, "Right. 1.91"),
        (torch.tensor(1.906), "Right. 1.91"),
        (4 * LOSS, "That is the sum"),
        (LOSS / math.log(2), "Those are bits"),
        (LOSS / math.log(10), "base 10"),
        (-LOSS, "The sign is wrong"),
        (-math.log((1.5 + 1 / 256) / 4), "You averaged the probabilities"),
        (math.log(2), "The fourth byte is missing"),
        (math.exp(LOSS), "the perplexity"),
        (math.log(256), "of the fourth byte alone"),
        (math.log(256) / 4, "let the first three off"),
        (3.12, "came three times"),
        (math.exp(-LOSS), "a typical probability"),
        (0.125 / 256, "the probability of all four together"),
        (5.0, "5 isn't it"),
        ("nats", "should be a number"),
    ),
    *of(
        "07.2",
        (in_pieces(), "Right. 5 pieces"),
        (piece_by_piece_with_cuts, "Right. 5 pieces"),
        (in_pieces("remembers"), "detach() it"),
        (in_pieces("retains"), "not cut anywhere"),
        (in_pieces("no state"), "began with an empty state"),
        (in_pieces("zeroed"), "gradients of the last piece alone"),
        (in_pieces("no shorter piece"), "The last piece is missing"),
        (in_pieces("mean of means"), "the last one is shorter"),
        (in_pieces("means"), "You added up the means"),
        (in_pieces("one text"), "the tokens of one text"),
        (in_pieces("sum"), "gradients of the sum"),
        (in_pieces("twice"), "Divided twice"),
        (in_pieces("turned"), "The sign is turned"),
        (taking_the_step, "leave the step to the optimizer"),
        (in_pieces("same byte"), "the byte that was just read"),
        (in_pieces("whole"), "not cut anywhere"),
        (in_pieces("detached loss"), "has no history"),
        (not_steep_enough, "differ from those of ablations.Truncated"),
        (prefixes, "Not so: a piece had 22 tokens"),
        (lambda m, i, t, n: (m(i), in_pieces()(m, i, t, n)), "a piece had 22 tokens"),
        (one_graph, "in memory at once"),
        (in_pieces("no backward"), "Call backward() for every piece"),
        (lambda *a: (in_pieces()(*a), in_pieces("zeroed")(*a)), "last piece alone"),
        (lambda *a: None, "The model was never called."),
        (3, "It should be a function"),
    ),
    *of(
        "07.3",
        (trapezoid, "Right."),
        (at_once_lower, "Right."),
        (lambda run, step: torch.tensor(trapezoid(run, step)), "Right."),
        (lambda run, step: trapezoid(run, step) / run.learning_rate, "are factors"),
        (lambda run, step: None, "is None: does your function return it?"),
        (down_a_step, "the rate jumps from 0.004 down to 0.001"),
        (lambda run, step: trapezoid(run, step, way=half_at_once), "down to 0.0025"),
        (lambda run, step: trapezoid(run, step, late=1), "it does nothing at all"),
        (lambda run, step: trapezoid(run, step, late=-1), "1/10 of the highest"),
        (
            lambda run, step: trapezoid(run, step) * (1 - 0.1 * (step == 9)),
            "step 9 should have the highest rate",
        ),
        (training.learning_rate, "until step 79, and it falls at step 11"),
        (lambda run, step: trapezoid(run, step, flat=0.5), "it falls at step 51"),
        (lambda run, step: trapezoid(run, step, flat=0.9), "should begin at step 80"),
        (after_warm_up, "counted from the first step of all, warm-up included"),
        (lambda run, step: trapezoid(run, step, flat=2), "The rate never falls"),
        (forgets_the_height, "the difference between the highest rate and the final"),
        (down_to_nothing, "It comes down to 0"),
        (lambda run, step: trapezoid(run, step, end=1), "Steps count from 0"),
        (
            lambda run, step: trapezoid(
                run, step, way=lambda x: (1 - math.cos(math.pi * x)) / 2
            ),
            "a straight line",
        ),
        (lambda run, step: trapezoid(run, step, way=lambda x: x**2), "a straight line"),
        (only_for_a_hundred, "For a run of 50 steps with a warm-up of 4"),
        (1e-3, "It should be a function"),
    ),
    *of(
        "07.4",
        (14, "Right. Seven a layer"),
        (0, "Some do stay"),
        (2, "what gets its gradient only through them"),
        (4, "it scales what they produce"),
        (6, "The mixes and the norm before them"),
        (7, "That is one layer"),
        (10, "learns only through it"),
        (12, "a weight and a bias"),
        (28, "the ones that move"),
        (42, "That is all of them"),
        (13, "13 isn't it"),
    ),
    *of(
        "07.5",
        (7_300, "Right. About 7,300"),
        (torch.tensor(7344.0), "Right. About 7,300"),
        (1_235, "That is ours"),
        (12_400, "ten times longer. Measure it"),
        (124_000, "ten times longer. Measure it"),
        (6_350, "it still grows a little"),
        (126, "larger than ours"),
        (1e9, "1e+09 isn't it"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_07, ANSWERS)
