"""What the checks of chapter 1 say about right answers and about the usual mistakes."""

import copy
import math

import numpy as np
import torch
from helpers.exercises import all_heard, of, told
from torch import nn

from rwkv_book.exercises import chapter_01
from rwkv_book.exercises.chapter_01 import variant
from rwkv_book.rnn import LstmState, Params

GATE = 0.5**0.01


def step(**changes):
    def my_step(x, hidden, cell, *params):
        return variant(x, LstmState(hidden, cell), Params(*params), **changes)

    return my_step


def library_step(x, hidden, cell, input_weight, state_weight, bias):
    """PyTorch's own, with its two biases, in single precision."""
    both = bias.float(), torch.zeros_like(bias).float()
    weights = input_weight.float(), state_weight.float()
    return torch.lstm_cell(x.float(), (hidden.float(), cell.float()), *weights, *both)


def in_numpy(*arguments):
    return tuple(tensor.numpy() for tensor in step()(*arguments))


def in_place(x, hidden, cell, *params):
    new, kept = step()(x, hidden, cell, *params)
    hidden.copy_(new)
    cell.copy_(kept)
    return hidden, cell


def interval(width=lambda d, first, second: 1.96 * d.std() / len(d) ** 0.5, sign=1):
    def my_interval(first, second):
        difference = sign * (first - second)
        half = width(difference, first, second)
        return (difference.mean() - half).item(), (difference.mean() + half).item()

    return my_interval


def shut(low=32, high=64, bias=-20.0, of_copy=True, name="bias_ih_l0"):
    def my_shut(network):
        network = copy.deepcopy(network) if of_copy else network
        with torch.no_grad():
            getattr(network.trunk.lstm, name)[low:high] = bias
        return network

    return my_shut


def both_shut(network):
    return shut(name="bias_hh_l0")(shut()(network))


def mean_state(outputs, lengths, longer=0, divisor=None):
    real = torch.arange(outputs.shape[1]) < lengths[:, None] + longer
    total = (outputs * real[..., None]).sum(1)
    return total / (lengths[:, None] + longer if divisor is None else divisor)


def by_loop(outputs, lengths):
    pairs = zip(outputs.numpy(), lengths, strict=True)
    return np.stack([states[:length].mean(0) for states, length in pairs])


def medians(outputs, lengths):
    pairs = zip(outputs, lengths, strict=True)
    return torch.stack([states[:length].median(0).values for states, length in pairs])


