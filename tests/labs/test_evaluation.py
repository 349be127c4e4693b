"""Held-out text is read by one rule: byte by byte it gives the same numbers."""

import pytest
import torch
from helpers.contenders import contender
from torch.nn.functional import cross_entropy

from rwkv_book.labs import evaluation
from rwkv_book.labs.contenders import NAMES
from rwkv_book.text import END_OF_TEXT


@torch.no_grad()
def nats_after(network, read, byte):
    logits, _ = network(torch.tensor([list(read)]))
    return cross_entropy(logits[0, -1], torch.tensor(byte)).item()


@pytest.mark.parametrize("length", [1, 4, 5, 8, 9, 16, 30])
def test_a_byte_is_judged_by_what_stands_in_its_window(length):
    """One by one: the last window that has at least half of it before the byte."""
    network, half = contender("gpt-learned"), 4
    text = bytes(range(65, 65 + length))
    read = bytes([END_OF_TEXT]) + text
    found = evaluation.nats_in_windows(network, text, 2 * half, batch=2)
    for i, byte in enumerate(text):
        start = max(0, i // half - 1) * half
        assert found[i].item() == pytest.approx(
            nats_after(network, read[start : i + 1], byte), abs=1e-5
        )


def test_the_loss_of_works_is_that_of_all_their_bytes():
    network = contender("lstm")
    works = {"long": b"to be or not " * 9, "short": b"aye"}
    loss, per_work = evaluation.windowed_loss(network, works, context=8)
    bytes_of = {name: len(text) for name, text in works.items()}
    total = sum(per_work[name] * bytes_of[name] for name in works)
    assert loss == pytest.approx(total / sum(bytes_of.values()))
    assert set(per_work) == set(works)


def test_what_has_no_loss_is_refused():
    network = contender("lstm")
    for works in ({}, {"long": b"to be", "short": b""}):
        with pytest.raises(ValueError, match="no byte to predict in"):
            evaluation.windowed_loss(network, works)
    for context in (0, 1, 7):
        with pytest.raises(ValueError, match="even and at least 2"):
            evaluation.windowed_loss(network, {"long": b"to be"}, context)


def test_the_loss_by_position_is_a_mean_over_stretches():
    network, text = contender("rwkv"), bytes(range(33, 33 + 101))
    buckets = evaluation.loss_by_position(network, {"a": text}, 50, stretches=2)
    assert [bucket[:2] for bucket in buckets] == [(1, 16), (17, 32), (33, 50)]
    first, second = (
        [nats_after(network, text[s : s + n], text[s + n]) for n in range(17, 33)]
        for s in (0, 50)
    )
    means = sum(first) / 16, sum(second) / 16
    assert buckets[1].nats == pytest.approx(sum(means) / 2, abs=1e-5)
    assert buckets[1].error == pytest.approx(abs(means[0] - means[1]) / 2, abs=1e-5)


def test_learned_positions_end_where_the_others_go_on():
    works = {"a": b"and so on; " * 20}
    for name in NAMES:
        buckets = evaluation.loss_by_position(contender(name), works, 64, stretches=2)
        ended = [bucket.nats is None for bucket in buckets]
        assert ended == [False, *[name == "gpt-learned"] * 2]
    with pytest.raises(ValueError, match="lower longest"):
        evaluation.loss_by_position(contender("rwkv"), works, longest=1000)
