"""Exercises of chapter 3: what a state weighs and holds, what leaks, and two loops."""

import math

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rwkv_book.attention import features, softmax_attention, visible
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import NumberQuestion, result, returned, wrong_unless

SIZE = 64  # channels of a head
OTHERS = (
    "The outputs are not those of linear attention. Print the first one: a token that "
    "hears only itself gets its own value."
)


pose(
    "03.1",
    NumberQuestion(
        right=33,
        mistakes={
            32.5: "There it holds as many. Tokens are whole: which is the first with "
            "more?",
            32: "After 32 tokens the cache has 4096 numbers, and the state has 4160.",
            SIZE: "The state has num and den: N² + N numbers.",
            SIZE + 1: "A cache holds a key and a value for each token: 2·N numbers.",
            SIZE + 2: "A cache holds a key and a value for each token: 2·N numbers.",
            SIZE**2: "Compare numbers with numbers: the cache has 2·T·N of them.",
            SIZE**2 + SIZE: "That is what the state holds. How many tokens is it in a "
            "cache that takes 2·N numbers for each?",
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
            0: "It does see later bytes: the mean that it may look at is one of eight "
            "bytes.",
            1: "It may look at one mean. How many later bytes are in it?",
            8: "Byte 0 itself is one of the eight in its stretch.",
            56: "The mask hides all means but the first: only that one can leak.",
            63: "The mask hides all means but the first: only that one can leak.",
        },
        hint="Which bytes are in the mean that byte 0 may look at?",
        praise="Bytes 1 to 7 are in the mean that byte 0 looks at.",
    ),
)


class Work(TorchDispatchMode):
    """While it is active: `numbers` that are computed, in all, and the most `at_once`.

    What is only looked at, or put side by side, is not computed.
    """

    def __init__(self):
        super().__init__()
        self.numbers = self.at_once = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        results = operation(*arguments, **(options or {}))
        joins = operation.overloadpacket in (torch.ops.aten.cat, torch.ops.aten.stack)
        if isinstance(results, Tensor) and not operation.is_view and not joins:
            self.numbers += results.numel()
            self.at_once = max(self.at_once, results.numel())
        return results


def tensors(length=12):
    """query, key, value (T,4) of one head, in double precision."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(3, length, 4, generator=generator, dtype=torch.float64)
    return numbers.unbind()


def pairs(query, key, value, seen):
    """Linear attention from weights between all pairs that may see each other."""
    weights = query @ key.T * seen
    return weights @ value, weights.sum(-1, keepdim=True)


def same(found, wanted):
    """Whether two outputs are one; rows where the second has no number don't count."""
    counts = ~wanted.isnan()
    return torch.allclose(torch.as_tensor(found).to(wanted)[counts], wanted[counts])


def slips(query, key, value, seen):
    """The mistakes of a loop with two sums, and what each gives; `seen` is what a token
    weighs by its age."""
    phi_q, phi_k = features(query), features(key)
    num, den = pairs(phi_q, phi_k, value, seen)
    turned = pairs(phi_q, value, phi_k, seen)[0]
    scaled = pairs(features(query / 2), phi_k, value, seen)
    plain_query, plain_key, plain = (
        pairs(q, k, value, seen)
        for q, k in ((query, phi_k), (phi_q, key), (query, key))
    )
    older = pairs(phi_q, phi_k, value, seen.tril(-1))
    everything = pairs(phi_q, phi_k, value, torch.ones(len(key), len(key)))
    all_keys = (seen @ phi_k).sum(-1, keepdim=True)
    alone = pairs(*(phi - 1 for phi in (phi_q, phi_k)), value, seen)
    softmax = softmax_attention(query, key, value, causal=True)
    return [
        (num, "The weights do not sum to 1: divide by φ(query)·den."),
        (
            num / all_keys,
            "No query below the line: divide by φ(query)·den.",
        ),
        (
            num / seen.sum(-1, keepdim=True),
            "den is no count of tokens: it is the sum of φ(key), and meets φ(query).",
        ),
        (
            seen @ (phi_k * value) / (seen @ phi_k),
            "Each channel goes its own way: num is a matrix, a sum of outer(φ(key), "
            "value), and φ(query) meets it.",
        ),
        (
            turned / den,
            "num is the wrong way round: for φ(query) @ num, it takes outer(φ(key), "
            "value), with the key first.",
        ),
        (
            plain_query[0] / plain_query[1],
            "The query needs features, too: φ(query).",
        ),
        (plain_key[0] / plain_key[1], "The key needs its features, too: φ(key)."),
        (
            plain_query[0] / den,
            "Above the line the query is bare, below it is φ(query): it takes φ twice.",
        ),
        (alone[0] / alone[1], "φ(x) is elu(x) + 1, and the 1 is missing."),
        (plain[0] / plain[1], "The features are missing: φ(x) = elu(x) + 1."),
        (
            scaled[0] / scaled[1],
            "Nothing is divided by √N here: φ(query) alone.",
        ),
        (
            everything[0] / everything[1],
            "Every token hears the last one: read the sums while you add.",
        ),
        (
            older[0] / older[1],
            "A token does not hear itself: add it to the sums, then read them.",
        ),
        (softmax, "That is softmax attention: a weight here is φ(query)·φ(key)."),
    ]


