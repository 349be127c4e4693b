"""Trees of brackets: every box over its last leaf, and above all its parts."""

import pytest

from rwkv_book.show.trees import Node, placed, tree


def bracketed(order):
    if isinstance(order, int):
        return Node([str(order)])
    return Node([str(order)], [bracketed(part) for part in order])


ORDERS = [((0, 1), 2), (0, (1, 2)), (0, 1, 2), (((0, 1), (2, 3)), 4), 0]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_box_stands_over_its_last_leaf_and_above_its_parts(order):
    boxes = placed(bracketed(order))
    for column, height, node in boxes.values():
        for part in node.parts:
            assert boxes[id(part)][1] < height
        if node.parts:
            assert boxes[id(node.parts[-1])][0] == column
    leaves = sorted(column for column, _, node in boxes.values() if not node.parts)
    assert leaves == list(range(len(leaves)))


def test_no_two_boxes_lie_on_each_other():
    places = [each[:2] for each in placed(bracketed(ORDERS[3])).values()]
    for column, height in places:
        near = [h for c, h in places if c == column and abs(h - height) < 1]
        assert near == [height]


def test_what_is_drawn_is_what_the_nodes_say():
    figure = tree(bracketed(((0, 1), 2)), "A title", "An alt text", key=["number"])
    assert figure.numbers[2, 1.45] == ["((0, 1), 2)"]
    assert "number" in figure.html()