ANSWERS = [
    *of(
        "01.1",
        (-0.508, "Right."),
        (math.tanh(-1 + 0.5 * math.tanh(1 + 0.5 * math.tanh(1))), "Right."),
        (torch.tensor(-0.508), "Right."),
        ("-0.51", "Right."),
        (0.508, "the sign is not"),
        (-0.674, "from the table"),
        (0.881, "still to come"),
        (0.855, "from right to left"),
        (-0.762, "*boring* alone"),
        (-0.559, "last hyperbolic tangent is missing"),
        (-0.25, "missing in every step"),
        (1, "forgets their order"),
        (math.tanh(-1 + math.tanh(1 + math.tanh(1))), "weight of a half"),
        (math.tanh(-1) + math.tanh(1) / 2 + math.tanh(1) / 4, "not beside it"),
        (-0.855, "not subtracted from it"),
        (-0.233, "the tangent of an angle"),
        (0.1, "Three times"),
        ("x", "should be a number"),
    ),
    *of(
        "01.2",
        (math.log(GATE / (1 - GATE)), "Right."),
        (4.97, "Right."),
        (GATE, "That is the gate"),
        (-4.97, "Mind the sign"),
        (-math.log(GATE), "invert the sigmoid"),
        (0, "gone after one step"),
        (5.293, "multiplied, not subtracted"),
        (5, "two decimals"),
        (2.158, "logarithm to base 10"),
        (143.8, "natural logarithm is the bias"),
        (3, "to the power of 100"),
    ),
    *of(
        "01.3",
        (step(), "Right."),
        (library_step, "Right."),
        (in_numpy, "Right."),
        (in_place, "Right."),
        (lambda *a: LstmState(*step()(*a)), "Right."),
        (step(asked="cell"), "The gates look at `cell`"),
        (step(without="bias"), "bias is missing"),
        (step(without="state_weight"), "look at the token only"),
        (step(without="input_weight"), "look at what was shown only"),
        (step(flipped=True), "how much is kept"),
        (step(mixed=True), "every fourth number"),
        (step(gated=False), "go through a sigmoid"),
        (step(kept="hidden"), "multiplies the old cell"),
        (step(order=(0, 2, 1, 3)), "third quarter is the candidate"),
        (step(order=(1, 0, 2, 3)), "input gate comes first"),
        (step(order=(0, 1, 3, 2)), "output gate is last"),
        (step(squash=False), "tanh, not through a sigmoid"),
        (step(shown=False), "goes through tanh first"),
        (step(old=True), "new cell, not the old"),
        (step(tied=True), "not 1 - forget"),
        (lambda *a: step()(*a)[::-1], "Hidden comes first"),
        (lambda *a: (step()(*a)[0], 2 * step()(*a)[1]), "look at the sum above it"),
        (
            lambda *a: (2 * step()(*a)[0], step()(*a)[1]),
            "The cell is right; hidden",
        ),
        (lambda *_: (torch.zeros(3), torch.zeros(3)), "returns shape (3,)"),
        (lambda *_: torch.zeros(3, 4), "return two things"),
        (lambda *_: None, "returns nothing"),
    ),
    *of(
        "01.4",
        (interval(), "Right."),
        (lambda a, b: torch.tensor(interval()(a, b)), "Right."),
        (lambda a, b: list(np.array(interval()(a, b))), "Right."),
        (interval(lambda d, *_: 2 * d.std() / len(d) ** 0.5), "Right."),
        (interval(lambda d, *_: 1.96 * d.numpy().std() / len(d) ** 0.5), "Right."),
        (interval(sign=-1), "first minus the second"),
        (
            interval(lambda d, a, b: 1.96 * ((a.var() + b.var()) / len(d)).sqrt()),
            "question by question",
        ),
        (interval(lambda d, *_: 1.96 * d.std()), "Divide by √n"),
        (interval(lambda d, *_: 1.96 * d.std() / len(d)), "with √n only"),
        (interval(lambda d, *_: d.std() / len(d) ** 0.5), "one standard error"),
        (interval(lambda d, *_: 1.96 * d.var() / len(d) ** 0.5), "its square root"),
        (interval(lambda d, *_: 1.645 * d.std() / len(d) ** 0.5), "covers 90 %"),
        (interval(lambda d, *_: 2.576 * d.std() / len(d) ** 0.5), "covers 99 %"),
        (
            interval(lambda d, a, b: 1.96 * (a.std() + b.std()) / len(d) ** 0.5),
            "widths of two intervals",
        ),
        (interval(lambda d, *_: d.std() / 9), "1.96 standard errors"),
        (lambda a, b: interval()(a, b)[::-1], "low end comes first"),
        (lambda a, b: (0.03, 0.0239), "middle and half the width"),
        (lambda a, b: tuple(100 * x for x in interval()(a, b)), "percentage points"),
        (lambda a, b: interval()(a, 0 * b), "first model alone"),
        (lambda a, b: (0.5, 0.6), "difference of the two accuracies"),
        (lambda a, b: 0.03, "return two numbers"),
        (lambda a, b: None, "returns nothing"),
    ),
    *of(
        "01.5",
        (shut(), "Right."),
        (shut(bias=-20.0, name="bias_hh_l0"), "Right."),
        (both_shut, "Right."),
        (shut(of_copy=False), "copy it with copy.deepcopy"),
        (shut(0, 32), "You changed the input gate; the forget gate"),
        (shut(64, 96), "You changed the candidate"),
        (shut(96, 128), "You changed the output gate"),
        (shut(32, 96), "You changed the candidate"),
        (shut(0, 128), "All four quarters"),
        (shut(bias=20.0), "minus, not plus"),
        (shut(bias=0.0), "leaves the gate open by 0.5"),
        (copy.deepcopy, "nothing is shut"),
        (lambda network: 0.6, "It should return a classifier"),
        (lambda network: nn.Linear(2, 2), "It should return a classifier"),
        (lambda network: None, "return the copy"),
    ),
    *of(
        "01.6",
        (mean_state, "Right."),
        (by_loop, "Right."),
        (lambda x, n: list(mean_state(x, n)), "Right."),
        (lambda x, n: x.mean(1), "behind the end"),
        (lambda x, n: mean_state(x, n, divisor=1), "That is the sum"),
        (lambda x, n: mean_state(x, n, divisor=5), "You divide by T"),
        (lambda x, n: mean_state(x, n, longer=1), "One state too many"),
        (lambda x, n: x[range(3), n - 1], "the last real state"),
        (lambda x, n: x.sum(1) / n[:, None], "The sum counts what is behind"),
        (
            lambda x, n: mean_state(x, n, longer=-1, divisor=n[:, None] - 1),
            "One state too few",
        ),
        (lambda x, n: x[:, : n.max()].mean(1), "where the longest ends"),
        (medians, "the first lengths[b] states"),
        (lambda x, n: x, "of shape (3, 4)"),
        (lambda x, n: None, "return the means"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_01, ANSWERS)
