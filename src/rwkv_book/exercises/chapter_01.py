"""Exercises of chapter 1: a state by hand, a gate, an LSTM, an honest comparison."""

import math

import torch
from torch import nn

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Span,
    around,
    not_one_of,
    number,
    number_of,
    returned,
    wrong_unless,
)
from rwkv_book.rnn import LstmState, from_torch, lstm_step


def elman_by_hand(words, weight=0.5):
    state = 0.0
    for word in words:
        state = math.tanh(word + weight * state)
    return state


SHORT, GOOD = elman_by_hand([-1, 0]), elman_by_hand([-1, 0, 1])

pose(
    "01.1",
    NumberQuestion(
        right=GOOD,
        mistakes={
            -GOOD: "That is “good but boring”: the words are reversed.",
            SHORT: "That is the state after “but”: “good” is still to come.",
            math.tanh(1): "That is “good” alone: half of the old state is added to it.",
            1 + SHORT / 2: "The last hyperbolic tangent is missing.",
            around(1 - 0.25, absolute=0.005): "The hyperbolic tangent is missing.",
            0.0: "A sum of the words forgets their order; the state does not.",
            elman_by_hand([-1, 0, 1], 1): "The old state enters with a weight of a "
            "half.",
        },
        hint="Three times: tanh of the word plus half the state.",
        praise=f"{GOOD:.3f}, and “good but boring” is {-GOOD:.3f}: the last word wins.",
        absolute=0.006,
    ),
)

GATE = 0.5 ** (1 / 100)
BIAS = math.log(GATE / (1 - GATE))

pose(
    "01.2",
    NumberQuestion(
        right=BIAS,
        mistakes={
            around(0): "sigmoid(0) is a half: half is gone after one step.",
            -BIAS: "Mind the sign: with this bias the gate is nearly shut.",
            around(GATE, absolute=0.002): "That is the gate; the bias is what the "
            "sigmoid makes it from.",
            around(-math.log(GATE), absolute=0.0005): "That is minus the logarithm of "
            "the gate: invert the sigmoid.",
            around(BIAS, absolute=0.1): "Nearly: give two decimals.",
        },
        hint="The gate to the power of 100 is a half; then invert the sigmoid.",
        praise=f"The gate is {GATE:.4f}, which is sigmoid({BIAS:.2f}).",
        absolute=0.03,
    ),
)


def step_example(scale=1.0):
    """x (2,3), an LstmState of (2,4) and Params, in double precision."""
    torch.manual_seed(5)
    params = from_torch(nn.LSTM(3, 4, dtype=torch.float64))
    x, hidden, cell = (scale * torch.randn(2, n).double() for n in (3, 4, 4))
    params = type(params)(*(weight.detach() for weight in params))
    return x, LstmState(hidden, cell), params


def variant(
    x, state, params, order=(0, 1, 2, 3), squash=True, shown=True, old=False, tied=False
):
    """lstm_step; its options are the usual mistakes."""
    parts = params.from_both(x, state.hidden).chunk(4, dim=-1)
    input_gate, forget_gate, candidate, output_gate = (parts[n] for n in order)
    candidate = candidate.tanh() if squash else candidate.sigmoid()
    write, keep = input_gate.sigmoid(), forget_gate.sigmoid()
    cell = keep * state.cell + (1 - keep if tied else write) * candidate
    memory = state.cell if old else cell
    return output_gate.sigmoid() * (memory.tanh() if shown else memory), cell


SLIPS = [
    ({"order": (0, 2, 1, 3)}, "The third quarter is the candidate, not a gate."),
    ({"order": (1, 0, 2, 3)}, "The input gate comes first, then the forget gate."),
    ({"order": (0, 1, 3, 2)}, "The candidate is third; the output gate is last."),
    ({"squash": False}, "The candidate goes through tanh, not through a sigmoid."),
    ({"shown": False}, "What is shown of the cell goes through tanh first."),
    ({"old": True}, "The output shows the new cell, not the old one."),
    ({"tied": True}, "The input gate is its own number, not 1 - forget."),
]


