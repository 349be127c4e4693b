"""Live figures: the page's own JavaScript draws what Python draws, from one place."""

import json
import math
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.display import displayed
from helpers.javascript import javascript

from rwkv_book import rnn, show
from rwkv_book.family import portraits, suffixes
from rwkv_book.family.equation import table_recurrent
from rwkv_book.rwkv4 import minimal, wkv
from rwkv_book.rwkv7 import minimal as rwkv7
from rwkv_book.show import (
    brackets,
    chain,
    endings,
    facts,
    gating,
    live,
    switches,
)

STATIC = Path(__file__).parents[2] / "book" / "_static"
MODULES = STATIC / "live"
CHAIN = chain.FIGURE
RNG = np.random.default_rng(0)
TABLES = {"now": RNG.normal(size=256).tolist(), "before": RNG.normal(size=256).tolist()}
TEXTS = ["a", "To be, or not", "é 3 < 4 & “so”\n", "x" * 60]


def keys_of(text):
    """The keys (T,) of a text's bytes, as the tables say."""
    tokens = list(text.encode())
    return [
        TABLES["now"][token] + (TABLES["before"][tokens[at - 1]] if at else 0)
        for at, token in enumerate(tokens)
    ]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("half_life", "bonus"), [(1, 0.0), (8, -4.0), (64, 2.5)])
def test_the_page_listens_as_the_operator_does(text, half_life, bonus):
    values = {"text": text, "half_life": half_life, "bonus": bonus}
    (found,) = javascript("each => figures.heard(...each)", [[values, TABLES]])
    key = torch.tensor(keys_of(text)).double().view(1, -1, 1)
    rate = torch.tensor([math.log(2) / half_life]).double()
    logits = wkv.pairwise_logits(rate, torch.tensor([bonus]).double(), key)
    np.testing.assert_allclose(found, logits[0, -1, :, 0].softmax(0), atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1.0])
def test_the_page_draws_as_minimal_draws(temperature, top_p):
    """Where a chance falls decides the token, so chances are compared by drawing."""
    logits = 2 * np.random.default_rng(1).normal(size=9)
    values = {"temperature": temperature, "top_p": top_p}
    (found,) = javascript(
        "each => figures.chances(...each)", [[values, logits.tolist()]]
    )
    draws = np.random.default_rng(2)
    drawn = [minimal.sample(logits, temperature, top_p, draws) for _ in range(4000)]
    share = np.bincount(drawn, minlength=9) / 4000
    assert set(np.flatnonzero(share)) <= set(np.flatnonzero(found))
    np.testing.assert_allclose(share, found, atol=0.04)  # 5 standard errors
    assert sum(found) == pytest.approx(1)


def test_text_of_a_reader_stays_text():
    values = {"text": '<b>"&\n é', "half_life": 8, "bonus": 0}
    data = TABLES | {"words": "The last one has {share}."}
    (found,) = javascript("each => figures.listening(...each)", [[values, data]])
    assert "<b>" not in found
    assert unescape(re.sub("<[^>]*>", "", found.partition("</div>")[0])) == (
        values["text"].replace("\n", "⏎").replace(" ", "\N{NO-BREAK SPACE}")
    )


def test_no_text_is_no_error():
    values = {"text": "", "half_life": 8, "bonus": 0}
    data = TABLES | {"words": "{share}"}
    (found,) = javascript("each => figures.listening(...each)", [[values, data]])
    assert "0%" in found and "NaN" not in found


@pytest.mark.parametrize(
    "numbers", ["4, 8, 2, 10, 6", "7", "-3 0.5 999;1 1 1 1 1 1 1", "0, -0.1", "<b>", ""]
)
def test_the_page_adds_up_as_python_does(numbers):
    values = {"numbers": numbers}
    (found,) = javascript("each => figures.chain(...each)", [[values, CHAIN.data]])
    assert found == CHAIN.picture(**values).html()


def test_both_ways_give_the_operator_s_averages():
    rows = chain.rows_of("4, 8, 2, 10, 6")
    half = torch.tensor([2.0]).log()
    value = torch.tensor([4.0, 8, 2, 10, 6]).view(1, 5, 1)
    wanted, _ = wkv.wkv_attention(half, half, torch.zeros(1, 5, 1), value)
    for row, average in zip(rows, wanted.flatten().tolist(), strict=True):
        for text in row[1:]:
            assert float(text.partition(" = ")[2]) == pytest.approx(average, abs=0.005)


