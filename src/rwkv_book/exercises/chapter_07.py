"""Exercises of chapter 7, training."""

import math
from itertools import pairwise

import torch
from torch.nn.functional import cross_entropy

from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Wrong,
    number_of,
    result,
    wrong_unless,
)
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.training import Run
from rwkv_book.training.ablations import (
    SMALL,
    Truncated,
    gradient,
    relative_error,
)

SCHEDULE = Run(steps=100, warm_up=10, learning_rate=4e-3, final_learning_rate=1e-3)


LOSS = (3 * math.log(2) + math.log(256)) / 4

pose(
    "07.1",
    NumberQuestion(
        right=LOSS,
        mistakes={
            LOSS * 4: "That is the sum; the loss is the mean over the four bytes.",
            LOSS / math.log(2): "Those are bits, with logarithms to base 2: the loss "
            "is in nats.",
            LOSS / math.log(10): "Those are logarithms to base 10.",
            -LOSS: "The sign is turned: -ln p is positive.",
            -math.log((1.5 + 1 / 256) / 4): "You took the mean of the probabilities "
            "and then the logarithm; it is the other way round.",
            math.log(2): "The fourth byte is missing: it came, so it counts.",
            math.exp(LOSS): "That is the perplexity, e to the loss.",
        },
        hint="{answer:g} it is not: add up four times -ln p, and divide by 4.",
        praise=f"{LOSS:.2f}: one byte that was given 1/256 costs as much as eight "
        "coin tosses, and there were three others.",
        relative=5e-3,
    ),
)


def small_network():
    """A model in double precision all of whose layers do something."""
    torch.manual_seed(7)
    network = RWKV(Config(256, 2, 8)).double()
    for weights in network.parameters():
        if weights.ndim == 2:
            torch.nn.init.normal_(weights, std=0.5)
    return network


def by_piece(model, inputs, targets, through, carry=True):
    """For each piece its tokens, and the gradients of the sum of its -ln p."""
    state, found = None, []
    for piece, asked in zip(
        inputs.split(through, 1), targets.split(through, 1), strict=True
    ):
        logits, after = model(piece, state)
        state = after.detach() if carry else None
        nats = cross_entropy(logits.flatten(0, 1), asked.flatten(), reduction="sum")
        gradients = torch.autograd.grad(nats, list(model.parameters()))
        found.append((asked.numel(), gradients))
    return found


def combined(model, pieces, weight):
    """The gradients of all pieces, each times weight(its tokens): {name: tensor}."""
    names = [name for name, _ in model.named_parameters()]
    sums = [
        sum(
            weight(tokens) * gradient
            for (tokens, _), gradient in zip(pieces, of_one, strict=True)
        )
        for of_one in zip(*(gradients for _, gradients in pieces), strict=True)
    ]
    return dict(zip(names, sums, strict=True))


@exercise("07.2")
def backward_in_pieces(answer):
    """Truncated backpropagation that holds one piece in memory at a time."""
    wrong_unless(
        callable(answer), "It should be a function: model, inputs, targets, through."
    )
    tokens = torch.randint(256, (2, 23), generator=torch.Generator().manual_seed(1))
    inputs, targets, through = tokens[:, :-1], tokens[:, 1:], 5
    network = small_network()
    calls, backward = [], []
    network.embedding.register_forward_pre_hook(
        lambda module, inputs: calls.append(inputs[0].shape[1])
    )
    network.head.weight.register_hook(backward.append)
    try:
        answer(network, inputs, targets, through)
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        raise Wrong(
            "PyTorch says that it would have to go back through the graph a second "
            "time: the state still remembers how it came about. detach() it."
        ) from error
    found = {name: weights.grad for name, weights in network.named_parameters()}
    wrong_unless(
        all(grad is not None for grad in found.values()),
        "Some parameters have no gradient: call backward() for every piece.",
    )
    fresh = small_network()
    exact = gradient(Truncated(fresh, through), inputs, targets)
    mistakes = usual_gradients(fresh, inputs, targets, through)
    result(found, exact, mistakes, PIECE_BY_PIECE, same)
    wrong_unless(
        max(calls) <= through,
        f"The gradients are right, but a piece had {max(calls)} tokens: the point is "
        f"to hold {through} at a time.",
    )
    wrong_unless(
        len(backward) >= len(calls),
        "The gradients are right, but several pieces were in memory at once: call "
        "backward after each.",
    )
    return (
        f"{len(calls)} pieces, the same gradients as from one long graph, and memory "
        "for one piece."
    )


