"""What the checks of chapter 15 say about right answers and the usual mistakes."""

import numpy as np
import torch
from helpers.exercises import all_heard, of, told

from rwkv_book import readers
from rwkv_book.exercises import chapter_15

NUMBERS = 12 * 12 * 64 * 64
C = 4 * (2000 + 30 * 100)
S = 30 * 66 * 4


def my_standard(x, other):
    mean, deviation = x.mean(0), x.std(0)
    deviation[deviation == 0] = 1
    return (x - mean) / deviation, (other - mean) / deviation


def by_n_minus_one(x, other):
    mean, deviation = x.mean(0), x.std(0, ddof=1)
    deviation[deviation == 0] = 1
    return [(x - mean) / deviation, (other - mean) / deviation]


def by_variance(x, other):
    mean, variance = x.mean(0), x.std(0) ** 2
    variance[variance == 0] = 1
    return (x - mean) / variance, (other - mean) / variance


def with_tensors(x, other):
    return tuple(map(torch.tensor, my_standard(x, other)))


def together(x, other):
    both = np.concatenate([x, other])
    return my_standard(both, x)[1], my_standard(both, other)[1]


def one_by_one(network, state, questions):
    answers = [network(torch.tensor([q]), state)[0][0, -1] for q in questions]
    return torch.stack(answers)


def one_after_the_other(network, state, questions):
    answers = []
    for question in questions:
        logits, state = network(torch.tensor([question]), state)
        answers.append(logits[0, -1])
    return answers


def in_place(network, state, questions):
    answers = one_by_one(network, state, questions)
    state += 1
    return answers


def filled(network, state, questions, ahead):
    longest = max(map(len, questions))
    rows = []
    for q in questions:
        zeros = [0] * (longest - len(q))
        rows.append(zeros + q if ahead else q + zeros)
    return network(torch.tensor(rows), state.repeat(len(rows), 1, 1, 1))[0][:, -1]


def cut(network, state, questions):
    rows = torch.tensor([q[:2] for q in questions])
    return network(rows, state.repeat(len(rows), 1, 1, 1))[0][:, -1]


OWN, NONE, SIX, FIVE = "its own", "none", "of an RWKV-6", "of an RWKV-5"

ANSWERS = [
    *of(
        "15.1",
        (2 * NUMBERS, "Right. 1,179,648 bytes"),
        ("1,179,648", "Right."),
        (NUMBERS, "A bfloat16 takes two bytes"),
        (4 * NUMBERS, "That is float32"),
        (1152, "Those are KiB"),
        (2 * 12 * 66 * 768, "are not trained"),
        (2 * 64 * 768, "one head of each layer"),
        (2 * 12 * 768 * 768, "each head has its own"),
        (1000, "C / N tables"),
    ),
    *of(
        "15.2",
        (C / S, "Right. 5,000 tokens are kept"),
        (2.5, "Right."),
        (30 * 2100 * 4 / S, "each with a copy of the prompt"),
        (2000 * 4 / S, "the prompt alone"),
        (2100 * 4 / S, "not all of them together"),
        (2 * C / S, "two bytes a number"),
        (C / S / 2, "two rows of C"),
        (S / C, "the other way round"),
        (C / 600, "RWKV-4's state"),
        (C / (30 * 64 * 4), "Two rows are missing"),
        (7, "Per layer and channel"),
    ),
    *of(
        "15.3",
        (my_standard, "Right."),
        (by_n_minus_one, "Right."),
        (with_tensors, "Right."),
        (lambda x, other: my_standard(x, other)[0], "Return two arrays"),
        (lambda x, other: None, "Return two arrays"),
        (lambda x, other: (my_standard(x, other)[0],) * 2, "returns shape (40, 4)"),
        (
            lambda x, other: (
                (x - x.mean(0)) / x.std(0),
                (other - x.mean(0)) / x.std(0),
            ),
            "NaN or infinity",
        ),
        (
            lambda x, other: (my_standard(x, x)[0], my_standard(other, other)[0]),
            "by their own mean",
        ),
        (together, "has leaked"),
        (
            lambda x, other: ((x - x.mean()) / x.std(), (other - x.mean()) / x.std()),
            "drown the quiet",
        ),
        (lambda x, other: (x - x.mean(0), other - x.mean(0)), "not yet 1"),
        (by_variance, "by the variance"),
        (
            lambda x, other: [my_standard(y.T, y.T)[0].T for y in (x, other)],
            "by itself",
        ),
        (lambda x, other: (x, other), "should have mean 0"),
    ),
    *of(
        "15.4",
        (one_by_one, "Right."),
        (lambda n, s, q: readers.read_each(n, q, s)[0], "Right."),
        (lambda n, s, q: list(one_by_one(n, s, q)), "Right."),
        (one_after_the_other, "hears those who asked before"),
        (in_place, "spoiled"),
        (lambda n, s, q: filled(n, s, q, ahead=False), "behind their end"),
        (lambda n, s, q: filled(n, s, q, ahead=True), "padded in front"),
        (lambda n, s, q: readers.read_each(n, q)[0], "The prompt is missing"),
        (
            lambda n, s, q: one_by_one(n, s, sorted(q, key=len)),
            "in the order of their lengths",
        ),
        (lambda n, s, q: one_by_one(n, s, q).softmax(1), "Those are probabilities"),
        (lambda n, s, q: one_by_one(n, s, [x[:1] for x in q]), "the first token"),
        (cut, "cut to the length of the shortest"),
        (lambda n, s, q: 2 * one_by_one(n, s, q), "this question alone"),
        (lambda n, s, q: None, "returns nothing"),
        (lambda n, s, q: one_by_one(n, s, q)[:2], "returns shape (2, 11)"),
    ),
    *of(
        "15.5",
        ([OWN, NONE, SIX, FIVE], "Right."),
        ([OWN, SIX, FIVE, NONE], "Measure it"),
        ([FIVE, SIX, NONE, OWN], "Turn it round"),
        ([OWN, SIX, NONE, FIVE], "nearer relative"),
        ([OWN, NONE, FIVE, SIX], "which of the two relatives"),
        ([NONE, OWN, SIX, FIVE], "2 of 4 are in place"),
        ([OWN], "each of these names once"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_15, ANSWERS)
