"""The command that swaps cheaper attentions in and trains with them, and its record."""

from dataclasses import replace

import cheaper_attention
import pytest
import torch
from cheaper_attention import Budget, Pieces, Swapped, Trained, interval

from rwkv_book import attention, training
from rwkv_book.labs import contenders
from rwkv_book.text import corpora

MICRO = replace(
    cheaper_attention.TINY,
    teacher=replace(training.QUICK_GPT, steps=21, batch=1, length=32),
    size=4,
    length=16,
    lessons=2,
    texts=2,
    steps=21,
    batch=1,
    window=4,
    held_out=64,
    rates_swapped=(0.01,),
    rates_trained=(8e-3,),
    widest=0,
)
CORPUS = corpora.Corpus(
    "micro",
    {"one": b"the cat sat on the mat; " * 9},
    {"two": b"a rose is a rose. " * 6},
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces")
    return cheaper_attention.main(MICRO, 2, ["swapped", "trained"], folder, CORPUS)


def test_every_method_is_swapped_and_those_with_a_mask_are_trained_with(rows):
    names = {part: [r["method"] for r in rows if r["part"] == part] for part in
             ("swapped", "trained")}  # fmt: skip
    assert set(names["swapped"]) >= {
        *("longformer", "linear", "performer", "aft full", "average"),
        *("linformer", "nystromformer"),
    }
    assert names["trained"][0] == "softmax"
    assert not {"linformer", "nystromformer"} & set(names["trained"])
    assert len(list(cheaper_attention.table(rows))) == len(rows)


def test_all_that_are_trained_have_one_number_of_parameters(rows):
    counts = [row["parameters"] for row in rows if row["part"] == "trained"]
    assert max(counts) < 1.002 * min(counts)


def test_what_was_found_is_not_looked_for_again(tmp_path):
    pieces = Pieces(MICRO, tmp_path, CORPUS)
    assert pieces.once("a", lambda x: x, 3) == pieces.once("a", lambda x: x, 4) == 3
    other = Pieces(replace(MICRO, size=8), tmp_path, CORPUS)
    with pytest.raises(SystemExit, match="another budget"):
        other.once("a", lambda x: x, 3)


def test_a_search_widens_until_the_best_rate_is_inside(tmp_path):
    pieces = Pieces(replace(Budget(), widest=5), tmp_path, CORPUS)
    tried = pieces.search("a", (1, 2, 4), 2, lambda rate, _: abs(rate - 16))
    assert list(tried) == [1, 2, 4, 8, 16, 32]
    tried = pieces.search("b", (1, 2, 4), 2, lambda rate, _: abs(rate - 0.25))
    assert list(tried) == [0.125, 0.25, 0.5, 1, 2, 4]


def test_a_swap_without_lessons_is_off_by_what_the_method_is(tmp_path):
    swapped = Swapped(replace(MICRO, lessons=1), tmp_path, CORPUS)
    found = swapped.errors("linear", 1e-9, seed=0)
    _, held_out = swapped.teacher(0)
    half = [x.chunk(2)[1] for x in held_out]
    exact = attention.softmax_attention(*half, causal=True)
    out = attention.linear_attention_pairs(*half, causal=True)
    error = (out - exact).norm() / exact.norm()
    assert found["before"][1] == pytest.approx(error.item(), rel=1e-5)
    assert found["after"] == pytest.approx(found["before"], rel=1e-5)


def test_no_trained_method_hears_what_comes_later(tmp_path):
    trained = Trained(MICRO, tmp_path, CORPUS)
    tokens = torch.randint(256, (1, 16), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[:, -1] = (tokens[:, -1] + 1) % 256
    for name in trained.methods:
        torch.manual_seed(0)
        network = trained.network(name)
        assert contenders.parameters(network) > 0
        one, two = (network(x)[0][:, :-1] for x in (tokens, other))
        torch.testing.assert_close(one, two)


def test_aft_as_products_is_aft():
    query, key, value = torch.randn(3, 2, 4, 12, 8).double()
    table = torch.randn(4, 12, 12).double()
    for causal in (False, True):
        found = cheaper_attention.aft_full(query, key, value, table, causal)
        expected = attention.aft_full(query, key, value, table, causal)
        torch.testing.assert_close(found, expected)


def test_an_interval_is_students():
    """Differences 1, 2, 3: mean 2, deviation 1, 4.303 / sqrt(3) on either side."""
    mean, half = interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
