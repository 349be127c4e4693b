"""The calculator of the page and the one of a kernel give the answers of cost.py."""

import itertools
import math
import random

import pytest
from helpers.javascript import javascript

from rwkv_book import cost
from rwkv_book.show import calculator


def every_choice():
    """All combinations of what the sliders can be set to."""
    names = [control["name"] for control in calculator.CONTROLS]
    values = [[v for _, v in control["options"]] for control in calculator.CONTROLS]
    return [dict(zip(names, each, strict=True)) for each in itertools.product(*values)]


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
    formula = f"chosen => cost.answers(chosen, {calculator.TOGETHER})"
    found = javascript(formula, choices)
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
    assert dict(calculator.Answer(**calculator.FIGURE.at_start()).rows) == {
        "FLOPs": "2.52 × 10²²",
        "Hours at the peak": "22,400",
        "Hours": "140,000",
        "Days on 64 accelerators": "91.3",
        "Price": "$111,000",
    }


def test_page_and_kernel_list_the_same_answer():
    chosen = calculator.FIGURE.at_start()
    (found,) = javascript(
        "each => figures.cost(...each)", [[chosen, calculator.FIGURE.data]]
    )
    assert found == calculator.Answer(**chosen).html()


@pytest.mark.parametrize("control", calculator.CONTROLS, ids=lambda c: c["name"])
def test_a_widget_computes_when_it_is_moved(control):
    *inputs, shown = calculator.FIGURE.widget().children
    moved = inputs[calculator.CONTROLS.index(control)]
    before = shown.value
    moved.index = control["start"] + 1
    chosen = calculator.FIGURE.at_start() | {control["name"]: moved.value}
    assert shown.value == calculator.Answer(**chosen).html() != before
