"""Figures without their colours: in grey print, and as colour-blind readers see them.

The colours that two architectures have may then be the same colour. Where they are, the
lines have to differ in their dashes. Dichromacy is simulated in linear light by the
matrices of Machado, Oliveira and Fernandes (2009), at full severity.
"""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from rwkv_book import show

STATIC = Path(__file__).parents[2] / "book" / "_static"
# The red, green and blue that an eye takes for the red, green and blue of the picture.
SEEN = {
    "by everybody else": np.eye(3),
    "without red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "without green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "without blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "in grey print": [[0.2126, 0.7152, 0.0722]] * 3,
}
# To CIE XYZ, with the white of a screen (D65) at 1, 1, 1.
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
TO_XYZ /= TO_XYZ.sum(axis=1, keepdims=True)
EASY = 20  # CIELAB units: some ten times what is just noticeable side by side


def lightness_and_hue(colour, seen):
    """A colour's place in CIELAB, as it is seen."""
    screen = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(
        screen <= 0.04045, screen / 12.92, ((screen + 0.055) / 1.055) ** 2.4
    )
    x, y, z = np.cbrt(TO_XYZ @ np.clip(seen @ linear, 0.01, 1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(one, other, seen):
    places = [lightness_and_hue(show.PALETTE[name], seen) for name in (one, other)]
    return float(np.linalg.norm(np.subtract(*places)))


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_architectures_differ_in_colour_or_in_their_dashes(seen):
    for one, other in combinations(show.PALETTE, 2):
        colour_tells = apart(one, other, np.array(seen)) >= EASY
        dashes_tell = show.DASHES[one] != show.DASHES[other]
        assert colour_tells or dashes_tell, (one, other)


def test_colour_alone_would_not_do():
    """What the dashes are for: without them, readers of a grey print see one line."""
    grey = np.array(SEEN["in grey print"])
    assert apart("RWKV", "transformer", grey) < EASY
    assert apart("RWKV", "transformer", np.eye(3)) > 2 * EASY


def test_dashes_are_wide_enough_to_be_seen_and_all_different():
    assert list(show.DASHES) == list(show.PALETTE)
    assert len(set(show.DASHES.values())) == len(show.DASHES)
    for dash in show.DASHES.values():
        assert len(dash) % 2 == 0 and all(length >= 1 for length in dash)


def test_a_figure_draws_the_dashes_of_its_architectures():
    ends = ([0, 1], [1, 2])
    series = {"RWKV": ends, "LSTM of 3 layers": ends, "transformer": ends}
    svg = show.lines(series, "Three lines", "Three lines that rise.").html()
    dashed = re.findall(
        r"stroke-dasharray: ([\d.,]+); stroke-dashoffset: 0; stroke: (#\w{6})", svg
    )
    assert {colour for _, colour in dashed} == {
        show.PALETTE[name] for name in ("LSTM", "transformer")
    }
    assert len({dash for dash, _ in dashed}) == 2
    assert f"stroke: {show.PALETTE['RWKV']}" in svg


def test_the_pages_have_the_colours_of_the_figures():
    for sheet, names in {
        "book.css": {"book-rwkv": "RWKV", "book-transformer": "transformer"},
        "playground/playground.css": {"pg-plus": "RWKV", "pg-minus": "transformer"},
    }.items():
        text = (STATIC / sheet).read_text(encoding="utf-8")
        for variable, name in names.items():
            colour = re.search(rf"--{variable}: (#\w{{6}});", text)[1]
            assert colour == show.PALETTE[name], (sheet, variable)
