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
OTHER_SCHEDULE = Run(steps=50, warm_up=4, learning_rate=1e-2, final_learning_rate=2e-3)
LOSS = (3 * math.log(2) + math.log(256)) / 4
SLACK = 1e-5  # of a rate, which may be in single precision
OUR_GRADIENT = 1_240.0  # the length of the first one of ablations.SMALL
LONGEST_GRADIENT = 7_340.0  # with an embedding of almost nothing

pose(
    "07.1",
    NumberQuestion(
        right=LOSS,
        mistakes={
            LOSS * 4: "That is the sum of the four losses. The loss of a text is their "
            "mean.",
            LOSS / math.log(2): "Those are bits, from logarithms to base 2. Nats take "
            "the natural logarithm.",
            LOSS / math.log(10): "Those are logarithms to base 10. Nats take the "
            "natural logarithm.",
            -LOSS: "The sign is wrong: a probability below 1 has a negative logarithm, "
            "and the loss is -ln p.",
            -math.log((1.5 + 1 / 256) / 4): "You averaged the probabilities and took "
            "the logarithm at the end. Take -ln of each one first, then average.",
            math.log(2): "The fourth byte is missing. It came, so it counts.",
            math.log(256): "That is the loss of the fourth byte alone.",
            (math.log(2) + math.log(256))
            / 2: "A probability of ½ came three times, so it counts three times.",
            math.log(256) / 4: "You let the first three off. A byte that was given ½ "
            "still costs ln 2.",
            math.exp(LOSS): "That is the perplexity, e to the loss.",
            math.exp(-LOSS): "That is e to the minus loss, a typical probability. Take "
            "its -ln.",
            math.exp(-4 * LOSS): "That is the probability of all four together. Take "
            "its -ln, and share it among the four.",
        },
        hint="{answer:g} isn't it. Add up four times -ln p, and divide by 4.",
        praise=f"{LOSS:.2f}: the one byte that was given 1/256 costs as much as eight "
        "coin tosses, and there were three more besides.",
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
    before = [weights.detach().clone() for weights in network.parameters()]
    calls, backward = [], []
    network.embedding.register_forward_pre_hook(
        lambda module, inputs: calls.append(inputs[0].shape[1])
    )
    network.head.weight.register_hook(backward.append)
    try:
        answer(network, inputs, targets, through)
    except RuntimeError as error:
        reason = next((told for said, told in REFUSED.items() if said in str(error)), 0)
        if not reason:
            raise
        raise Wrong(reason) from error
    wrong_unless(calls, "The model was never called.")
    wrong_unless(
        all(map(torch.equal, before, network.parameters())),
        "The weights have changed: leave the step to the optimizer, and return with "
        "the gradients in .grad.",
    )
    found = {name: weights.grad for name, weights in network.named_parameters()}
    wrong_unless(
        all(grad is not None for grad in found.values()),
        "Some parameters have no gradient. Call backward() for every piece, and leave "
        "what it finds in .grad.",
    )
    fresh = small_network()
    exact = gradient(Truncated(fresh, through), inputs, targets)
    mistakes = usual_gradients(fresh, inputs, targets, through)
    too_long = (
        f"a piece had {max(calls)} tokens, and the point is to hold {through} at a "
        "time."
    )
    hint = PIECE_BY_PIECE if max(calls) <= through else f"Not so: {too_long}"
    result(found, exact, mistakes, hint, same)
    wrong_unless(max(calls) <= through, f"The gradients are right, but {too_long}")
    wrong_unless(
        len(backward) >= len(calls),
        "The gradients are right, but several pieces were in memory at once: call "
        "backward() after each.",
    )
    return (
        f"{len(calls)} pieces, the same gradients as from one long graph, and memory "
        "for only one piece at a time."
    )


REFUSED = {
    "second time": "PyTorch complains that it would have to go back through the graph "
    "a second time: the state still remembers how it came about. detach() it.",
    "does not require grad": "What you call backward() on has no history. Detach the "
    "state that goes into the next piece, and nothing else.",
}


def same(found, wanted):
    return relative_error(found, wanted) < 1e-9


PIECE_BY_PIECE = (
    "The gradients differ from those of ablations.Truncated. For each piece: forward, "
    "the sum of its -ln p divided by the tokens of the whole batch, backward."
)


def usual_gradients(network, inputs, targets, through):
    """The gradients that usual mistakes give, each with its sentence."""
    tokens = inputs.numel()
    pieces = by_piece(network, inputs, targets, through)
    yield (
        combined(network, pieces[-1:], lambda n: 1 / tokens),
        "Those are the gradients of the last piece alone. Gradients add up by "
        "themselves, so don't set them to zero between pieces.",
    )
    yield (
        combined(network, pieces[:-1], lambda n: 1 / tokens),
        "The last piece is missing: it is shorter than the others, and it counts.",
    )
    apart = by_piece(network, inputs, targets, through, carry=False)
    yield (
        combined(network, apart, lambda n: 1 / tokens),
        "Each piece began with an empty state. Pass the state of one to the next.",
    )
    yield (
        combined(network, pieces, lambda n: 1 / n / len(pieces)),
        "Each piece counts as much as the others, although the last one is shorter. "
        "Take the sum of -ln p over a piece, and divide by the tokens of all pieces.",
    )
    yield (
        combined(network, pieces, lambda n: 1 / n),
        "You added up the means of the pieces. Divide each by the tokens of the whole "
        "text, so that together they make one mean.",
    )
    yield (
        combined(network, pieces, lambda n: 1 / inputs.shape[1]),
        "You divided by the tokens of one text. The mean is over all texts of the "
        "batch.",
    )
    yield (
        combined(network, pieces, lambda n: 1 / n / tokens),
        "Divided twice: `cross_entropy` has divided by the tokens of a piece already. "
        'Take the sum, `reduction="sum"`.',
    )
    yield (
        combined(network, pieces, lambda n: -1 / tokens),
        "The sign is turned: the loss is -ln p.",
    )
    yield (
        combined(network, pieces, lambda n: 1),
        "Those are gradients of the sum of -ln p. The loss is its mean.",
    )
    yield (
        combined(
            network, by_piece(network, inputs, inputs, through), lambda n: 1 / tokens
        ),
        "You asked for the byte that was just read. The next one is in targets.",
    )
    yield (
        gradient(network, inputs, targets),
        "Those are the gradients of the whole text, not cut anywhere. Cut along time, "
        "`split(through, 1)`, and detach() the state between pieces.",
    )


@exercise("07.3")
def trapezoid(answer):
    """Up in warm_up steps, flat, and down over the last fifth of the steps."""
    wrong_unless(callable(answer), "It should be a function of run and step.")
    for run in (SCHEDULE, OTHER_SCHEDULE):
        check_rates(run, [number_of(answer(run, step)) for step in range(run.steps)])
    return (
        "Its first four fifths don't depend on where the end is. A run can go on for "
        "longer, and branch off its last fifth whenever a model is wanted."
    )


def check_rates(run, rates):
    """Wrong, unless they are those of a trapezoid: from its first step to its last."""
    flat, last = run.steps * 4 // 5, run.steps - 1
    top, end = run.learning_rate, run.final_learning_rate
    setting = f"For a run of {run.steps} steps with a warm-up of {run.warm_up}"
    wrong_unless(
        rates[0] != 0, "The first step has a rate of 0, so it does nothing at all."
    )
    wrong_unless(
        not math.isclose(rates[0], 1 / run.warm_up, rel_tol=SLACK),
        "Those are factors from 0 to 1: multiply them by the highest rate.",
    )
    wrong_unless(
        math.isclose(rates[0], top / run.warm_up, rel_tol=SLACK),
        f"{setting}, the first step should have 1/{run.warm_up} of the highest rate.",
    )
    wrong_unless(
        math.isclose(rates[run.warm_up - 1], top, rel_tol=SLACK),
        f"{setting}, step {run.warm_up - 1} should have the highest rate.",
    )
    lower = next(
        (n for n in range(run.warm_up, run.steps) if rates[n] < top * (1 - SLACK)), None
    )
    wrong_unless(
        max(rates) <= top * (1 + SLACK),
        f"At step {rates.index(max(rates))} the rate is above the highest. What has to "
        "fall is the difference between the highest rate and the final one.",
    )
    wrong_unless(
        lower is not None,
        "The rate never falls. The last fifth of the steps should bring it down.",
    )
    wrong_unless(
        lower >= flat,
        f"{setting}, the rate should stay at its highest until step {flat - 1}, and it "
        f"falls at step {lower}.",
    )
    wrong_unless(
        lower <= flat + 1,
        f"{setting}, the way down should begin at step {flat}, and at step {lower - 1} "
        "the rate is still the highest. Four fifths are counted from the first step of "
        "all, warm-up included.",
    )
    wrong_unless(
        not math.isclose(rates[-1], 0, abs_tol=1e-9),
        f"It comes down to 0, and should come down to {end}.",
    )
    wrong_unless(
        math.isclose(rates[-1], end, rel_tol=SLACK),
        f"The last step, {last}, should have the final rate {end}, and has "
        f"{rates[-1]:.2g}. Steps count from 0.",
    )
    middle = rates[(flat + last) // 2]
    falls = [one - other for one, other in pairwise(rates[flat:])]
    wrong_unless(
        top - rates[flat] <= max(falls) + SLACK * top,
        f"At step {flat} the rate jumps from {top:g} down to {rates[flat]:.2g}: it "
        "should go down in a straight line from there.",
    )
    wrong_unless(
        max(falls) - min(falls) < SLACK * top,
        "The way down should be a straight line: the rate should fall by as much in "
        f"each step. Half-way, at step {(flat + last) // 2}, yours is {middle:.2g}.",
    )


pose(
    "07.4",
    NumberQuestion(
        right=7 * SMALL.layers,
        mistakes={
            0: "Some do stay. Compare the weights before and after.",
            2: "Key and value in one layer, or one of them in both: and what gets its "
            "gradient only through them?",
            4: "Key and value don't move in either layer. Nor does the receptance: it "
            "scales what they produce, and that is always zero.",
            6: "Those are the matrices. The mixes and the norm before them get their "
            "gradient only through the matrices.",
            7: "That is one layer. The model has two.",
            10: "Nearly. The norm before channel mixing learns only through it, too.",
            12: "Nearly. The norm has a weight and a bias, and both stay.",
            28: "Those are the ones that move.",
            42: "That is all of them. The embedding, the head and time mixing do move.",
        },
        hint="{answer:g} isn't it. Set the matrices to zero, train a few steps, and "
        "count the tensors that still equal what they were.",
        praise="Seven a layer: the whole of channel mixing sleeps forever, and no "
        "error says so. One zero in a pair is a beginning, if it is the right one. Two "
        "are the end.",
    ),
)

pose(
    "07.5",
    NumberQuestion(
        right=LONGEST_GRADIENT,
        mistakes={
            OUR_GRADIENT: "That is ours, within 0.0001. Make the rows smaller.",
            10 * OUR_GRADIENT: "That would be so if ten times smaller always meant "
            "ten times longer. Measure it.",
            100 * OUR_GRADIENT: "That would be so if ten times smaller always meant "
            "ten times longer. Measure it.",
            6350.0: "That is for rows within 0.00001. Go on: it still grows a little.",
            126.0: "That is for rows within 0.001, which are larger than ours.",
        },
        hint="{answer:g} isn't it. Multiply fresh.embedding.weight by 1/10, 1/100, "
        "1/1,000 and look at ablations.norm(ablations.gradient(...).values()).",
        praise="About 7,300, however small the rows: below 0.00001 the ε of the norms "
        "is larger than the rows' own size, so their direction no longer counts alone.",
        relative=0.05,
    ),
)
