"""From language to language, and what readers of Chinese find: sections, sentences."""

import re

import pytest
from helpers.browser import SITE, WIDTHS

from tools.notebooks import translated

CHINESE = translated.language("zh_CN")
MISSING, THERE = "book/07_training", "book/04_wkv_operator"

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("role", ["predict", "remember"])
def test_a_paragraph_that_has_a_look_in_english_has_it_in_chinese(role):
    for folder in ("", "zh_CN"):
        page = (SITE / folder / f"{THERE}.html").read_text("utf-8")
        assert f'<p class="{role}"' in page, folder


# --- the search in Chinese ------------------------------------------------------------


def search(visit, query):
    """The status, and (title, all that is shown, what is marked) for each section."""
    page = visit("zh_CN/search.html", WIDTHS["desktop"])
    page.keyboard.type(query)  # the field has the focus
    page.wait_for_selector("#search-results [role=status]")
    sections = page.locator("#search-results li").evaluate_all(
        """all => all.map((item) => [
          item.querySelector("a").textContent,
          item.textContent,
          [...item.querySelectorAll("mark")].map((mark) => mark.textContent),
        ])"""
    )
    assert page.problems == []
    return page.locator("#search-results [role=status]").inner_text(), sections


@pytest.mark.parametrize(
    ("query", "about"),
    [
        ("半衰期", ["半衰期"]),
        ("半衰期是什么", ["半衰期"]),
        ("什么是半衰期？", ["半衰期"]),
        ("衰减率和加成", ["衰减率", "加成"]),
        ("状态的大小", ["状态", "大小"]),
        ("RWKV的状态", ["RWKV", "状态"]),
    ],
)
def test_a_question_in_chinese_finds_what_it_is_about(visit, query, about):
    _, sections = search(visit, query)
    assert len(sections) >= 3
    for _, shown, marked in sections:
        assert any(word in shown for word in about)
        assert set(marked) & set(about)
    titles = [title for title, _, _ in sections[:10]]
    if len(about) == 1:  # a term of the glossary comes first
        assert titles[0] == about[0]


def test_a_phrase_that_stands_there_is_found_as_it_stands(visit):
    _, sections = search(visit, "时间混合")
    assert sections[0][0] == "时间混合"
    assert all("时间混合" in marked for _, _, marked in sections)


def test_sections_that_say_it_all_come_before_those_that_say_most(visit):
    """By pairs of characters, where there is no small word to cut at."""
    _, sections = search(visit, "矩阵状态衰减")
    wanted = ("矩阵", "状态", "衰减")
    found = [sum(word in marked for word in wanted) for _, _, marked in sections]
    assert sections and all(found), found


@pytest.mark.parametrize("query", ["量子力学", "qwertzuiop", "qwertzuiop和状态"])
def test_what_the_book_does_not_speak_of_is_not_found(visit, query):
    status, sections = search(visit, query)
    assert status.startswith("什么也没有") and sections == []


@pytest.mark.parametrize("query", ["状态", "衰减率和加成", "无状态的", "量子力学"])
def test_the_line_above_the_sections_is_chinese(visit, query):
    status, sections = search(visit, query)
    assert not re.search("[A-Za-z]", status)
    numbers = list(map(int, re.findall(r"\d+", status)))
    assert numbers[1:] == ([len(sections)] if len(sections) == 40 else [])
    assert (numbers or [0])[0] >= len(sections)


# --- from language to language --------------------------------------------------------


def test_the_switch_says_where_a_page_is_missing(visit):
    page = visit(f"{MISSING}.html", WIDTHS["phone"], formulas=False)
    switch = page.locator("a.language-switch")
    assert switch.inner_text() == CHINESE.first_page
    assert switch.get_attribute("title") == CHINESE.missing
    assert switch.get_attribute("hreflang") is None
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        assert switch.is_visible() and page.evaluate("siteChecks.wide()") == []
    switch.click()
    page.wait_for_url("**/zh_CN/book/index.html")


@pytest.mark.parametrize("name", [THERE, f"zh_CN/{THERE}"])
def test_the_switch_leads_to_the_same_page_where_there_is_one(visit, name):
    page = visit(f"{name}.html", WIDTHS["desktop"], formulas=False)
    switch = page.locator("a.language-switch")
    assert switch.inner_text() in (CHINESE.name, "English")
    assert switch.get_attribute("title") is None
    assert switch.get_attribute("hreflang") == switch.get_attribute("lang")
    switch.click()
    page.wait_for_url(f"**{'' if 'zh' in name else '/zh_CN'}/{THERE}.html")


def test_the_first_page_in_chinese_leads_to_the_translators_guide(visit):
    page = visit("zh_CN/book/index.html", WIDTHS["phone"])
    line = page.locator("p.lost", has=page.locator("a[href*='CONTRIBUTING.md']"))
    assert not re.search("[A-Za-z]", line.inner_text())
    place = line.locator("a").get_attribute("href").partition("#")[2]
    guide = (translated.ROOT / "CONTRIBUTING.md").read_text("utf-8")
    headings = re.findall(r"(?m)^## (.+)$", guide)
    assert place in [heading.lower().replace(" ", "-") for heading in headings]
    assert page.locator("p.lost").count() == 2
    english = visit("book/index.html", WIDTHS["phone"])
    assert english.locator("a[href*='CONTRIBUTING.md#another']").count() == 0
