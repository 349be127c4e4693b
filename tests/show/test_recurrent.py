"""Drawings of recurrent networks: every label is there, and so is the alt text."""

import pytest

from rwkv_book.show import recurrent


def test_a_chain_has_a_step_for_each_token_and_a_state_on_each_arrow():
    figure = recurrent.chain(["good", "bad"], ["0", "0.76", "−0.5"], "A chain", "Two.")
    texts = [text.get_text() for text in figure.axes.texts]
    assert texts.count("step") == 2
    assert texts.count("0") == 1  # goes in
    assert texts.count("0.76") == texts.count("−0.5") == 2  # shown, and carried on
    assert {"good", "bad"} <= set(texts)
    assert 'aria-label="Two."' in figure.html()


def test_a_chain_needs_a_state_before_and_after_each_token():
    with pytest.raises(ValueError, match="2 tokens need 3 states, got 2"):
        recurrent.chain(["good", "bad"], ["0", "1"], "A chain", "Two.")


def test_a_cell_is_kept_added_to_and_shown():
    figure = recurrent.lstm_cell("A cell", "A line runs through.")
    texts = [text.get_text() for text in figure.axes.texts]
    names = {text.split("\n")[0] for text in texts}
    assert {"forget", "input", "candidate", "output", "token"} <= names
    assert texts.count("×") == 3 and texts.count("+") == 1
    assert texts.count("cell") == texts.count("hidden") == 2  # in and out
