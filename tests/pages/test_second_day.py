"""The second day of the workshop: minutes, sections, questions, what it needs."""

import itertools
import json
import math
import re

import numpy as np
import pytest
import torch
from helpers.plans import blocks_of

from rwkv_book import cost
from rwkv_book.__main__ import main
from rwkv_book.family import members, portraits
from rwkv_book.rwkv5 import minimal as rwkv5
from rwkv_book.rwkv7 import minimal as rwkv7
from rwkv_book.rwkv7 import wkv
from tools.contents import ROOT, chapters
from tools.notebooks.plain_markdown import cells

PAGE = (ROOT / "book" / "workshop" / "second_day.md").read_text(encoding="utf-8")
RECORD = ROOT / "benchmarks" / "results" / "notebooks.json"
STEP = re.compile(r"^- \*\*(\d+) min\*\* · .+?(?=^- |^\S|\Z)", re.MULTILINE | re.DOTALL)
PAPER_WIDTH = 711  # pixels: 210 mm without two margins of 11 mm
CUT_OFF = """[...document.querySelectorAll('.bd-article :is(div.math, pre, table)')]
    .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"""
LINK = re.compile(r"\[(\d+) § ([^\]]+)\]\(\.\./(\w+)\.ipynb\)")


def text_of(name):
    return "\n\n".join(c.source for c in cells(ROOT / "book" / f"{name}.ipynb"))


def shown(step):
    """The outputs of the chapters that a step names: live figures have their labels."""
    names = {name for _, _, name in LINK.findall(step)}
    outputs = [
        output.get("data", {}).get("text/html", "")
        for name in names
        for cell in cells(ROOT / "book" / f"{name}.ipynb")
        for output in cell.get("outputs", ())
    ]
    return "\n".join(outputs)


MORNING, AFTERNOON = (
    blocks_of(PAGE, f"The {half}") for half in ("morning", "afternoon")
)
DAY = MORNING + AFTERNOON
STEPS = [step[0] for _, _, _, text in DAY for step in STEP.finditer(text)]


def test_the_minutes_add_up():
    assert DAY[0][1] == 0 and MORNING[-1][2] == 240
    for (_, _, end, _), (title, start, _, _) in itertools.pairwise(DAY):
        assert end == start, title
    for title, start, end, text in DAY:
        minutes = [int(step[1]) for step in STEP.finditer(text)]
        assert sum(minutes) == end - start, title


def test_nobody_sits_longer_than_an_hour_and_a_half():
    sat = 0
    for title, start, end, _ in DAY:
        sat = 0 if title in ("Break", "Lunch") else sat + end - start
        assert sat <= 90, title


def test_what_may_be_skipped_is_as_long_as_the_page_says():
    skipped = [
        int(step[1])
        for _, _, _, text in MORNING
        for step in STEP.finditer(text)
        if "(skip when late)" in " ".join(step[0].split())
    ]
    assert len(skipped) > 2 and f"add up to {sum(skipped)} minutes" in PAGE


def test_people_write_code_in_the_morning_and_after_lunch_and_there_is_slack():
    for part, writes, least in ((MORNING, 2, 20), (AFTERNOON, 2, 10)):
        titles = [title for title, *_ in part]
        assert sum(title.startswith("Write it") for title in titles) >= writes
        slack = sum(end - start for title, start, end, _ in part if title == "Slack")
        assert slack >= least


def test_sections_figures_and_sliders_are_those_of_the_chapters():
    links = LINK.findall(PAGE)
    assert len(links) > 40
    for chapter, section, name in links:
        assert name.startswith(f"{chapter}_")
        headings = re.findall(r"^##+ (.+)$", text_of(name), re.MULTILINE)
        assert section in headings, (name, section)
    seen = 0
    for step in STEPS:
        step = " ".join(step.split())
        source = " ".join("".join(text_of(n) for _, _, n in LINK.findall(step)).split())
        for title in re.findall(r"figure “([^”]+)”", step):
            assert title in source, title
            seen += 1
        for name in re.findall(r"[Ss]lider `([^`]+)`", step):
            live = f"&quot;label&quot;: &quot;{name}&quot;"
            assert f'"{name}"' in source or live in shown(step), name
            seen += 1
    assert seen > 10


