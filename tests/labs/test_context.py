"""The same bytes after more and after less: as each window gives, read anew."""

from statistics import mean

import pytest
import torch
from helpers.contenders import contender

from rwkv_book import results
from rwkv_book.attention import softmax_attention
from rwkv_book.labs import context

WORKS = {"a": bytes(range(33, 33 + 90)), "b": bytes(range(40, 40 + 60))}


def test_passages_are_spread_and_share_no_byte():
    rows = context.passages(WORKS, before=20, judged=10, count=9)
    assert [bytes(row.tolist()) for row in rows] == [
        text[start : start + 30]
        for text in WORKS.values()
        for start in range(0, len(text), 30)
    ]
    assert context.passages(WORKS, 20, 10, count=2)[:, 0].tolist() == [33, 70]
    with pytest.raises(ValueError, match="no work has 91 bytes"):
        context.passages(WORKS, 81, 10, count=2)


def test_a_window_is_read_from_nothing_and_judged_at_its_end():
    network = contender("rwkv")
    tokens = context.passages(WORKS, 20, 10, count=3)
    found = context.nats_in_window(network, tokens, (12, 24), judged=4, batch=2)
    for window, nats in found.items():
        for row, each in zip(tokens, nats, strict=True):
            right = context.nats_after(network, None, row[None, -window - 1 :])
            assert torch.allclose(each, right[0, -4:], atol=1e-5)


def test_nats_after_a_state_are_those_of_the_whole_text():
    network = contender("lstm")
    tokens = context.passages(WORKS, 20, 10, count=3)
    whole = context.nats_after(network, None, tokens)
    _, state = network(tokens[:, :7])
    found = context.nats_after(network, state, tokens[:, 7:])
    assert torch.allclose(found, whole[:, 7:], atol=1e-4)


def test_windows_that_a_network_can_not_read_are_left_out():
    network = contender("gpt-learned")
    most = network.config.context
    tokens = torch.zeros(2, 2 * most + 1, dtype=torch.long)
    found = context.nats_in_window(network, tokens, (most, 2 * most), judged=4)
    assert list(found) == [most]
    for windows, judged in (((4, 2 * most + 1), 4), ((4, 8), 5)):
        with pytest.raises(ValueError, match="have no windows"):
            context.nats_in_window(network, tokens, windows, judged)


def test_what_sees_the_nearest_reads_no_further_back():
    query, key, value = torch.randn(3, 2, 2, 9, 4, dtype=torch.float64)
    found = context.nearest(query, key, value, True, count=3)
    for t in range(9):
        seen = slice(max(0, t - 2), t + 1)
        right = softmax_attention(
            query[:, :, t, None], key[:, :, seen], value[:, :, seen]
        )
        assert torch.allclose(found[:, :, t, None], right, atol=1e-12)
    last = context.nearest(query[:, :, 5:], key, value, True, count=3)
    assert torch.allclose(last, found[:, :, 5:], atol=1e-12)


def test_an_interval_is_of_means_over_rows():
    mean, around = context.paired(torch.tensor([[1.0, 3.0], [4.0, 4.0], [6.0, 6.0]]))
    assert mean == pytest.approx(4)
    assert around == pytest.approx(4.3027 * 2 / 3**0.5, rel=1e-4)


def test_other_seeds_read_long_texts_as_chapter_6_says():
    (record,) = results.of("context-length")
    lost = {}
    for row in record["rows"]:
        for loss in {"loss", "loss_of_nearest"} & {*row}:
            longer, base = (row[loss][window] for window in ("2048", "256"))
            found = mean(longer) - mean(base)
            lost.setdefault((row["contender"], loss), []).append(found)
    assert {len(found) for found in lost.values()} == {3}
    assert record["places"] == len(base) == 24
    for name in ("rwkv", "lstm"):
        assert max(map(abs, lost[name, "loss"])) < 0.001
    assert min(lost["gpt-rotary", "loss"]) == pytest.approx(0.9, abs=0.01)
    assert max(lost["gpt-rotary", "loss_of_nearest"]) < 0.0205