@pytest.mark.parametrize(
    "text",
    [
        "The cup is red. The ball is blue. The cup is green.",
        "é à; Cup <b>RED</b>, cup ; the a is, ball 3 blue; cup red",
        "one. two",
        "",
    ],
)
@pytest.mark.parametrize(("keep", "rate"), [(1, 1), (0.5, 1), (0.7, 0.25), (1, 0)])
def test_the_page_corrects_as_python_does(text, keep, rate):
    values = {"facts": text, "keep": keep, "rate": rate}
    data = facts.FIGURE.data
    (found,) = javascript("each => figures.facts(...each)", [[values, data]])
    assert found == facts.FIGURE.picture(**values).html()


def test_facts_are_corrected_as_rwkv_7_does_it():
    text = "the cup is red, the ball is blue, the cup is green, the ball is red"
    things, values, found = facts.table_of(text, keep=0.9, rate=0.75)
    assert (things, values) == (["cup", "ball"], ["red", "blue", "green"])
    table, one = np.zeros((1, 3, 2)), np.ones((1, 2))
    for thing, value in facts.pairs_of(text):
        key = np.eye(2)[[things.index(thing)]]
        value = np.eye(3)[[values.index(value)]]
        table = rwkv7.correct(table, 0.9 * one, key, value, key, 0.75 * one)
    np.testing.assert_allclose(found, table[0])


def test_the_page_turns_one_member_into_the_next_as_python_does():
    all_values = [
        dict(zip(("decay", "removal", "rate"), each, strict=True))
        for each in switches.settings()
    ]
    data = switches.FIGURE.data
    found = javascript(
        "each => figures.switches(...each)", [[values, data] for values in all_values]
    )
    assert len(found) == 30
    for values, page in zip(all_values, found, strict=True):
        assert page == switches.FIGURE.picture(**values).html()


def test_every_member_stands_at_the_setting_that_is_measured_of_it():
    """Heads of RWKV-4 are channels, so that its decay is one for all of a head."""
    named = {
        (kind, by, removes, rate): names
        for (kind, by, removes, rate), names in switches.NAMES.items()
    }
    for member in portraits.MEMBERS:
        kind, _, by = portraits.decay(member).partition(", ")
        removes = portraits.removal(member) != "nothing"
        names = named[kind, by, removes, portraits.rate(member)]
        assert re.search(rf"\b{re.escape(member.name)}\b(?!-)", names), member.name


