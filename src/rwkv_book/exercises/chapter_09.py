"""Exercises of chapter 9, more than one machine."""

import copy

import torch
from torch.nn.functional import cross_entropy

from rwkv_book import cost
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import NumberQuestion, result, wrong_unless
from rwkv_book.rwkv4.model import RWKV, Config

GPUS = 64
PARAMETERS = cost.rwkv_parameters(cost.RWKV4["169M"])
SENT = 2 * (GPUS - 1) / GPUS * 2 * PARAMETERS  # by one GPU, in bfloat16, in a ring

pose(
    "09.1",
    NumberQuestion(
        right=SENT,
        mistakes={
            SENT / 2: "That is half: a ring goes round twice, first to add up the "
            "parts, then to tell everybody the sums. Or did you count one byte a "
            "number?",
            SENT * 2: "That is twice as much: bfloat16 has 2 bytes a number, not 4.",
            SENT * 1.5: "Three rounds are what sharded weights take. GPUs that share "
            "only data need two: one to add up, one to tell.",
            4 * PARAMETERS: "Nearly: a GPU does not send its own part to itself. Of n "
            "parts, n - 1 travel.",
            SENT * GPUS: "That is what all GPUs send together.",
            SENT / GPUS: "Every GPU sends a part of 1/n, but n - 1 times a round.",
            8 * SENT: "Those are bits.",
            8
            * PARAMETERS: "Twice as much, and a little: bfloat16 has 2 bytes a number, "
            "and a GPU does not send its own part to itself.",
            SENT / 1e6: "In bytes, not in MB.",
            2 * PARAMETERS: "That is the size of the gradients: what travels is each "
            "part, n - 1 times in each of two rounds.",
        },
        hint="It isn't {answer:,.0f}. In bytes: two rounds, n - 1 parts each, and a "
        "part is 1/n of the gradients.",
        praise=f"{SENT / 1e6:.0f} MB a step, however many tokens the step has read. "
        "With 1,000 GPUs it would hardly be more.",
        relative=5e-3,
    ),
)

pose(
    "09.2",
    NumberQuestion(
        right=3,
        mistakes={
            0: "Without ZeRO each GPU keeps all 16 bytes of 14 billion parameters: "
            "226 GB.",
            1: "Stage 1 shares 12 of the 16 bytes, but keeps weights and gradients "
            "whole: 57 GB before anything else.",
            2: "Close. Stage 2 shares all but the weights: 28 GB of them, and 6 GB of "
            "everything else. That fits into 40, and leaves no 15 GB for activations.",
        },
        hint="It should be a stage, 0, 1, 2 or 3, and is {answer:g}. For each: what "
        "is shared by 32, what is kept whole, and is the sum below 25 GB?",
        praise="A 32nd of 226 GB: 7 GB each. No number of GPUs would have made stage 2 "
        "fit, in which each keeps 28 GB of weights.",
    ),
)


def unequal_pieces():
    """A network in double precision, and three pieces of 1, 2 and 5 sequences."""
    torch.manual_seed(9)
    network = RWKV(Config(256, 1, 8)).double()
    for weights in network.parameters():
        weights.data += 0.3 * torch.randn_like(weights)
    tokens = torch.randint(256, (8, 12))
    parts = tokens.split([1, 2, 5])
    return network, [(part[:, :-1], part[:, 1:]) for part in parts]


def gradients(network, pieces, weight):
    """The sum over pieces of weight(piece) times the gradient of its summed -ln p."""
    network = copy.deepcopy(network)
    for inputs, targets in pieces:
        logits, _ = network(inputs)
        nats = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        (weight(targets) * nats).backward()
    return flat(network)


def flat(network):
    """All gradients as one vector; zeros where there is none."""
    return torch.cat(
        [
            (torch.zeros_like(weights) if weights.grad is None else weights.grad)
            .detach()
            .flatten()
            for weights in network.parameters()
        ]
    )


def same(one, other):
    return torch.allclose(one, other, rtol=1e-6, atol=1e-9)


