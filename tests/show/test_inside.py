"""A layer's boxes: each holds its numbers, and every arrow joins two of them."""

import numpy as np

from rwkv_book.show import inside
from rwkv_book.show.recurrent import signed

VECTORS = {name: np.array([n, -n / 8, 99]) for n, name in enumerate(inside.BOXES)}


def drawn(**more):
    return inside.layer(VECTORS, "A layer", "Boxes.", "before", "after", **more)


def test_a_box_holds_two_channels_of_its_vector():
    texts = [text.get_text() for text in drawn().axes.texts]
    for name, (_, _, label) in inside.BOXES.items():
        first, second = VECTORS[name][:2]
        assert f"{label}\n{signed(first)}  {signed(second)}" in texts
    assert {"before", "after"} < set(texts)
    assert drawn(channels=(2, 1)).numbers["key"][0] == 99


def test_the_words_say_every_number_under_its_label():
    figure = drawn()
    shown = [text.get_text() for text in figure.axes.texts]
    told = figure.alt.removeprefix("Boxes. ").removesuffix(".").split("; ")
    assert len(told) == len(inside.BOXES)
    for said in told:
        label, _, numbers = said.partition(": ")
        assert f"{label}\n{numbers.replace(', ', '  ')}" in shown


def test_every_arrow_begins_and_ends_at_the_edge_of_a_box():
    middles = [(inside.ACROSS * c, row) for c, row, _ in inside.BOXES.values()]
    for ends in inside.arrows():
        for x, y in ends:
            near = [
                (abs(x - a), abs(y - b))
                for a, b in middles
                if abs(x - a) <= inside.WIDE / 2 + 1e-9
                and abs(y - b) <= inside.HIGH / 2 + 1e-9
            ]
            assert len(near) == 1
            wide, _ = near[0]
            assert wide == 0 or np.isclose(wide, inside.WIDE / 2)


def test_no_two_boxes_touch():
    places = [(inside.ACROSS * c, row) for c, row, _ in inside.BOXES.values()]
    for n, (x, y) in enumerate(places):
        for a, b in places[:n]:
            assert abs(x - a) > inside.WIDE or abs(y - b) > inside.HIGH
