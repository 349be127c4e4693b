"""Exercises of chapter 1: a state by hand, a gate, an LSTM, an honest comparison."""

import copy
import math

import torch
from torch import nn

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    around,
    not_one_of,
    number,
    number_of,
    returned,
    wrong_unless,
)
from rwkv_book.rnn import Classifier, Config, LstmState, from_torch, lstm_step


def elman_by_hand(words, step=lambda word, state: math.tanh(word + state / 2)):
    state = 0.0
    for word in words:
        state = step(word, state)
    return state


TWICE, SEEN = elman_by_hand([1, 1, -1]), elman_by_hand([1, 1])
OTHER_STEPS = [
    (
        lambda word, state: math.tanh(word + state),
        "The old state enters with a weight of a half.",
    ),
    (
        lambda word, state: math.tanh(word) + state / 2,
        "Half of the old state goes into the tangent, not beside it.",
    ),
    (
        lambda word, state: math.tanh(word - state / 2),
        "Half of the old state is added to the word, not subtracted from it.",
    ),
    (
        lambda word, state: math.tan(word + state / 2),
        "That is the tangent of an angle; the hyperbolic one is `math.tanh`.",
    ),
]

pose(
    "01.1",
    NumberQuestion(
        right=TWICE,
        mistakes={
            -TWICE: "The size is right and the sign is not: *boring* is −1.",
            elman_by_hand([1, 0, -1]): "That is “good but boring”, from the table: "
            "here the second word is *good* too.",
            SEEN: "That is the state after two words: *boring* is still to come.",
            elman_by_hand([-1, 1, 1]): "That reads from right to left: *good* comes "
            "first.",
            math.tanh(-1): "That is *boring* alone: half of the old state is added to "
            "it.",
            -1 + SEEN / 2: "The last hyperbolic tangent is missing.",
            around(-1 + 0.5 + 0.25, absolute=0.005): "The hyperbolic tangent is "
            "missing in every step.",
            1.0: "A sum of the words forgets their order; the state does not.",
            **{elman_by_hand([1, 1, -1], step): said for step, said in OTHER_STEPS},
        },
        hint="Three times: tanh of the word plus half the state.",
        praise=f"{TWICE:.3f}: two good words soften the last one, and it still wins.",
        absolute=0.006,
    ),
)

GATE = 0.5 ** (1 / 100)
BIAS = math.log(GATE / (1 - GATE))
EVEN = 1 - 0.5 / 100  # as if each step took the same piece

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
            math.log(EVEN / (1 - EVEN)): "That gate takes half a hundredth each time. "
            "But what is left is multiplied, not subtracted: gate to the power of 100.",
            around(BIAS, absolute=0.1): "Nearly: give two decimals.",
            BIAS / math.log(10): "That is a logarithm to base 10: the sigmoid "
            "is made of e, so take the natural one.",
            around(GATE / (1 - GATE), absolute=0.5): "That is gate / (1 − gate): its "
            "natural logarithm is the bias.",
        },
        hint="The gate to the power of 100 is a half; then invert the sigmoid.",
        praise=f"The gate is {GATE:.4f}, which is sigmoid({BIAS:.2f}).",
        absolute=0.03,
    ),
)


def step_example():
    """x (2,3), an LstmState of (2,4) and Params, in double precision."""
    torch.manual_seed(5)
    params = from_torch(nn.LSTM(3, 4, dtype=torch.float64))
    x, hidden, cell = (torch.randn(2, n).double() for n in (3, 4, 4))
    params = type(params)(*(weight.detach() for weight in params))
    return x, LstmState(hidden, cell), params


def variant(
    x,
    state,
    params,
    order=(0, 1, 2, 3),
    squash=True,
    shown=True,
    old=False,
    tied=False,
    asked="hidden",
    without=None,
    mixed=False,
    gated=True,
    kept="cell",
    flipped=False,
):
    """lstm_step; its options are the usual mistakes."""
    if without:
        nothing = torch.zeros_like(getattr(params, without))
        params = params._replace(**{without: nothing})
    parts = params.from_both(x, getattr(state, asked))
    if mixed:  # every fourth number is of one gate
        parts = parts.unflatten(-1, (-1, 4)).transpose(-1, -2).flatten(-2)
    parts = parts.chunk(4, dim=-1)
    input_gate, forget_gate, candidate, output_gate = (parts[n] for n in order)
    candidate = candidate.tanh() if squash else candidate.sigmoid()
    write, keep, show = input_gate, forget_gate, output_gate
    if gated:
        write, keep, show = write.sigmoid(), keep.sigmoid(), show.sigmoid()
    kept = (1 - keep if flipped else keep) * getattr(state, kept)
    cell = kept + (1 - keep if tied else write) * candidate
    memory = state.cell if old else cell
    return show * (memory.tanh() if shown else memory), cell