def look_back(function, *more):
    """Wrong for a function whose outputs are right and whose work grows with T²."""
    few, many = Work(), Work()
    with few:
        function(*tensors(200), *more)
    with many:
        function(*tensors(400), *more)
    wrong_unless(
        many.at_once < 400**2,
        "The outputs are right, but they come from a T×T matrix of weights, which "
        "moving the brackets avoids. Go through the tokens once, with num and den.",
    )
    times = many.numbers / max(1, few.numbers)
    wrong_unless(
        times < 2.6,
        f"The outputs are right, but twice as many tokens take {times:.1f} times the "
        "work: some line goes through all the tokens at every step. What is in num and "
        "den need not be looked at again.",
    )


@exercise("03.3")
def brackets_moved(my_linear):
    query, key, value = tensors()
    found = returned(my_linear(query, key, value), (12, 4), "the outputs")
    seen = visible(12, 12).double()
    num, den = pairs(features(query), features(key), value, seen)
    result(found, num / den, slips(query, key, value, seen), OTHERS, same)
    look_back(my_linear)
    return "One matrix and one vector hold all that a token needs of the past."


@exercise("03.4")
def a_past_that_fades(my_fading):
    query, key, value = tensors()
    rate = 0.4  # with a half, w and 1 - w would be the same mistake
    found = returned(my_fading(query, key, value, rate), (12, 4), "the outputs")
    phi = features(query), features(key), value
    seen, t = visible(12, 12), torch.arange(12)
    age = (t[:, None] - t).double()
    fading = seen * torch.exp(-rate * age)
    num, den = pairs(*phi, fading)
    plain, grown = pairs(*phi, seen), pairs(*phi, seen * torch.exp(rate * age))
    late = pairs(*phi, seen * torch.exp(-rate * (age - 1).clamp(min=0)))
    passed = t * (t + 1) / 2  # 1 + 2 + ... + t: the steps of a rate that grows with t
    faster = pairs(*phi, seen * torch.exp(-rate * (passed[:, None] - passed)))
    twice = torch.tensor(rate).exp()  # as if the file's logarithm had come
    bare, times, rated = (
        pairs(*phi, seen * kept**age) for kept in (1 - rate, rate, torch.exp(-twice))
    )
    mistakes = [
        (num / plain[1], "Only num fades: a token must lose weight in den, too."),
        (plain[0] / den, "Only den fades: a token must lose weight in num, too."),
        (plain[0] / plain[1], "Nothing fades: multiply the old sums by exp(-w)."),
        (grown[0] / grown[1], "The past grows: mind the decay's sign."),
        (
            faster[0] / faster[1],
            "The past fades faster and faster: every step multiplies by the same "
            "exp(-w), and the ages come by themselves.",
        ),
        (
            (1 - math.exp(-rate)) * num / den,
            "The newest token counts in full, in num as well: nothing multiplies it.",
        ),
        (late[0] / late[1], "The token before the newest should weigh exp(-w)."),
        (bare[0] / bare[1], "One step multiplies by exp(-w), not by 1 - w."),
        (times[0] / times[1], "One step multiplies by exp(-w), not by w."),
        (rated[0] / rated[1], "w is the decay rate itself: exp(-w), not exp(-exp(w))."),
    ]
    mistakes += slips(query, key, value, fading)
    result(found, num / den, mistakes, OTHERS, same)
    look_back(my_fading, 0.01)
    return "The state forgets, and a token fades with its age alone."


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
        f"One token gets a weight of only {least:.2f}. Which channels of φ(k) are on? "
        "Of the 16, all but one should be near 0, and e⁰ is 1.",
    )
    return f"Every token is found, with a weight of {least:.4f} at least."
