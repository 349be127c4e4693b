"""Exercises of chapter 3: what a state weighs and holds, what leaks, and two loops."""

import torch

from rwkv_book.attention import features, visible
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import NumberQuestion, result, returned, wrong_unless

SIZE = 64  # channels of a head
OTHERS = "The outputs are not those of linear attention."


pose(
    "03.1",
    NumberQuestion(
        right=33,
        mistakes={
            32: "After 32 tokens the cache has 4096 numbers, and the state has 4160.",
            SIZE: "The state has num and den: N² + N numbers.",
            SIZE + 1: "A cache holds a key and a value for each token: 2·N numbers.",
            SIZE + 2: "A cache holds a key and a value for each token: 2·N numbers.",
            SIZE**2: "Compare numbers with numbers: the cache has 2·T·N of them.",
        },
        hint="Solve 2·T·N > N² + N for T, with N = 64.",
        praise="2·33·64 = 4224 numbers, and the state has 64² + 64 = 4160 at any "
        "length.",
    ),
)
pose(
    "03.2",
    NumberQuestion(
        right=7,
        mistakes={
            0: "It does see later tokens: the sum that it may look at holds eight "
            "tokens.",
            8: "Token 0 itself is one of the eight in its stretch.",
            56: "The mask hides all sums but the first: only that one can leak.",
            63: "The mask hides all sums but the first: only that one can leak.",
        },
        hint="Which tokens are in the sum that token 0 may look at?",
        praise="Tokens 1 to 7 are in the sum that token 0 looks at.",
    ),
)


def tensors():
    """query, key, value (12,4) of one head, in double precision."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 12, 4, generator=generator, dtype=torch.float64).unbind()


def pairs(query, key, value, seen):
    """Linear attention from weights between all pairs that may see each other."""
    weights = query @ key.T * seen
    return weights @ value, weights.sum(-1, keepdim=True)


def same(found, wanted):
    """Whether two outputs are one; rows where the second has no number don't count."""
    counts = ~wanted.isnan()
    return torch.allclose(found.to(wanted)[counts], wanted[counts])


@exercise("03.3")
def brackets_moved(my_linear):
    query, key, value = tensors()
    found = returned(my_linear(query, key, value), (12, 4), "the outputs")
    phi = features(query), features(key), value
    seen = visible(12, 12)
    num, den = pairs(*phi, seen)
    raw, everything = pairs(query, key, value, seen), pairs(*phi, seen | True)
    before = pairs(*phi, seen.tril(-1))
    mistakes = [
        (num, "The weights do not sum to 1: divide by φ(query)·den."),
        (raw[0] / raw[1], "The features are missing: φ(x) = elu(x) + 1."),
        (
            everything[0] / everything[1],
            "Every token hears the last one: read the sums while you add.",
        ),
        (
            before[0] / before[1],
            "A token does not hear itself: add it to the sums, then read them.",
        ),
    ]
    result(found, num / den, mistakes, OTHERS, same)
    return "One matrix and one vector, and no token is kept."


@exercise("03.4")
def a_past_that_fades(my_fading):
    query, key, value = tensors()
    rate = 0.4  # with a half, w and 1 - w would be the same mistake
    found = returned(my_fading(query, key, value, rate), (12, 4), "the outputs")
    phi = features(query), features(key), value
    seen, t = visible(12, 12), torch.arange(12)
    age = t[:, None] - t
    num, den = pairs(*phi, seen * torch.exp(-rate * age))
    plain, grown = pairs(*phi, seen), pairs(*phi, seen * torch.exp(rate * age))
    late = pairs(*phi, seen * torch.exp(-rate * (age - 1).clamp(min=0)))
    bare, times = (pairs(*phi, seen * kept**age) for kept in (1 - rate, rate))
    mistakes = [
        (num / plain[1], "Only num fades: a token must lose weight in den, too."),
        (plain[0] / den, "Only den fades: a token must lose weight in num, too."),
        (plain[0] / plain[1], "Nothing fades: multiply the old sums by exp(-w)."),
        (grown[0] / grown[1], "The past grows: mind the decay's sign."),
        (late[0] / late[1], "The token before the newest should weigh exp(-w)."),
        (bare[0] / bare[1], "One step multiplies by exp(-w), not by 1 - w."),
        (times[0] / times[1], "One step multiplies by exp(-w), not by w."),
    ]
    result(found, num / den, mistakes, OTHERS, same)
    return "The state forgets, and a token's weight depends on its age alone."


@exercise("03.5")
def room_for_sixteen(answer):
    keys = returned(torch.as_tensor(answer).double(), (16, 16), "the keys")
    weights = features(keys) @ features(keys).T
    least = (weights.diagonal() / weights.sum(-1)).min().item()
    orthonormal = torch.allclose(keys @ keys.T, torch.eye(16, dtype=torch.float64))
    wrong_unless(
        not orthonormal,
        f"These keys are orthogonal, and their features are not: 0 becomes 1. "
        f"The least weight is {least:.2f}.",
    )
    wrong_unless(
        least >= 0.9,
        f"One token gets a weight of {least:.2f} only. Which channels of φ(k) are on? "
        "All 16 should be near 0 but one, and e⁰ is 1.",
    )
    return f"Every token is found, with a weight of {least:.4f} at least."
