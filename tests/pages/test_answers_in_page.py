"""Exercises answer in the page, and a browser remembers what its reader did."""

import pytest
from helpers.browser import SITE, WIDTHS, set_theme, tab_to

from tools import contents
from tools.contents import ROOT

pytestmark = pytest.mark.browser

CHAPTER = "book/04_wkv_operator.html"
FIRST = f"{contents.pages()[0].relative_to(ROOT)}.html"
FIELD = "#ex-04-1 .answer-field"


def answer(page, text, field=FIELD):
    page.locator(f"{field} input").fill(text)
    page.locator(f"{field} input").press("Enter")
    return page.locator(f"{field} output").inner_text()


@pytest.fixture
def chapter(visit):
    page = visit(CHAPTER, WIDTHS["phone"])
    page.evaluate("localStorage.clear()")
    yield page
    page.evaluate("localStorage.clear()")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_field_says_what_is_wrong_and_fits_a_phone(chapter, theme):
    set_theme(chapter, theme)
    assert answer(chapter, "").startswith("Not yet. Put your answer in")
    assert answer(chapter, "21").startswith("Not yet. 21 stores each token with its")
    assert answer(chapter, "<b>7</b>") == "Not yet. It should be a number, and is text."
    assert answer(chapter, "7").startswith("Right. 4, then 10, then 7")
    assert chapter.locator("#ex-04-1 .answer-solved").count() == 1
    assert chapter.evaluate("document.body.scrollWidth <= innerWidth")
    assert not chapter.problems


def test_a_chinese_page_says_it_in_chinese_and_marks_what_is_solved(visit):
    page = visit(f"zh_CN/{CHAPTER}", WIDTHS["phone"])
    assert answer(page, "21").startswith("还不对。21 ")
    assert page.locator("#ex-04-1 .answer-solved").count() == 0
    assert answer(page, "7").startswith("对了。")
    assert page.locator("#ex-04-1 .answer-solved").inner_text() == "已解出"
    page.evaluate("localStorage.clear()")
    assert not page.problems


def test_the_keyboard_is_enough(chapter):
    tab_to(chapter, chapter.locator(f"{FIELD} input").element_handle())
    chapter.keyboard.type("7")
    chapter.keyboard.press("Tab")
    chapter.keyboard.press("Space")
    assert chapter.locator(f"{FIELD} output").inner_text().startswith("Right.")


def test_an_order_is_chosen_from_its_names(visit):
    page = visit("book/05_rwkv_in_100_lines.html", WIDTHS["phone"])
    field = page.locator("#ex-05-4 .answer-field")
    for select in field.locator("select").all():
        select.select_option(index=1)
    field.locator("button").click()
    said = field.locator("output").inner_text()
    assert said.startswith("Not yet. It should be a list with each of these names once")
    assert page.evaluate("document.body.scrollWidth <= innerWidth")


def test_an_exercise_of_code_says_where_to_run_it(chapter):
    links = chapter.locator("#ex-04-3 .answer-run a")
    found = links.evaluate_all("all => all.map((link) => link.href)")
    assert [name for name in ("mybinder", "colab", ".ipynb") if name in str(found)] == [
        "mybinder",
        "colab",
        ".ipynb",
    ]


@pytest.mark.parametrize("width", WIDTHS.values())
def test_a_wrong_answer_is_folded_below_an_exercise_of_code(visit, width):
    page = visit(CHAPTER, width)
    box = page.locator("#ex-04-3 .answer-slip")
    assert not box.locator(".answer-said").is_visible()
    tab_to(page, box.locator("summary").element_handle())
    page.keyboard.press("Enter")
    assert box.locator("pre").inner_text().startswith("def slip_04_3(")
    said = box.locator(".answer-said").inner_text()
    assert said.startswith("04.3: Not yet. A neighbour has faded")
    if width == WIDTHS["phone"]:  # what is wide now can be scrolled with the keyboard
        page.wait_for_function(
            "document.querySelector('#ex-04-3 .answer-slip pre').tabIndex === 0"
        )
    assert page.evaluate("document.body.scrollWidth <= innerWidth")
    assert not page.problems


def test_a_chinese_page_has_it_in_chinese(visit):
    box = visit(f"zh_CN/{CHAPTER}", WIDTHS["phone"]).locator("#ex-04-3 .answer-slip")
    assert box.locator("summary").inner_text() == "一个常见的错误答案，以及检查怎么说"
    box.locator("summary").click()
    assert box.locator(".answer-said").inner_text().startswith("04.3：还不对。")


def test_the_first_page_counts_what_is_solved_and_leads_back(chapter, visit):
    answer(chapter, "7")
    chapter.locator("article h2").nth(3).evaluate("(head) => head.scrollIntoView()")
    chapter.wait_for_function(
        "JSON.parse(localStorage['rwkv-book-progress']).stop?.section === 4"
    )
    first = visit(FIRST, WIDTHS["desktop"])
    link = first.locator(".book-progress a")
    assert link.inner_text() == "Continue with section 4 of chapter 4"
    assert "1 of" in first.locator(".map-solved").inner_text()
    first.locator(".book-progress button").click()
    assert first.locator(".book-progress, .map-solved").count() == 0
    assert first.evaluate("localStorage.getItem('rwkv-book-progress')") is None


REFUSED = """Object.defineProperty(window, "localStorage", {
  get() { throw new DOMException("storage is refused", "SecurityError"); } });"""


@pytest.mark.parametrize("refused", [False, True])
def test_it_works_from_a_file_and_where_nothing_may_be_stored(browser, refused):
    with browser.new_context() as context:
        if refused:
            context.add_init_script(REFUSED)
        page = context.new_page()
        problems = []
        page.on("pageerror", lambda error: problems.append(error))
        page.goto((SITE / CHAPTER).as_uri())
        assert answer(page, "7").startswith("Right.")
        page.goto((SITE / FIRST).as_uri())
        assert page.locator(".map-solved").count() == (0 if refused else 1)
        # The theme's own scripts complain of the refusal; ours may not, nor of others.
        assert {str(error) for error in problems} <= {"storage is refused"}
        assert not [error for error in problems if "answers.js" in error.stack]
