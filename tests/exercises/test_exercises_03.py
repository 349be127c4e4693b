"""What the checks of chapter 3 say about right answers and about the usual mistakes."""

import math

import torch
from helpers.exercises import all_heard, of, told

from rwkv_book.attention import features
from rwkv_book.exercises import chapter_03


def loop(phi=features, divided=True, late=False, keep_num=1.0, keep_den=1.0, again=1.0):
    """Masked linear attention; its options are the usual mistakes."""

    def my_loop(query, key, value, decay_rate=0.0):
        query, key = phi(query), phi(key)
        num, den = torch.zeros(4, 4).to(key), torch.zeros(4).to(key)
        out = []
        for q, k, v in zip(query, key, value, strict=True):
            fade_num = math.exp(-keep_num * decay_rate)
            fade_den = math.exp(-keep_den * decay_rate)
            before = num, den
            num, den = fade_num * num + torch.outer(k, v), fade_den * den + k
            read_num, read_den = before if late else (num, den)
            out.append(q @ read_num / (q @ read_den if divided else 1))
        return again * torch.stack(out)

    return my_loop


def all_at_once(query, key, value):
    query, key = features(query), features(key)
    return query @ (key.T @ value) / (query @ key.sum(0))[:, None]


def one_step_late(query, key, value, decay_rate):
    """The token before the newest has not faded yet."""
    query, key = features(query), features(key)
    num, den, out = 0, 0, []
    for q, k, v in zip(query, key, value, strict=True):
        here = num + torch.outer(k, v), den + k
        out.append(q @ here[0] / (q @ here[1]))
        fade = math.exp(-decay_rate)
        num, den = fade * num + torch.outer(k, v), fade * den + k
    return torch.stack(out)


ANSWERS = [
    *of(
        "03.1",
        (33, "Right."),
        (32, "4096 numbers"),
        (64, "num and den"),
        (65, "a key and a value"),
        (66, "a key and a value"),
        (4096, "numbers with numbers"),
        (40, "Solve"),
        ("many", "should be a number"),
    ),
    *of(
        "03.2",
        (7, "Right."),
        (0, "does see later tokens"),
        (8, "Token 0 itself"),
        (56, "hides all sums but the first"),
        (63, "hides all sums but the first"),
        (3, "Which tokens"),
    ),
    *of(
        "03.3",
        (loop(), "Right."),
        (loop(divided=False), "do not sum to 1"),
        (loop(phi=lambda x: x), "features are missing"),
        (all_at_once, "hears the last one"),
        (loop(late=True), "does not hear itself"),
        (loop(again=2), "not those of linear attention"),
        (lambda *_: torch.zeros(3, 4), "returns shape (3, 4)"),
        (lambda *_: None, "returns nothing"),
        (lambda query, key: query, "raised TypeError"),
    ),
    *of(
        "03.4",
        (loop(), "Right."),
        (loop(keep_den=0), "Only num fades"),
        (loop(keep_num=0), "Only den fades"),
        (loop(keep_num=0, keep_den=0), "Nothing fades"),
        (loop(keep_num=-1, keep_den=-1), "The past grows"),
        (one_step_late, "before the newest"),
        (lambda q, k, v, w: loop()(q, k, v, -math.log(1 - w)), "not by 1 - w"),
        (lambda q, k, v, w: loop()(q, k, v, -math.log(w)), "not by w"),
        (loop(again=2), "not those of linear attention"),
    ),
    *of(
        "03.5",
        (9 * (2 * torch.eye(16) - 1), "Right."),
        ((9 * (2 * torch.eye(16) - 1)).tolist(), "Right."),
        (torch.eye(16), "orthogonal, and their features are not"),
        (torch.zeros(16, 16), "weight of 0.06"),
        (5 * torch.eye(16) - 5, "should be near 0 but one"),
        (torch.eye(17), "returns shape (17, 17)"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_03, ANSWERS)