@exercise("09.3")
def accumulate(answer):
    """The gradient of the mean over all tokens, a piece at a time."""
    wrong_unless(callable(answer), "It should be a function of a network and pieces.")
    network, pieces = unequal_pieces()
    before = [weights.detach().clone() for weights in network.parameters()]
    read, backward = [], []
    network.head.weight.register_hook(backward.append)
    reader = network.register_forward_pre_hook(
        lambda module, inputs: read.append(len(inputs[0]))
    )
    answer(network, pieces)
    reader.remove()
    fresh, _ = unequal_pieces()
    wrong_unless(
        all(map(torch.equal, before, network.parameters())),
        "The weights have changed: leave the step to the optimizer, and return with "
        "the gradients in .grad.",
    )
    found = flat(network)
    wrong_unless(
        bool(found.any()),
        "There is no gradient in any .grad: call backward() for every piece, and "
        "empty .grad only before the first.",
    )
    wrong_unless(
        max(read) < 8,
        "All eight sequences were read at once. The point is to read one piece, go "
        "backward, and forget it.",
    )
    wrong_unless(
        len(backward) >= len(read),
        "All pieces were in memory when backward() was called: call it after each.",
    )
    everything = sum(targets.numel() for _, targets in pieces)
    last = pieces[-1:]
    result(
        found,
        gradients(fresh, pieces, lambda targets: 1 / everything),
        (
            (gradients(fresh, some, weight), sentence)
            for some, weight, sentence in (
                (
                    pieces,
                    lambda targets: 1 / targets.numel() / len(pieces),
                    "That is the mean of the pieces' means: a token of the small "
                    "piece counts five times as much as one of the large piece. "
                    "Weigh each piece by its share of the tokens.",
                ),
                (
                    pieces,
                    lambda targets: 1 / targets.numel(),
                    "That is the sum of the pieces' means: nobody has divided.",
                ),
                (
                    pieces,
                    lambda targets: 1.0,
                    f"That is the sum over all tokens: {everything} times too large. "
                    "Divide by the number of tokens of all pieces.",
                ),
                (
                    pieces,
                    lambda targets: 1 / 8,
                    "Divided by the number of sequences, not of tokens: 11 times too "
                    "large.",
                ),
                (
                    pieces,
                    lambda targets: 1 / len(pieces),
                    "Divided by the number of pieces, not by that of all tokens.",
                ),
                (
                    pieces,
                    lambda targets: 1 / everything / targets.numel(),
                    "Divided twice: by all tokens, and before that by those of the "
                    'piece. Take the sum of its -ln p, `reduction="sum"`.',
                ),
                (
                    pieces,
                    lambda targets: -1 / everything,
                    "The sign is turned: the loss is -ln p.",
                ),
                (
                    [(inputs, inputs) for inputs, _ in pieces],
                    lambda targets: 1 / everything,
                    "You asked for the byte that was just read. The next one is in "
                    "targets.",
                ),
                (
                    pieces,
                    lambda targets: 1 / everything / len(pieces),
                    "Divided twice: by all tokens, and by the number of pieces too.",
                ),
                (
                    last,
                    lambda targets: 1 / everything,
                    "Only the last piece is in .grad: zero_grad() belongs before the "
                    "first piece, not before every one.",
                ),
                (
                    last,
                    lambda targets: 1 / targets.numel(),
                    "Only the last piece is in .grad, and its mean is over its own "
                    "tokens: empty .grad before the first piece alone.",
                ),
            )
        ),
        "That is not the gradient of the mean over all tokens. Each piece's sum of "
        "-ln p, divided by the number of tokens of all pieces, goes backward.",
        same,
    )
    return (
        "The step is that of the whole batch, in the memory of its largest piece. A "
        "widely used training library got the unequal case wrong until 2024."
    )


pose(
    "09.4",
    NumberQuestion(
        right=1,
        mistakes={
            8: "That is SGD, whose step is the gradient times a rate. Adam divides by "
            "the root of the mean square of the gradients, which has grown too.",
            64: "Squares are 64 times as large, but Adam takes their root, and the "
            "gradient above it has grown 8 times.",
            8**0.5: "The root is taken of a mean of squares, 64 times as large: it is "
            "8 times as large, as is what stands above it.",
            1 / 8: "Not less far: what Adam divides by is 8 times as large, and so is "
            "what it divides.",
        },
        hint="It isn't {answer:g}. The first step is the rate times gradient / "
        "(|gradient| + ε): put 8 times the gradient into it.",
        praise="Not at all: Adam divides by the gradients' own size, so only ε could "
        "tell. SGD would go 8 times as far. And clipping hides it from both: what is "
        "longer than 1 is cut to 1, so the mistake shows up only as a gradient norm 8 "
        "times as large in the log.",
        absolute=0.02,
    ),
)
