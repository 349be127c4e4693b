"""Figures, tables and sliders: what is drawn, and that it reads on any page."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from helpers.display import displayed
from ipywidgets.widgets import widget

from rwkv_book import show
from rwkv_book.rwkv4 import minimal
from rwkv_book.show import charts


def chart(**changes):
    options = {"title": "One doubles", "alt": "One line rises to twice the other."}
    xs = np.arange(1, 5)
    return show.lines({"RWKV": (xs, xs), "LSTM": (xs, 2 * xs)}, **(options | changes))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", show.PALETTE)
@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
def test_every_colour_can_be_seen_on_a_white_page_and_on_a_dark_one(name, page):
    assert contrast(show.PALETTE[name], page) >= 3


def test_no_two_architectures_have_the_same_colour():
    assert len(set(show.PALETTE.values())) == len(show.PALETTE)


def test_a_figure_is_well_formed_svg_that_says_its_message():
    root = ET.fromstring(chart().html())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == "One line rises to twice the other."
    assert "One doubles" in "".join(root.itertext())


def test_a_figure_has_the_ink_of_the_page_and_no_black_or_white():
    svg = chart().html()
    assert "currentColor" in svg
    assert not re.search(r"#000000|#fff|white|black|" + show.INK, svg)


def test_a_figure_has_the_letters_of_the_page():
    assert "font-size" in chart().html() and "font-family" not in chart().html()


def test_the_same_numbers_give_the_same_bytes():
    assert chart().html() == chart().html()


def test_two_figures_in_a_page_share_no_id():
    ids = [
        set(re.findall(r' id="([^"]+)"', figure.html()))
        for figure in (chart(), chart(title="Another"))
    ]
    assert all(ids) and not ids[0] & ids[1]
    for figure in (chart(), chart(title="Another")):
        svg = figure.html()
        found = set(re.findall(r' id="([^"]+)"', svg))
        assert set(re.findall(r"(?:url\(#|href=\"#)([\w-]+)", svg)) == found


def test_what_a_figure_draws_can_be_read_from_it():
    figure = chart()
    drawn = [line.get_ydata().tolist() for line in figure.axes.get_lines()]
    assert drawn == [[1, 2, 3, 4], [2, 4, 6, 8]]
    assert figure.numbers["LSTM"][1] == [2, 4, 6, 8]


def test_an_architecture_keeps_its_colour_and_longer_names_win():
    found = show.colours(["LSTM of 3 layers", "linear attention", "Linformer"])
    names = ("LSTM", "linear attention", "Linformer")
    assert found == [show.PALETTE[name] for name in names]


def test_labels_that_would_overlap_are_moved_apart_in_order():
    figure = chart()
    heights = charts.spread([3.0, 3.01, 3.02], figure.axes, figure.canvas)
    assert heights == sorted(heights)
    points = [figure.axes.transData.transform((0, h))[1] for h in heights]
    least = 12 * figure.canvas.dpi / 72
    assert np.all(np.diff(points) >= 0.99 * least)


def test_the_plain_text_of_a_figure_is_its_title_and_its_message():
    plain = chart()._repr_mimebundle_()["text/plain"]
    assert plain == "One doubles\nOne line rises to twice the other."


@pytest.mark.parametrize("changes", [{"alt": " "}, {"title": ""}])
def test_a_figure_without_words_is_refused(changes):
    with pytest.raises(ValueError, match="needs"):
        chart(**changes)


def test_a_bar_has_its_value_beside_it():
    figure = show.bars({"a": 0.5, "b": 0.25}, "Bars", "Two bars.")
    assert [bar.get_width() for bar in figure.axes.patches] == [0.5, 0.25]
    assert {"0.50", "0.25"} <= {text.get_text() for text in figure.axes.texts}


def test_numbers_that_a_reader_sees_keep_their_digits():
    figure = show.bars({"a": 1.875}, "Bars", "A bar.", format="{:.3f}")
    assert ">1.875</text>" in figure.html()


def test_heat_has_ink_in_proportion():
    figure = show.heat([[0, 1], [2, 4]], "Heat", "Four squares.")
    ink = figure.axes.images[0].get_array()[..., 3]
    np.testing.assert_allclose(ink, [[0, 0.25], [0.5, 1]])


def test_words_are_tinted_by_weight_and_escaped():
    picture = show.Words(["<b>", "a b"], [1, 0], "The first word counts.", "note")
    assert "&lt;b&gt;" in picture.html() and "<b>" not in picture.html()
    assert re.findall(r"rgba\(.*?([\d.]+)\)", picture.html()) == ["0.75", "0.00"]
    assert "note" in picture.html()


def test_words_need_a_weight_each():
    with pytest.raises(ValueError, match="2 tokens and 1 weights"):
        show.Words(["a", "b"], [1], "alt")


def test_source_is_what_is_imported():
    data = displayed(show.source, minimal.wkv)
    assert data["text/plain"].startswith(
        "def wkv(decay_rate, bonus, key, value, sums):"
    )
    assert data["text/markdown"] == f"```python\n{data['text/plain']}\n```"


def test_two_sources_stand_side_by_side_with_their_differences_marked():
    old, new = [sample_before], [sample_after]
    data = displayed(show.beside, ("old", old), ("new", new))
    assert data["text/plain"].splitlines() == [
        "old:",
        "- def sample_before(x):",
        "      y = 1",
        "-     return x < y",
        "",
        "new:",
        "+ def sample_after(x):",
        "      y = 1",
        "+     return y",
    ]
    page = data["text/html"]
    assert page.count("<pre") == 2 and "x &lt; y" in page
    assert page.count("background") == 4  # both headings, and both last lines
    assert "minmax(min(100%, 20rem), 1fr)" in page  # one below the other on a phone


def sample_before(x):
    y = 1
    return x < y


def sample_after(x):
    y = 1
    return y


def test_a_table_is_markdown_and_aligned_plain_text():
    data = displayed(show.table, ["form", "T"], [["scan", 1], ["attention", 10]])
    assert data["text/markdown"].splitlines()[2] == "| scan | 1 |"
    assert data["text/plain"] == "form       T\nscan       1\nattention  10"


def box_of(data):
    """The widget that a bundle shows."""
    view = data["application/vnd.jupyter.widget-view+json"]
    return widget._instances[view["model_id"]]


def test_a_slider_chooses_among_pictures_made_beforehand():
    def picture(n):
        return show.Words(["x"], [n / 10], f"weight {n}")

    data = displayed(show.slider, "size", [1, 2, 3], picture, 1)
    control, stack = box_of(data).children
    assert data["text/plain"] == "[slider] size: 1 to 3"
    assert (control.index, stack.selected_index) == (1, 1)
    assert ["weight 3" in child.value for child in stack.children] == [
        False,
        False,
        True,
    ]


def test_two_sliders_choose_a_picture_for_every_pair():
    def picture(n, m):
        return [show.Words(["x"], [0], f"pair {n} {m}"), chart()]

    arguments = (("a", "b"), ([1, 2], [3, 4, 5]), picture, (1, 2))
    data = displayed(show.two_sliders, *arguments)
    *controls, stack = box_of(data).children
    assert [c.index for c in controls] == [1, 2]
    assert stack.selected_index == 1
    assert [row.selected_index for row in stack.children] == [2, 2]
    assert "pair 2 4" in stack.children[1].children[1].value
    assert "One doubles" in stack.children[1].children[1].value
