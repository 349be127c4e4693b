"""Accuracy by length: what is drawn where, and what stands beside it."""

import numpy as np
import pytest

from rwkv_book.labs import bench
from rwkv_book.show import lengths

SIZES = (8, 16, 32)
SHARES = {
    "RWKV-7": [[1.0, 0.9, 0.5], [0.8, 0.7, 0.3]],
    "LSTM": [[1.0, 1.0, 1.0], [1.0, 1.0, 0.4]],
}


@pytest.fixture
def figure():
    return lengths.by_length(
        SHARES, SIZES, [0.5, 0.25, 0.1], (8, 16), "A title", "Some words.", "tokens"
    )


def test_a_line_is_the_mean_of_its_seeds(figure):
    tables, others = figure.axes
    for axes, name in ((tables, "RWKV-7"), (others, "LSTM")):
        chance, mean = axes.get_lines()
        assert np.allclose(chance.get_ydata(), [0.5, 0.25, 0.1])
        assert np.allclose(mean.get_ydata(), np.mean(SHARES[name], 0))
        assert np.allclose(figure.numbers[name], np.mean(SHARES[name], 0))


def test_a_band_goes_from_the_worst_seed_to_the_best(figure):
    (band,) = figure.axes[0].collections
    corners = {tuple(point) for point in band.get_paths()[0].vertices.round(2)}
    assert {(8, 0.8), (8, 1.0), (32, 0.3), (32, 0.5)} <= corners


def test_the_lengths_of_training_are_shaded(figure):
    (shade,) = figure.axes[0].patches
    assert shade.get_x() == 8
    assert shade.get_x() + shade.get_width() == 16


def test_each_line_is_named_in_its_own_panel(figure):
    said = [{text.get_text() for text in axes.texts} for axes in figure.axes]
    assert said == [{"RWKV-7"}, {"LSTM"}]
    assert "Some words." in figure.html()


def test_every_network_of_the_bench_has_its_place_and_colour():
    placed = [name for names in lengths.GROUPS.values() for name in names]
    assert sorted(placed) == sorted(bench.NAMES)
    assert set(lengths.COLOURS) == set(lengths.LINES) == set(bench.NAMES)