SLIPS = [
    (
        {"asked": "cell"},
        "The gates look at `cell`. They should look at what was shown: multiply the "
        "state's weights by `hidden`.",
    ),
    (
        {"without": "bias"},
        "The bias is missing from the sum that the gates are made of.",
    ),
    (
        {"without": "state_weight"},
        "The gates look at the token only. They need what was shown as well: hidden "
        "times the state's weights.",
    ),
    (
        {"without": "input_weight"},
        "The gates look at what was shown only. They need the token as well: x times "
        "the input's weights.",
    ),
    ({"flipped": True}, "The forget gate says how much is kept: 1 keeps all of it."),
    (
        {"mixed": True},
        "You take every fourth number for a gate. The quarters lie one after another: "
        "`chunk(4, dim=1)`.",
    ),
    ({"gated": False}, "The three gates go through a sigmoid, so that none exceeds 1."),
    ({"kept": "hidden"}, "The forget gate multiplies the old cell, not hidden."),
    ({"order": (0, 2, 1, 3)}, "The third quarter is the candidate, not a gate."),
    ({"order": (1, 0, 2, 3)}, "The input gate comes first, then the forget gate."),
    ({"order": (0, 1, 3, 2)}, "The candidate is third; the output gate is last."),
    ({"squash": False}, "The candidate goes through tanh, not through a sigmoid."),
    ({"shown": False}, "What is shown of the cell goes through tanh first."),
    ({"old": True}, "The output shows the new cell, not the old one."),
    ({"tied": True}, "The input gate is its own number, not 1 - forget."),
]


def same(one, other):
    pairs = zip(one, other, strict=True)
    return all(torch.allclose(a, b, atol=1e-6, equal_nan=True) for a, b in pairs)


def as_double(result):
    """A tensor in double precision of what may be one, or an array, or a list."""
    if isinstance(result, list | tuple) and all(map(torch.is_tensor, result)):
        result = torch.stack(list(result))
    return torch.as_tensor(result).detach().double()


@exercise("01.3")
def one_step_of_an_lstm(my_step):
    x, state, params = step_example()
    _, wanted = lstm_step(x, state, params)
    result = my_step(*(tensor.clone() for tensor in (x, *state, *params)))
    wrong_unless(result is not None, "The function returns nothing.")
    wrong_unless(
        isinstance(result, tuple | list) and len(result) == 2,
        "It should return two things: the new hidden and the new cell.",
    )
    hidden = returned(as_double(result[0]), (2, 4), "the new hidden")
    cell = returned(as_double(result[1]), (2, 4), "the new cell")
    mistakes = [(wanted[::-1], "Hidden comes first, then the cell.")]
    for changes, sentence in SLIPS:
        mistakes.append((variant(x, state, params, **changes), sentence))
    not_one_of((hidden, cell), mistakes, same)
    wrong_unless(
        torch.allclose(cell, wanted.cell, atol=1e-6),
        "The cell is not forget · cell + input · candidate. If that line is there, "
        "look at the sum above it: x and hidden, each times its weights, and the bias.",
    )
    wrong_unless(
        torch.allclose(hidden, wanted.hidden, atol=1e-6),
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
    difference, n = first - second, len(first)
    mean, deviation = difference.mean().item(), difference.std().item()
    half = 1.96 * deviation / n**0.5
    apart = 1.96 * ((first.var() + second.var()) / n).sqrt().item()
    result = my_interval(first.clone(), second.clone())
    wrong_unless(result is not None, "The function returns nothing.")
    ends = result.tolist() if hasattr(result, "tolist") else result
    wrong_unless(
        isinstance(ends, tuple | list) and len(ends) == 2,
        "It should return two numbers: the low end and the high end.",
    )
    low, high = (number_of(end) for end in ends)
    wrong_unless(
        not (math.isclose(low, mean) and math.isclose(high, half, rel_tol=0.03)),
        "These are the middle and half the width: give the middle minus it, and plus.",
    )
    wrong_unless(low <= high, "The low end comes first.")
    number(
        (low + high) / 2,
        mean,
        {
            -mean: "It is the first minus the second, in this order.",
            100 * mean: "That is in percentage points: give fractions, such as 0.01.",
            first.mean().item(): "That is about the first model alone: take the "
            "difference of the two.",
        },
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
            1.96 * deviation / n: "That divides by n: uncertainty falls with √n only.",
            half / 1.96: "That is one standard error; 95 % are within 1.96 of them.",
            half * 1.645 / 1.96: "With 1.645 it covers 90 %; for 95 % take 1.96.",
            half * 2.576 / 1.96: "With 2.576 it covers 99 %; for 95 % take 1.96.",
            1.96 * (first.std() + second.std()).item() / n**0.5: "That adds the widths "
            "of two intervals, which is far too wide. Take the differences question by "
            "question, and one interval.",
            1.96
            * deviation**2
            / n**0.5: "That has the variance: take its square root.",
        },
        "Half its width should be 1.96 standard errors of the mean difference.",
        relative=0.03,
    )
    verdict = "0 is outside" if low > 0 else "0 is inside"
    return f"From {low:.3f} to {high:.3f}: {verdict}."


