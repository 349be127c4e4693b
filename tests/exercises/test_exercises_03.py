"""What the checks of chapter 3 say about right answers and about the usual mistakes."""

import math

import pytest
import torch

from rwkv_book.attention import features
from rwkv_book.exercises import diagnose


@pytest.mark.parametrize(("number", "answer"), [("03.1", 33), ("03.2", 7)])
def test_a_right_number_is_right(number, answer):
    assert diagnose(number, answer).startswith("Right.")


@pytest.mark.parametrize(
    ("number", "answer", "sentence"),
    [
        ("03.1", 32, "4096 numbers"),
        ("03.1", 64, "num and den"),
        ("03.1", 65, "a key and a value"),
        ("03.1", 66, "a key and a value"),
        ("03.1", 4096, "numbers with numbers"),
        ("03.1", 40, "Solve"),
        ("03.1", "many", "should be a number"),
        ("03.2", 0, "does see later tokens"),
        ("03.2", 8, "Token 0 itself"),
        ("03.2", 56, "hides all sums but the first"),
        ("03.2", 63, "hides all sums but the first"),
        ("03.2", 3, "Which tokens"),
    ],
)
def test_a_usual_mistake_is_named(number, answer, sentence):
    found = diagnose(number, answer)
    assert found.startswith("Not yet.") and sentence in found


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


def test_a_loop_that_is_right_is_right():
    assert diagnose("03.3", loop()).startswith("Right.")
    assert diagnose("03.4", loop()).startswith("Right.")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (loop(divided=False), "do not sum to 1"),
        (loop(phi=lambda x: x), "features are missing"),
        (all_at_once, "hears the last one"),
        (loop(late=True), "does not hear itself"),
        (loop(again=2), "not those of linear attention"),
        (lambda *_: torch.zeros(3, 4), "returns shape (3, 4)"),
        (lambda *_: None, "returns nothing"),
        (lambda query, key: query, "raised TypeError"),
    ],
)
def test_a_usual_mistake_in_the_loop_is_named(answer, sentence):
    found = diagnose("03.3", answer)
    assert found.startswith("Not yet.") and sentence in found, found


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


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (loop(keep_den=0), "Only num fades"),
        (loop(keep_num=0), "Only den fades"),
        (loop(keep_num=0, keep_den=0), "Nothing fades"),
        (loop(keep_num=-1, keep_den=-1), "The past grows"),
        (one_step_late, "before the newest"),
        (lambda q, k, v, w: loop()(q, k, v, -math.log(1 - w)), "not by 1 - w"),
        (lambda q, k, v, w: loop()(q, k, v, -math.log(w)), "not by w"),
        (loop(again=2), "not those of linear attention"),
    ],
)
def test_a_usual_mistake_in_fading_is_named(answer, sentence):
    found = diagnose("03.4", answer)
    assert found.startswith("Not yet.") and sentence in found, found


def test_keys_with_features_of_their_own_are_right():
    keys = 9 * (2 * torch.eye(16) - 1)
    assert diagnose("03.5", keys).startswith("Right.")
    assert diagnose("03.5", keys.tolist()).startswith("Right.")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (torch.eye(16), "orthogonal, and their features are not"),
        (torch.zeros(16, 16), "weight of 0.06"),
        (5 * torch.eye(16) - 5, "should be near 0 but one"),
        (torch.eye(17), "returns shape (17, 17)"),
    ],
)
def test_keys_in_each_others_way_are_named(answer, sentence):
    found = diagnose("03.5", answer)
    assert found.startswith("Not yet.") and sentence in found, found