def same(one, other):
    return all(torch.allclose(a, b) for a, b in zip(one, other, strict=True))


@exercise("01.3")
def one_step_of_an_lstm(my_step):
    x, state, params = step_example()
    result = my_step(x, *state, *params)
    wrong_unless(result is not None, "The function returns nothing.")
    wrong_unless(
        isinstance(result, tuple | list) and len(result) == 2,
        "It should return two things: the new hidden and the new cell.",
    )
    hidden = returned(result[0], (2, 4), "the new hidden")
    cell = returned(result[1], (2, 4), "the new cell")
    _, wanted = lstm_step(x, state, params)

    found, mistakes = (
        (hidden, cell),
        [(wanted[::-1], "Hidden comes first, then the cell.")],
    )
    for changes, sentence in SLIPS:
        mistakes.append((variant(x, state, params, **changes), sentence))
    not_one_of(found, mistakes, same)
    wrong_unless(
        torch.allclose(cell, wanted.cell),
        "The cell is wrong: forget · cell + input · candidate.",
    )
    wrong_unless(
        torch.allclose(hidden, wanted.hidden),
        "The cell is right; hidden is not: output · tanh(cell).",
    )
    return "It is the step of PyTorch's LSTM, gate by gate."


def comparison(total, both, first_only, second_only):
    """Two lists of right (1) and wrong (0) answers to the same questions."""
    neither = total - both - first_only - second_only
    first = [1] * (both + first_only) + [0] * (second_only + neither)
    second = [1] * both + [0] * first_only + [1] * second_only + [0] * neither
    return torch.tensor(first).double(), torch.tensor(second).double()


@exercise("01.4")
def who_is_better(my_interval):
    first, second = comparison(1000, 750, 90, 60)
    result = my_interval(first, second)
    wrong_unless(result is not None, "The function returns nothing.")
    wrong_unless(
        isinstance(result, tuple | list) and len(result) == 2,
        "It should return two numbers: the low end and the high end.",
    )
    low, high = (number_of(end) for end in result)
    difference, n = first - second, len(first)
    mean, deviation = difference.mean().item(), difference.std().item()
    half = 1.96 * deviation / n**0.5
    apart = 1.96 * ((first.var() + second.var()) / n).sqrt().item()
    wrong_unless(low <= high, "The low end comes first.")
    number(
        (low + high) / 2,
        mean,
        {-mean: "It is the first minus the second, in this order."},
        "The middle of the interval should be the difference of the two accuracies.",
        absolute=1e-3,
    )
    number(
        (high - low) / 2,
        half,
        {
            apart: "That forgets that both answered the same questions: it is too "
            "wide. Take the differences question by question.",
            1.96 * deviation: "Divide by √n: it is the mean that is uncertain.",
            half / 1.96: "That is one standard error; 95 % are within 1.96 of them.",
            1.96
            * deviation**2
            / n**0.5: "That has the variance: take its square root.",
        },
        "Half its width should be 1.96 standard errors of the mean difference.",
        relative=0.02,
    )
    verdict = "0 is outside" if low > 0 else "0 is inside"
    return f"From {low:.3f} to {high:.3f}: {verdict}."


pose(
    "01.5",
    NumberQuestion(
        right=Span(0.54, 0.70),
        mistakes={
            Span(0.77, 1): "That is as good as before: is it the second quarter of the "
            "bias that you set, on the network that you then asked?",
            Span(1, math.inf): "Give the accuracy as a fraction, such as 0.75.",
            Span(0.70, 0.77): "The gates are not shut: -20 rather than 0, and minus "
            "rather than plus.",
            Span(0.5, 0.54): "That is a coin, so more than the memory is shut: the "
            "forget gate is the second quarter, [32:64].",
        },
        hint="Worse than a coin: compare labels and verdicts of the same reviews.",
        praise="Without the cell, a verdict is little more than its last few words.",
    ),
)
