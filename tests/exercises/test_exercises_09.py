"""What the checks of chapter 9 say about right answers and about the usual mistakes."""

import torch
from helpers.exercises import all_heard, of, told
from torch.nn.functional import cross_entropy

from rwkv_book.exercises import chapter_09

SENT = 4 * 63 / 64 * 169_342_464


def accumulating(divide, reduction="sum", empty_each=False, step=False, join=False):
    """accumulate() that divides each piece's loss by divide(targets, pieces)."""

    def answer(network, pieces):
        if join:
            pieces = [tuple(map(torch.cat, zip(*pieces, strict=True)))]
        for inputs, targets in pieces:
            if empty_each:
                network.zero_grad()
            logits, _ = network(inputs)
            loss = cross_entropy(
                logits.flatten(0, 1), targets.flatten(), reduction=reduction
            )
            (loss / divide(targets, pieces)).backward()
        if step:
            torch.optim.SGD(network.parameters(), lr=0.1).step()

    return answer


def all_tokens(targets, pieces):
    return sum(each.numel() for _, each in pieces)


def weighing(network, pieces):
    """Right, in another form: means, weighed by their share; it returns something."""
    for inputs, targets in pieces:
        logits, _ = network(inputs)
        share = targets.numel() / all_tokens(None, pieces)
        (cross_entropy(logits.mT, targets) * share).backward()
    return [weights.grad for weights in network.parameters()]


def of_what_was_read(network, pieces):
    accumulating(all_tokens)(network, [(inputs, inputs) for inputs, _ in pieces])


def one_backward(network, pieces):
    """Right gradients, with the graphs of all pieces in memory."""
    losses = [
        cross_entropy(network(inputs)[0].mT, targets, reduction="sum")
        for inputs, targets in pieces
    ]
    (sum(losses) / all_tokens(None, pieces)).backward()


def rescaling(network, pieces):
    """Right: sums first, divided afterwards."""
    accumulating(lambda targets, pieces: 1)(network, pieces)
    for weights in network.parameters():
        weights.grad /= all_tokens(None, pieces)


ANSWERS = [
    *of(
        "09.1",
        (SENT, "Right. 667 MB"),
        (SENT / 1e6, "not in MB"),
        (SENT / 2, "a ring goes round twice"),
        (SENT * 2, "bfloat16 has 2 bytes"),
        (SENT * 1.5, "what sharded weights take"),
        (4 * 169_342_464, "does not send its own part to itself"),
        (SENT * 64, "all GPUs send together"),
        (SENT / 64, "n - 1 times a round"),
        (2 * 169_342_464, "the size of the gradients"),
        (8 * SENT, "Those are bits"),
        (8 * 169_342_464, "Twice as much, and a little"),
        (5e8, "two rounds, n - 1 parts each"),
    ),
    *of(
        "09.2",
        (3, "Right. A 32nd of 226 GB"),
        ("3", "Right."),
        (torch.tensor(3), "Right."),
        (0, "226 GB"),
        (1, "57 GB before anything else"),
        (2, "leaves no 15 GB"),
        (4, "0, 1, 2 or 3, and is 4"),
    ),
    *of(
        "09.3",
        (accumulating(all_tokens), "Right. The step is that of the whole batch"),
        (weighing, "Right."),
        (rescaling, "Right."),
        (accumulating(lambda t, p: 3, "mean"), "the mean of the pieces' means"),
        (accumulating(lambda t, p: 1, "mean"), "nobody has divided"),
        (accumulating(lambda t, p: 1), "88 times too large"),
        (accumulating(lambda t, p: 8), "not of tokens: 11 times"),
        (accumulating(lambda t, p: 3 * 88), "Divided twice"),
        (accumulating(all_tokens, empty_each=True), "belongs before the first piece"),
        (
            accumulating(lambda t, p: 1, "mean", empty_each=True),
            "empty .grad before the first piece alone",
        ),
        (accumulating(lambda t, p: 3), "Divided by the number of pieces"),
        (accumulating(all_tokens, "mean"), "before that by those of the piece"),
        (accumulating(lambda t, p: -all_tokens(t, p)), "The sign is turned"),
        (of_what_was_read, "the byte that was just read"),
        (one_backward, "call it after each"),
        (accumulating(lambda t, p: 7), "divided by the number of tokens of all"),
        (accumulating(all_tokens, step=True), "leave the step to the optimizer"),
        (accumulating(all_tokens, join=True), "All eight sequences were read at once"),
        (lambda network, pieces: None, "no gradient in any .grad"),
        (5, "a function of a network and pieces"),
    ),
    *of(
        "09.4",
        (1, "Right. Not at all"),
        (0.9999998, "Right."),
        (8, "That is SGD"),
        (64, "takes their root"),
        (8**0.5, "a mean of squares"),
        (1 / 8, "Not less far"),
        (3, "put 8 times the gradient into it"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_09, ANSWERS)
