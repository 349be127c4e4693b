"""What the checks of chapter 16 say about right answers and the usual mistakes."""

import numpy as np
import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_16
from rwkv_book.family import members
from rwkv_book.family.suffixes import followed


def my_kimi(log_decay, key, value, rate):
    return -np.exp(log_decay) * key, rate * key, rate * value


def other_sign(log_decay, key, value, rate):
    return np.exp(log_decay) * key, -rate * key, rate * value


def rate_in_remove(log_decay, key, value, rate):
    return -rate * np.exp(log_decay) * key, key, rate * value


def with_tensors(log_decay, key, value, rate):
    log_decay, key, value = map(torch.tensor, (log_decay, key, value))
    return -log_decay.exp() * key, rate * key, rate * value


def handing(remove, replace=lambda d, k, b: b * k, written=lambda v, b: b * v):
    """A my_kimi of other parts: remove and replace of decay, key and rate."""

    def kimi(log_decay, key, value, rate):
        decay = np.exp(log_decay)
        return (
            remove(decay, key, rate),
            replace(decay, key, rate),
            written(value, rate),
        )

    return kimi


def right_remove(decay, key, rate):
    return -decay * key


def my_said(text):
    return followed(text)[-1][0]


def looking(text, find=str.rfind, shortest=False):
    lengths = range(1, len(text)) if shortest else range(len(text) - 1, 0, -1)
    for length in lengths:
        at = find(text, text[-length:], 0, len(text) - 1)
        if at >= 0:
            return text[at + length]
    return None


def onwards(text, skip=True):
    """All that followed the longest ending, or that ending."""
    for length in range(len(text) - 1, 0, -1):
        at = text.rfind(text[-length:], 0, -1)
        if at >= 0:
            return text[at + length :] if skip else text[-length:]
    return None


def contrary(count=30):
    """A text that never does what the automaton says."""
    text = "a"
    while len(text) < count:
        text += "a" if followed(text)[-1][0] == "b" else "b"
    return text


def frequent(text):
    return max(sorted(set(text)), key=text.count)


ANSWERS = [
    *of(
        "16.1",
        (-0.6, "Right."),
        (0.8 * (1 - 1.75), "Right."),
        (-0.75, "fades as well"),
        (0.8, "is the largest"),
        (-1.4, "1 - b of it is left"),
        (-0.95, "a multiplies b"),
        (0.6, "Mind the sign"),
        (0.2, "rate of 0.75"),
        (-0.4, "multiplied by a too"),
        (5, "Along the key a row"),
    ),
    *of(
        "16.2",
        ("Gated DeltaNet", "Right."),
        ("gated deltanet", "Right."),
        ("DeltaNet", "no decay"),
        ("Kimi Delta Attention", "one number for each key"),
        ("Mamba-2", "takes nothing out"),
        ("RWKV-7", "before it fades"),
        ("Comba", "key of its own"),
        ("Gated DeltaNet-2", "two gates"),
        ("DeltaProduct", "several times"),
        ("GLA", "GLA takes nothing out"),
        ("Gated Linear Attention", "It takes nothing out"),
        ("RetNet", "always the same"),
        ("RWKV-6", "RWKV-4 to 6"),
        ("the delta rule", "What fades"),
        ("delta rule", "Which member fades first"),
        ("transformer", "What fades"),
        (7, "a name, as a text"),
    ),
    *of(
        "16.3",
        (my_kimi, "Right."),
        (other_sign, "Right."),
        (rate_in_remove, "Right."),
        (with_tensors, "Right."),
        (lambda *_: None, "returns nothing"),
        (lambda *_: 3, "three arrays"),
        (handing(lambda d, k, b: 1.0), "remove"),
        (handing(right_remove, replace=lambda d, k, b: k[:2]), "replace"),
        (handing(right_remove, written=lambda v, b: v[:1]), "what is written"),
        (handing(lambda d, k, b: -k), "before it fades"),
        (handing(lambda d, k, b: d * k), "needs a minus"),
        (handing(lambda d, k, b: -np.log(d) * k), "the logarithm"),
        (handing(lambda d, k, b: -k / d), "makes it grow"),
        (handing(right_remove, replace=lambda d, k, b: k), "the rate is missing"),
        (handing(right_remove, replace=lambda d, k, b: b * b * k), "there twice"),
        (handing(right_remove, written=lambda v, b: v), "comes in full"),
        (handing(right_remove, replace=lambda d, k, b: b * d * k), "and in replace"),
        (handing(lambda d, k, b: -k, replace=lambda d, k, b: b * d * k), "into remove"),
        (handing(lambda d, k, b: 0 * k), "Nothing is taken out"),
        (handing(lambda d, k, b: 7 * k), "Begin with a rate of 1"),
    ),
    *of(
        "16.4",
        (my_said, "Right."),
        (looking, "Right."),
        (lambda text: None, "says nothing"),
        (lambda text: looking(text, find=str.find), "the first time"),
        (lambda text: looking(text, shortest=True), "the shortest ending"),
        (onwards, "one letter is enough"),
        (lambda text: onwards(text, skip=False), "the ending itself"),
        (lambda text: text[-1], "the last letter itself"),
        (lambda text: frequent(text), "the most frequent letter"),
        (lambda text: "?", "it should say"),
        (lambda text: looking(text) or " ", "was never there"),
    ),
    *of(
        "16.5",
        (contrary(), "Right."),
        ("ab" * 15, "It foretells letter"),
        ("aabb", "make it 30"),
        ("abcdefghijklmnopqrstuvwxyzabcd", "Only the letters"),
        (30, "should be a text"),
    ),
    *of(
        "16.6",
        (19, "Right."),
        (18, "chapter 13"),
        (12, "how many have none"),
        (11, "Those have one"),
        (30, "all of them"),
        (7, "Five decays"),
    ),
]

test_answers = told(ANSWERS)
test_every_sentence_is_heard = all_heard(chapter_16, ANSWERS)


def test_what_16_1_asks_is_what_a_member_does():
    """One step of Gated DeltaNet in two channels, a = 0.8 and b = 1.75."""
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    key = torch.tensor([[[[0.6, 0.8]]]], dtype=torch.float64)
    table = torch.eye(2, dtype=torch.float64)[None, None]
    decay, rate = (0.8 * one).log(), 1.75 * one
    _, step = members.gated_delta_net(key, key, 0 * key, decay, rate, state=table)
    found = torch.linalg.eigvalsh(step[0, 0])
    torch.testing.assert_close(found, torch.tensor([-0.6, 0.8]).double())
