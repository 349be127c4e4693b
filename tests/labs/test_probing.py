"""Probes: what they find is there, and where nothing is, they find nothing."""

import numpy as np
import pytest
import torch
from helpers.later import random_later
from helpers.random_model import random_model
from sklearn.linear_model import Ridge

from rwkv_book.labs import probing
from rwkv_book.training.versions import read_model


def two_kinds(count, size=30, gap=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    x = torch.randn(count, size, generator=generator) * torch.logspace(-3, 3, size)
    x[:, 4] += gap * torch.logspace(-3, 3, size)[4] * labels
    return x, labels


@pytest.mark.parametrize("size", [30, 300])
def test_it_is_the_ridge_of_scikit_learn(size):
    x, labels = two_kinds(100, size)
    (probe,) = probing.fits(x.double(), labels, [0.1])
    standard = ((x - x.mean(0)) / x.std(0)).double().numpy()
    targets = np.eye(2)[labels]
    wanted = Ridge(alpha=0.1 * size).fit(standard, targets).predict(standard)
    np.testing.assert_allclose(probe(x.double()), wanted, atol=1e-6)


def test_it_hears_a_quiet_channel_among_loud_ones():
    x, labels = two_kinds(400, gap=6.0)
    other, other_labels = two_kinds(200, gap=6.0, seed=1)
    probe = probing.choose(x, labels, other, other_labels)
    assert probing.right(probe, other, other_labels).mean() > 0.97


def test_where_nothing_is_it_finds_a_coin():
    x, labels = two_kinds(400, gap=0.0)
    other, other_labels = two_kinds(1000, gap=0.0, seed=1)
    for probe in probing.fits(x, labels):
        assert abs(probing.right(probe, other, other_labels).mean() - 0.5) < 0.06


def test_a_channel_that_never_moves_does_no_harm():
    x, labels = two_kinds(60, gap=6.0)
    x[:, 0] = 7.0
    (probe,) = probing.fits(x, labels, [0.1])
    x[0, 0] = 8.0
    assert torch.isfinite(probe(x)).all()
    assert probe.weight[0].abs().max() < 1e-6


def test_the_strength_is_that_which_does_best_elsewhere():
    x, labels = two_kinds(60, size=200, gap=2.0)
    other, other_labels = two_kinds(500, size=200, gap=2.0, seed=1)
    chosen = probing.choose(x, labels, other, other_labels)
    scores = [
        probing.right(p, other, other_labels).mean() for p in probing.fits(x, labels)
    ]
    assert probing.right(chosen, other, other_labels).mean() == max(scores)
    assert min(scores) < max(scores)


def test_every_number_of_a_state_is_in_one_part(tmp_path):
    torch.save(random_later("7", width=32, size=16, layers=3), tmp_path / "model.pth")
    model = read_model(tmp_path / "model.pth")
    states = torch.arange(2 * 3 * 18 * 32).reshape(2, 3, 18, 32).float()
    parts = probing.parts_of(states, model.config.heads)
    assert list(parts)[:4] == [
        (0, "x_time"),
        (0, "head 0"),
        (0, "head 1"),
        (0, "x_channel"),
    ]
    together = torch.cat(list(parts.values()), dim=1)
    np.testing.assert_array_equal(together.sort()[0], states.flatten(1))
    tables = states[:, 1, 1:-1].reshape(2, 2, 16, 16)  # as the model cuts them
    assert torch.equal(parts[1, "head 1"], tables[:, 1].flatten(1))


def test_of_an_rwkv_4_it_reads_averages_and_not_their_scale():
    with torch.no_grad():
        _, states = random_model()(torch.tensor([[1, 2, 3], [4, 5, 6]]))
    parts = probing.parts_of(states)
    assert {part for _, part in parts} == {"x_time", "average", "weight", "x_channel"}
    rescaled = states.clone()
    rescaled[:, :, 1:3] *= 2
    rescaled[:, :, 3] -= np.log(2)
    for name, x in probing.parts_of(rescaled).items():
        torch.testing.assert_close(x, parts[name], rtol=1e-5, atol=1e-5)


def test_letters_are_counted_by_hand():
    counts = probing.letters([b"aab", b"b"])
    assert counts.shape == (2, 256)
    assert counts[0, ord("a")] == pytest.approx((2 / 3) ** 0.5)
    assert counts[1, ord("b")] == 1
    pairs = probing.letters([b"aab", b"b"], pairs=True)
    assert pairs.shape == (2, 256 + 2)  # aa and ab
    assert pairs[0, 256:].tolist() == pytest.approx([(1 / 3) ** 0.5] * 2)
    assert pairs[1, 256:].tolist() == [0, 0]


def test_pieces_are_spread_over_all_works_and_share_no_byte():
    works = {"one": bytes(range(100)), "two": bytes(range(100, 145))}
    pieces = probing.pieces_of(works, 10, 7)
    assert pieces[0] == works["one"][:10] and pieces[-1] == works["two"][30:40]
    assert len(set().union(*map(set, pieces))) == 70
    with pytest.raises(ValueError, match="there are 14 pieces of 10 bytes, not 15"):
        probing.pieces_of(works, 10, 15)