def double(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def token_of(sentence, decay, removal, rate):
    """What a sentence of the story hands to the one equation."""
    key, value = double(sentence.get("key", [0, 0])), double([0, 0, 0])
    if "colour" in sentence:
        value[sentence["colour"]] = 1
    left = double(switches.kept(sentence, *decay))
    share = double(switches.believed(sentence, rate))
    return left.log(), key, share * key, value, -left * key * removal, share * key


def test_the_story_s_tables_are_those_of_the_equation():
    for setting in switches.settings():
        tokens = [token_of(sentence, *setting) for sentence in switches.STORY]
        parts = zip(*tokens, strict=True)
        given = [torch.stack(each)[None, :, None] for each in parts]
        for count, wanted in enumerate(switches.after_each(*setting), start=1):
            _, table = table_recurrent(*(each[:, :count] for each in given))
            np.testing.assert_allclose(table[0, 0], wanted, atol=1e-12)


def test_the_names_of_members_that_are_next_to_each_other_differ_by_one_switch():
    names, kimi = switches.NAMES, ("by token", "each key", True, "one")
    assert names[kimi].startswith("Kimi")
    assert names[(*kimi[:3], "each key")].startswith("RWKV-7")
    assert names["by token", "one", *kimi[2:]].startswith("Gated DeltaNet")
    assert names["none", "", *kimi[2:]].startswith("DeltaNet")


REPEATING = "The cup is red. The ball is blue. The cup is"


@pytest.mark.parametrize("text", ["", "a", "aaaa", "<b>&", "é—🙂é—🙂", REPEATING])
def test_the_page_foretells_as_python_does(text):
    data = endings.FIGURE.data
    (found,) = javascript("each => figures.endings(...each)", [[{"text": text}, data]])
    assert found == endings.FIGURE.picture(text=text).html()


@pytest.mark.parametrize("text", ["abcab", REPEATING, "aab" * 9, "no"])
def test_endings_are_those_of_the_automaton(text):
    said = suffixes.followed(text)
    for place, letter in enumerate(text[1:]):
        told, length = said[place]
        assert endings.foretold(text)[place + 1] == (told == letter) * length
    assert list(endings.goes_on(text)) == suffixes.written_on(text, endings.ON)


ORDERS = [text for _, text in brackets.ORDERS if text] + [brackets.OWN]
NO_ORDERS = [
    "",
    "((a b)",
    "a b c d e f g",
    "b a c d e f g h",
    "(a b)) c d e f g h",
    "<b>",
]


@pytest.mark.parametrize("key", [0, 2, 300])
@pytest.mark.parametrize("order", ["", *ORDERS])
def test_the_page_merges_as_python_does(order, key):
    """Ends of orders too: a bracket around one letter, none around all."""
    values = {"order": order, "own": "(a) b, ((c d)) (e (f g)) h", "key": key}
    data = brackets.FIGURE.data
    (found,) = javascript("each => figures.brackets(...each)", [[values, data]])
    assert found == brackets.Brackets(**values).html()
    assert len(re.findall("<rect", found)) == len(brackets.Brackets(**values).boxes)


def test_what_is_no_order_is_told_what_to_write():
    data = brackets.FIGURE.data
    all_values = [{"order": "", "own": text, "key": 0} for text in NO_ORDERS]
    found = javascript(
        "each => figures.brackets(...each)", [[values, data] for values in all_values]
    )
    for values, page in zip(all_values, found, strict=True):
        assert page == f"<p>{brackets.WORDS['wrong']}</p>"
        assert page == brackets.Brackets(**values).html()


@pytest.mark.parametrize("key", [0, 2, 300])
@pytest.mark.parametrize("order", ORDERS)
def test_any_brackets_give_the_operator_s_state(order, key):
    keys, values = double([[0], [0], [key], *[[0]] * 5]), double(brackets.VALUES)
    rate = double([math.log(2)])
    _, state = wkv.wkv_recurrent(rate, 0 * rate, keys[None], values.view(1, 8, 1))
    sums = brackets.tree(brackets.parsed(order), key)[-1]["sums"]
    assert sums[0] / sums[1] == pytest.approx(state.average().item(), rel=1e-12)
    logs = math.log(sums[1]) + sums[2], state.den.log().item() + state.log_scale.item()
    assert logs[0] == pytest.approx(logs[1], rel=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_no_two_boxes_of_a_tree_lie_on_each_other(order):
    boxes = brackets.tree(brackets.parsed(order), 0)
    for box in boxes:
        column = [b["height"] for b in boxes if b["column"] == box["column"]]
        assert sum(abs(height - box["height"]) < 1 for height in column) == 1
        assert all(part["height"] < box["height"] for part in box["parts"])


SENTENCES = ["a wonderful film", "Wonderful! <b> & é", "", "x " * 20]


GATES = "write", "keep", "forget", "chatter", "output"
SET = [(1, 1, 1, 1, 1), (1, 0.95, 0.9, 0.1, 0.5), (0.35, 0, 0, 0.5, 0.5)]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("gates", SET)
def test_the_page_gates_as_python_does(sentence, gates):
    values = {"sentence": sentence, "verdicts": "wonderful, B"}
    values |= dict(zip(GATES, gates, strict=True))
    data = gating.FIGURE.data
    (found,) = javascript("each => figures.gates(...each)", [[values, data]])
    assert found == gating.Gates(**values).html()


def logit(gate):
    return double(gate).logit(1e-15)


@pytest.mark.parametrize("gates", SET)
def test_gates_that_are_set_give_the_cell_of_an_lstm(gates):
    gates = dict(zip(GATES, gates, strict=True))
    steps = gating.steps_of("a dull start, a fine end", "fine", **gates)
    state = rnn.LstmState(double([[0]]), double([[0]]))
    for word, _, _, cell, _, hidden in steps:
        names = ("write", "keep") if word == "fine" else ("chatter", "forget")
        write, keep, show_it = (logit(gates[name]) for name in (*names, "output"))
        candidate = double(0.8 if word == "fine" else 0.3).atanh()
        bias = torch.stack([write, keep, candidate, show_it])
        params = rnn.Params(double([[0]] * 4), double([[0]] * 4), bias)
        _, state = rnn.lstm_step(double([[0]]), state, params)
        assert state.cell.item() == pytest.approx(cell, abs=1e-12)
        assert state.hidden.item() == pytest.approx(hidden, abs=1e-12)


def ends(**gates):
    """What the cell holds after a sentence, and of it the verdict's."""
    values = dict.fromkeys(GATES, 1) | gates
    *_, cell, verdict, _ = gating.steps_of("a fine end", "fine", **values)[-1]
    return cell, verdict


def test_what_the_cell_holds_at_the_end_is_verdict_and_chatter():
    assert ends(forget=0.5, chatter=0)[1] == pytest.approx(0.4)
    values = dict.fromkeys(GATES, 1) | {"keep": 0.5, "forget": 0.5}
    picture = gating.Gates("a fine end", "fine", **values)
    assert "holds 0.78: 0.4 of the verdict, 0.38 of chatter" in picture.alt


def test_a_word_s_own_gates_are_of_that_word_alone():
    assert ends(keep=0) == pytest.approx((0.8 + 0.3, 0.8))  # what was before is gone
    assert ends(write=0.5) == pytest.approx((0.3 + 0.4 + 0.3, 0.4))
    assert ends(write=0) == pytest.approx((0.6, 0))


def test_the_gates_open_nearly_where_the_verdict_alone_is_left():
    *_, cell, verdict, _ = gating.steps_of(**gating.FIGURE.at_start())[-1]
    assert 0.5 < verdict < 0.8 and cell - verdict < verdict / 2


# The frame around a figure.


def picture(power, text):
    words = f"{text} to the power of {power}"
    return show.Words([text], [1], words, words)


FIGURE = live.Figure(
    "listening",
    "A sum & more",
    [
        live.slider("power", "Power", [("one", 1), ("two", 2)], 1),
        live.text("text", "Text", "<x>", longest=5),
    ],
    picture,
    {"now": [1], "before": [2], "words": "{share}"},
)


def test_without_scripts_there_is_a_picture():
    class Text(HTMLParser):
        said = ""

        def handle_data(self, data):
            self.said += data

    parser = Text()
    parser.feed(FIGURE.page())
    assert "<x> to the power of 2" in parser.said
    assert "at the start (Power: two; Text: <x>)" in parser.said


def test_the_page_brings_what_its_script_needs():
    (data,) = re.findall(r'data-live="([^"]*)"', FIGURE.page())
    place = json.loads(unescape(data))
    assert place["figure"] == "listening" and place["data"] == FIGURE.data
    assert [each["name"] for each in place["controls"]] == ["power", "text"]
    source = (MODULES / "figures.js").read_text(encoding="utf-8")
    assert f"export function {place['figure']}(" in source
    style = re.search(r'href="\.\./_static/([^"]+)"', FIGURE.page())[1]
    assert (STATIC / style).exists()


def test_a_widget_draws_when_it_is_moved():
    power, text, shown = FIGURE.widget().children
    assert shown.value == picture(2, "<x>").html()
    power.index = 0
    text.value = "y"
    assert shown.value == picture(1, "y").html()


def test_one_output_is_widgets_html_and_text():
    shown = displayed(FIGURE.show)
    assert shown["text/html"] == FIGURE.page()
    assert shown["text/plain"].splitlines() == [
        "[slider] Power",
        "[text] Text",
        "<x> to the power of 2",
    ]
    assert "model_id" in shown["application/vnd.jupyter.widget-view+json"]


def test_a_kernel_s_figure_says_what_went_wrong_when_it_was_moved():
    """And where it fails at once, so does its cell."""

    def one_over(number):
        return show.Figure(f"1 / {number}", f"One over it is {1 / number:.2f}.")

    options = [("two", 2), ("<0>", 0), ("four", 4)]
    control = live.slider("number", "Number", options, 0)
    field, shown = (
        live.Figure("none", "One over", [control], one_over, {}).widget().children
    )
    assert "One over it is 0.50." in shown.value
    field.value = 0
    assert "ZeroDivisionError: division by zero" in shown.value
    field.value = 4
    assert "One over it is 0.25." in shown.value
    control["start"] = 1
    with pytest.raises(ZeroDivisionError):
        live.Figure("none", "One over", [control], one_over, {}).widget()