def test_exercises_exist_and_are_called_by_their_names():
    names = {}
    for path in chapters():
        text = text_of(path.stem)
        titles = re.findall(
            r":::\{exercise\} (.+?) \(.+\)\n:label: ex-(\d\d)-(\d)", text
        )
        names |= {f"{chapter}.{number}": title for title, chapter, number in titles}
    assert set(re.findall(r"\b\d\d\.\d\b", PAGE)) <= set(names)
    named = re.findall(r"\b(\d\d\.\d), \*([^*]+)\*", PAGE)
    assert len(named) > 5
    for number, title in named:
        assert names[number] == title, number


def test_seconds_and_memory_are_about_those_of_the_record():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = {row["notebook"][5:7]: row for row in record["rows"]}
    told = re.findall(r"^\| (1\d) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
    assert [chapter for chapter, _, _ in told] == ["12", "13", "14", "15", "16"]
    for chapter, seconds, mib in told:
        assert float(seconds) == pytest.approx(rows[chapter]["seconds"], rel=0.3, abs=3)
        assert float(mib) == pytest.approx(rows[chapter]["peak_mib"], rel=0.15)


# Questions with their wrong answers.

QUESTION = re.compile(
    r"^\*\*Question (\d+) · .+?(?=^\*\*Question|^## )", re.MULTILINE | re.DOTALL
)
QUESTIONS = {found[1]: found[0] for found in QUESTION.finditer(PAGE)}


def options(number):
    """The numbers offered to a question, and the place of the one called right."""
    found = re.findall(r"\*\*\d\.\*\* ([\d,.]+)(?= ·|$)", QUESTIONS[number], re.M)
    right = int(re.search(r"\*(\d) is right", QUESTIONS[number])[1])
    return [float(value.replace(",", "")) for value in found], right


def test_every_question_has_four_answers_and_is_asked_once_at_least():
    plan = "".join(text for _, _, _, text in DAY)
    assert list(QUESTIONS) == [str(number) for number in range(9, 17)]
    for number, text in QUESTIONS.items():
        assert re.search(rf"question {number}\b", plan, re.I), number
        assert re.findall(r"\*\*([1-4])\.\*\*", text) == list("1234")
        assert options(number)[1] in range(1, 5)
        wrong = set("1234") - {str(options(number)[1])}
        reasons = text.split("is right*")[1]
        assert all(re.search(rf"\b{each} [a-z]", reasons) for each in wrong)


def test_a_key_that_leans_and_what_mistakes_give():
    keys, values = np.array([[1, 0], [0.6, 0.8]]), np.array([3.0, 2.0])
    answer = (values @ keys)[0]
    found, right = options("9")
    assert np.allclose(found, [3, answer, values.mean(), values.sum()]) and right == 2


def test_ask_first_and_what_mistakes_give():
    one = np.ones((1, 1))
    answer, after = rwkv5.ask_and_write(
        one / 2, one, one[0], one[0], 4 * one[0], 3 * one
    )
    found, right = options("10")
    assert found == [answer.item(), after.item(), 3, (3 + 4) / 2] and right == 1


def corrected(rate):
    """One channel that holds 3 and is told 5, by RWKV-7's own line."""
    one = np.ones((1, 1, 1))
    rates = np.full((1, 1), rate)
    return rwkv7.correct(3 * one, one[0], rates, 5 * one[0], one[0], rates).item()


def test_the_second_value_and_what_mistakes_give():
    found, right = options("11")
    assert found == [3 + 5, (3 + 5) / 2, corrected(1.0), 5 - 3] and right == 3


def test_half_a_rate_and_what_mistakes_give():
    found, right = options("12")
    assert found == [corrected(0.5), 5, 3 - 1.5 + 5, 2.5] and right == 1
    one = np.ones((1, 1, 1))
    unscaled = rwkv7.correct(3 * one, one[0], one[0], 5 * one[0], one[0], one[0] / 2)
    assert unscaled.item() == found[2]  # as RWKV-7 writes where alpha is 0


def test_for_ever_is_a_rate_of_two():
    ones = torch.ones(1, 16, 1, dtype=torch.double)
    key, begin = torch.ones(1, 16, 1, 1).double(), torch.ones(1, 1, 1, 1).double()
    left = {
        rate: members.delta_net(key, key, 0 * key, rate * ones, state=begin)[1].item()
        for rate in (0.5, 1, 1.5, 2)
    }
    assert left[2] == 1 and left[1] == 0 and abs(left[1.5]) < 1e-4 and left[0.5] < 1e-4
    assert int(re.search(r"\*(\d) is right", QUESTIONS["14"])[1]) == 4


def test_thirty_readers_and_what_mistakes_give():
    shape = cost.RWKV7["1.5B"]
    token, state = cost.kv_cache_bytes(shape, 1), cost.table_state_bytes(shape)
    even = (30 * state - 30 * 20 * token) / token
    found, right = options("15")
    assert found == [state / token, even, 30 * state / token, state / token - 20]
    assert right == 2


# The cheat sheet.

SHEET = (ROOT / "book" / "workshop" / "cheat_sheet_tables.md").read_text("utf-8")


def rows_below(heading):
    """The rows of the table in a section, without its header, as lists of cells."""
    section = SHEET.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| .+ \|$", section, re.MULTILINE)[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_sheet_has_the_sizes_of_cost():
    rows = rows_below("Sizes")
    assert [row[0] for row in rows] == list(cost.RWKV7)
    for name, *row in rows:
        shape = cost.RWKV7[name]
        tuned = 2 * shape.layers * shape.width * shape.head_size
        assert row == [
            f"{shape.layers}, {shape.width}",
            f"{cost.rwkv7_parameters(shape):.3e}",
            f"{cost.table_state_bytes(shape) / 1024:.0f} KiB",
            f"{cost.kv_cache_bytes(shape, 1) / 1024:.0f} KiB",
            f"{tuned / 1e6:.1f} MB",
        ]
        assert cost.table_break_even_tokens(shape) == 66


def test_the_family_is_what_the_members_measure():
    at = [portraits.HEADER.index(each) for each in ("decay", "takes out", "rate")]
    measured = {m.name: [portraits.row(m)[n] for n in at] for m in portraits.MEMBERS}
    rows = rows_below("The family")
    assert len(rows) > 5
    for name, *row in rows:
        assert row == measured[name], name


def test_the_range_of_a_step_and_of_a_swap():
    least = math.exp(-wkv.FASTEST)
    assert f"| {least:.3f} to 1 |" in SHEET and f"{least - 1:.4f}"[1:] in SHEET
    assert f"swap two cups exactly: {abs((least - 1) / least):.3f}" in SHEET


def test_the_equation_with_its_names_is_the_code():
    """One step by the sheet's formula, in the shapes that it gives."""
    generator = np.random.default_rng(0)
    heads, size = 2, 4
    table = generator.normal(size=(heads, size, size))
    decay, key, value, removed, rate = generator.uniform(size=(5, heads, size))
    removed /= np.linalg.norm(removed, axis=1, keepdims=True)
    wanted = [
        S @ np.diag(w) - np.outer(S @ c, a * c) + np.outer(v, k)
        for S, w, k, v, c, a in zip(
            table, decay, key, value, removed, rate, strict=True
        )
    ]
    found = rwkv7.correct(table, decay, key, value, removed, rate)
    assert np.allclose(np.reshape(found, np.shape(wanted)), wanted)


def test_vocabularies_and_commands_are_those_of_the_program(capsys):
    for rows, tokenizer in (("65,536", "world"), ("50,304", "20B_tokenizer.json")):
        assert re.search(rf"\| {rows} rows \| `{re.escape(tokenizer)}` \|", SHEET)
    assert cost.RWKV7["0.1B"].vocabulary == 65_536
    commands = re.findall(r"^python -m rwkv_book (\w+) (.+)$", SHEET, re.MULTILINE)
    assert [command for command, _ in commands] == ["inspect", "generate", "train"]
    for command, arguments in commands:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        help_text = capsys.readouterr().out
        assert all(name in help_text for name in re.findall(r"--[\w-]+", arguments))


@pytest.mark.browser
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_sheet_is_one_page(browser, address, paper):
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}/book/workshop/cheat_sheet_tables.html")
    page.wait_for_function("document.querySelector('mjx-container')")
    page.wait_for_load_state("networkidle")
    pdf = page.pdf(format=paper)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER_WIDTH, "height": 1000})
    cut_off = page.evaluate(CUT_OFF)
    page.close()
    assert cut_off == []
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) == 1
