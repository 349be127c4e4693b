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


STEP = {
    "token": "bad", "forget": 0.5, "input": 0.75, "candidate": -0.8, "output": 1.0,
    "cell_before": 0.8, "hidden_before": 0.0, "cell": -0.2, "hidden": -0.2,
}  # fmt: skip


def test_the_numbers_of_a_step_stand_in_its_cell():
    figure = recurrent.lstm_cell("A cell", "A line runs through.", STEP)
    texts = [text.get_text() for text in figure.axes.texts]
    assert {"forget\n0.50", "input\n0.75", "candidate\n−0.80", "output\n1.00"} < {
        *texts
    }
    assert {"cell\n0.80", "cell\n−0.20", "hidden\n0.00", "hidden\n−0.20"} < {*texts}
    assert texts.count("0.40") == 1  # kept: 0.5 · 0.8
    assert texts.count("−0.60") == 1  # added: 0.75 · −0.8
    assert "bad" in texts and "token" not in texts


def test_the_words_of_a_cell_say_the_numbers_of_its_step():
    alt = (
        "{token}: {cell_before} is kept, {kept}; {added} comes; {cell} is {flattened}."
    )
    figure = recurrent.lstm_cell("A cell", alt, STEP)
    assert figure.alt == "bad: 0.80 is kept, 0.40; −0.60 comes; −0.20 is −0.20."


def test_an_lstm_s_chain_carries_a_cell_and_what_is_shown():
    figure = recurrent.lstm_chain([STEP, STEP | {"cell": -1e-9}], "A chain", "Two.")
    texts = [text.get_text() for text in figure.axes.texts]
    assert texts.count("f 0.50\ni 0.75\ng −0.80\no 1.00") == 2
    assert texts.count("0.80") == 2  # before each step
    assert texts.count("−0.20") == 1 and texts.count("0.00") == 3  # no −0.00
