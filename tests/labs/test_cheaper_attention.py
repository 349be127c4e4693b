"""The command that trains with every cheaper attention, and its record."""

from dataclasses import replace

import cheaper_attention
import pytest
import torch
from cheaper_attention import Budget, Pieces, Trained, interval

from rwkv_book import results, training
from rwkv_book.labs import contenders
from rwkv_book.text import corpora

MICRO = replace(
    cheaper_attention.TINY,
    teacher=replace(training.QUICK_GPT, steps=21, batch=1, length=32),
    length=16,
    steps=21,
    batch=1,
    window=4,
    held_out=64,
    rates=(8e-3,),
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
    return cheaper_attention.main(MICRO, 2, folder, CORPUS)


def test_all_that_can_be_masked_are_trained_with(rows):
    names = [row["method"] for row in rows]
    assert names[0] == "softmax"
    assert {"longformer", "linear", "performer", "aft local", "average"} < set(names)
    assert not {"linformer", "nystromformer"} & set(names)
    assert len(list(cheaper_attention.table(rows))) == len(rows)


def test_all_that_are_trained_have_one_number_of_parameters(rows):
    counts = [row["parameters"] for row in rows]
    assert max(counts) < 1.002 * min(counts)


def test_what_was_found_is_not_looked_for_again(tmp_path):
    pieces = Pieces(MICRO, tmp_path, CORPUS)
    assert pieces.once("a", lambda x: x, 3) == pieces.once("a", lambda x: x, 4) == 3
    other = Pieces(replace(MICRO, batch=2), tmp_path, CORPUS)
    with pytest.raises(SystemExit, match="another budget"):
        other.once("a", lambda x: x, 3)


def test_a_search_widens_until_the_best_rate_is_inside(tmp_path):
    pieces = Pieces(replace(Budget(), widest=5), tmp_path, CORPUS)
    tried = pieces.search("a", (1, 2, 4), 2, lambda rate, _: abs(rate - 16))
    assert list(tried) == [1, 2, 4, 8, 16, 32]
    tried = pieces.search("b", (1, 2, 4), 2, lambda rate, _: abs(rate - 0.25))
    assert list(tried) == [0.125, 0.25, 0.5, 1, 2, 4]


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


def test_an_interval_is_students():
    """Differences 1, 2, 3: mean 2, deviation 1, 4.303 / sqrt(3) on either side."""
    mean, half = interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.3027 / 3**0.5, rel=1e-4)


def test_the_record_says_what_chapter_3_says():
    record = results.of("cheaper-attention")[-1]
    rows = {row["method"]: row for row in record["rows"]}
    assert all(row["inside"] and len(row["loss"]) >= 3 for row in rows.values())
    for name in ("linear", "performer"):  # far behind
        more, half = rows[name]["more than softmax"]
        assert more - half > 0.2
    for name in ("longformer", "aft local"):  # can't be told from softmax
        more, half = rows[name]["more than softmax"]
        assert abs(more) < half < 0.1
    more, half = interval(rows["linear"]["loss"], rows["average"]["loss"])
    assert abs(more) < half
    plan = record["plan"]
    assert plan["steps"] * plan["batch"] * plan["length"] == 614_400
    assert (plan["length"], plan["window"], plan["features"]) == (128, 32, 32)
