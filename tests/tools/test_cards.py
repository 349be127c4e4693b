"""Cards of pages: the book's figures drawn without a browser, and kept."""

import numpy as np
import pytest
from matplotlib.image import imread

from rwkv_book import show
from tools.site import sphinx_cards, svg
from tools.site.sphinx_anchors import another, name, name_of_formula


def figure():
    drawn = show.bars({"one": 1.0, "two": 2.0}, "Twice as much", "Two bars.")
    return drawn.html()


def share(picture, colour):
    """What part of a picture has about this colour."""
    wanted = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    return (np.abs(picture[..., :3] - wanted).max(-1) < 0.02).mean()


def test_a_card_has_the_ink_and_the_colours_of_its_figure(tmp_path):
    sphinx_cards.draw(tmp_path / "card.png", "A title", figure(), "A book")
    card = imread(tmp_path / "card.png")
    assert card.shape[:2] == (630, 1200)
    middle = card[200:500, 50:]
    assert share(middle, show.ACCENT) > 0.05
    assert share(middle, sphinx_cards.INK) > 0.001
    assert share(middle, sphinx_cards.PAPER) > 0.5


def test_a_card_is_drawn_once_and_again_when_its_figure_changes(tmp_path):
    first = sphinx_cards.kept(tmp_path, "A", figure(), "book")
    assert imread(first).shape[:2] == (630, 1200)
    first.write_bytes(b"drawn before")
    assert sphinx_cards.kept(tmp_path, "A", figure(), "book") == first
    assert first.read_bytes() == b"drawn before"
    other = sphinx_cards.kept(tmp_path, "A", f"{figure()} ", "book")
    assert other != first and imread(other).shape[:2] == (630, 1200)
    assert set(tmp_path.iterdir()) == {first, other}


def test_what_is_not_known_is_said():
    with pytest.raises(ValueError, match="'A', which is not known"):
        svg.path_of("M 0 0 A 1 1 0 0 0 2 2")


@pytest.mark.parametrize(
    ("plain", "address"),
    [
        ("Each step halves\nThree bars.", "figure-each-step-halves"),
        ("[slider] words read: 1 to 10", "figure-words-read"),
        ("[text] A sentence\n[slider] Bonus\n0.5", "figure-a-sentence-bonus"),
        ("RWKV's state", "figure-rwkvs-state"),
        ("Across 3 runs, 14% are awake", "figure-across-runs-are-awake"),
    ],
)  # fmt: skip
def test_a_figure_is_named_after_what_it_says(plain, address):
    assert name(plain) == address


def test_a_formula_is_named_after_its_letters_whatever_language_is_in_it():
    tex = r"\begin{aligned} S_t = S_{t-1}\,\mathrm{diag}(w) \text{ %s } t \end{aligned}"
    assert {name_of_formula(tex % word) for word in ("all", "每个")} == {
        "equation-s-t-s-t-diag-w-t"
    }
    assert another("equation-a", ["equation-a", "equation-a--2"]) == "equation-a--3"
    assert another("equation-b", ["equation-a"]) == "equation-b"