def same(found, wanted):
    return relative_error(found, wanted) < 1e-9


PIECE_BY_PIECE = (
    "The gradients differ from those of ablations.Truncated. For each piece: "
    "forward, the sum of -ln p over all tokens of the batch, backward."
)


def usual_gradients(network, inputs, targets, through):
    """The gradients that usual mistakes give, each with its sentence."""
    tokens = inputs.numel()
    pieces = by_piece(network, inputs, targets, through)
    yield (
        combined(network, pieces[-1:], lambda n: 1 / tokens),
        "Those are the gradients of the last piece alone: gradients add up, so don't "
        "set them to zero between pieces.",
    )
    apart = by_piece(network, inputs, targets, through, carry=False)
    yield (
        combined(network, apart, lambda n: 1 / tokens),
        "Each piece began with an empty state: pass the state of one to the next.",
    )
    yield (
        combined(network, pieces, lambda n: 1 / n / len(pieces)),
        "Each piece counts as much as the others, although the last one is shorter: "
        "take the sum of -ln p over a piece, divided by the tokens of all.",
    )
    yield (
        combined(network, pieces, lambda n: 1 / n),
        "You added up the means of the pieces: each should be divided by the tokens "
        "of the whole, so that together they are one mean.",
    )
    yield (
        combined(network, pieces, lambda n: 1),
        "Those are gradients of the sum of -ln p: the loss is its mean.",
    )
    yield (
        gradient(network, inputs, targets),
        "Those are the gradients of the whole text, not cut anywhere: detach() "
        "the state between pieces.",
    )


@exercise("07.3")
def trapezoid(answer):
    """Up in warm_up steps, flat, and down over the last fifth of the steps."""
    wrong_unless(callable(answer), "It should be a function of run and step.")
    run, flat = SCHEDULE, SCHEDULE.steps * 4 // 5
    rates = [number_of(answer(run, step)) for step in range(run.steps)]
    top, end = run.learning_rate, run.final_learning_rate
    wrong_unless(rates[0] != 0, "The first step has a rate of 0: it would be wasted.")
    wrong_unless(
        math.isclose(rates[0], top / run.warm_up),
        f"The first step should have 1/{run.warm_up} of the highest rate.",
    )
    wrong_unless(
        math.isclose(rates[run.warm_up - 1], top),
        "The last step of the warm-up should have the highest rate.",
    )
    wrong_unless(
        all(math.isclose(rate, top) for rate in rates[run.warm_up : flat]),
        f"From the warm-up to step {flat - 1} the rate should stay at its highest.",
    )
    wrong_unless(
        math.isclose(rates[-1], end),
        f"The last step, {run.steps - 1}, should have the final rate {end}, and has "
        f"{rates[-1]:.2g}. Steps count from 0.",
    )
    falls = [one - other for one, other in pairwise(rates[flat:])]
    wrong_unless(
        max(falls) - min(falls) < 1e-9, "The way down should be a straight line."
    )
    return (
        "Its first four fifths don't depend on where the end is: a run can go on for "
        "longer, and branch off its last fifth whenever a model is wanted."
    )


pose(
    "07.4",
    NumberQuestion(
        right=7 * SMALL.layers,
        mistakes={
            0: "Some do stay: try it, and compare the weights before and after.",
            2: "Key and value, in each of the two layers. And what is fed by them "
            "alone?",
            4: "Key and value don't move. But receptance gets its gradient through "
            "what it lets through, which is always zero.",
            6: "Now the matrices are complete. What stands before them gets its "
            "gradient through them.",
            7: "That is one layer. The model has two.",
            10: "Nearly: the norm before channel mixing learns only through it, too.",
            12: "Nearly: the norm has a weight and a bias.",
        },
        hint="{answer:g} it is not: set the matrices to zero, train some steps, and "
        "count the tensors that are equal to what they were.",
        praise="Seven a layer: the whole of channel mixing sleeps for ever, and no "
        "error says so. One zero in a pair is a beginning, if it is the right one; two "
        "are an end.",
    ),
)