QUARTERS = ("input gate", "forget gate", "candidate", "output gate")


def quarters(network):
    """The sum of both biases of a classifier's LSTM, a row for each quarter: (4,C)."""
    lstm = network.trunk.lstm
    return (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach().view(4, -1)


@exercise("01.5")
def shut_its_memory(my_shut):
    torch.manual_seed(0)
    network = Classifier(Config(vocabulary=20, layers=1, width=32), classes=2)
    before = copy.deepcopy(network)
    broken = my_shut(network)
    wrong_unless(broken is not None, "The function returns nothing: return the copy.")
    wrong_unless(
        isinstance(broken, nn.Module) and hasattr(broken, "trunk"),
        "It should return a classifier, the changed copy.",
    )
    wrong_unless(
        torch.equal(quarters(network), quarters(before)),
        "The network that you were given has changed too: copy it with copy.deepcopy, "
        "and change the copy.",
    )
    found, was = quarters(broken), quarters(before)
    moved = [n for n in range(4) if not torch.allclose(found[n], was[n])]
    wrong_unless(moved, "The biases are as they were: nothing is shut.")
    wrong_unless(
        moved != [0, 1, 2, 3],
        "All four quarters have changed: only the forget gate's should, [32:64].",
    )
    others = " and the ".join(QUARTERS[n] for n in moved if n != 1)
    wrong_unless(
        moved == [1],
        f"You changed the {others}; the forget gate is the second quarter, [32:64].",
    )
    highest = found[1].max().item()
    wrong_unless(found[1].min() < 5, "That holds the gate open: minus, not plus.")
    wrong_unless(
        highest < -8,
        f"A bias of {highest:.1f} leaves the gate open by "
        f"{torch.tensor(highest).sigmoid():.3f} before the word has had its say. Make "
        "it −20.",
    )
    return "The forget gate is shut, and all else is as it was. Now count its mistakes."


def states_example():
    """Outputs (3,5,4) and lengths 2, 4 and 1; behind an end stands a large number."""
    torch.manual_seed(0)
    outputs, lengths = torch.randn(3, 5, 4), torch.tensor([2, 4, 1])
    behind = torch.arange(5) >= lengths[:, None]
    return outputs.masked_fill(behind[..., None], 50.0), lengths


@exercise("01.6")
def mean_of_the_states(my_mean):
    outputs, lengths = states_example()
    found = my_mean(outputs.clone(), lengths.clone())
    wrong_unless(found is not None, "The function returns nothing: return the means.")
    found = returned(as_double(found), (3, 4), "one mean for each review")
    real = (torch.arange(5) < lengths[:, None])[..., None].double()
    states = outputs.double()
    total = (states * real).sum(1)
    one_more = (torch.arange(5) <= lengths[:, None])[..., None].double()
    one_less = (torch.arange(5) < lengths[:, None] - 1)[..., None].double()
    mistakes = [
        (states.mean(1), "That averages what is behind the end of a review as well."),
        (total, "That is the sum: divide it by the review's length."),
        (
            total / 5,
            "You divide by T for all. A short review's mean comes out too small: "
            "divide by its own length.",
        ),
        (
            (states * one_more).sum(1) / (lengths[:, None] + 1),
            "One state too many: a review of length n ends at n − 1.",
        ),
        (
            states.sum(1) / lengths[:, None],
            "The sum counts what is behind the end of a review as well.",
        ),
        (
            (states * one_less).sum(1) / (lengths[:, None] - 1),  # 0 / 0 for length 1
            "One state too few: a review of length n has the states 0 to n − 1, and "
            "the slice `[:n]` takes just these.",
        ),
        (
            states[:, : lengths.max()].mean(1),
            "You cut all reviews where the longest ends. Each has an end of its own.",
        ),
        (states[range(3), lengths - 1], "That is the last real state, not the mean."),
    ]
    not_one_of((found,), [((wrong,), said) for wrong, said in mistakes], same)
    wrong_unless(
        torch.allclose(found, total / lengths[:, None], atol=1e-5),
        "It should be the mean of the first lengths[b] states of review b.",
    )
    return "Every word now has a short way to the verdict, and so has the gradient."
