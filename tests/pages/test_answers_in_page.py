"""Exercises answer in the page, and a browser remembers what its reader did."""

import pytest
from helpers.browser import SITE, WIDTHS, tab_to

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
    page = visit(CHAPTER, WIDTHS["phone"], formulas=False)
    page.evaluate("localStorage.clear()")
    yield page
    page.evaluate("localStorage.clear()")


def test_a_field_says_what_is_wrong_and_fits_a_phone(chapter):
    assert answer(chapter, "").startswith("Not yet. Put your answer in")
    assert answer(chapter, "21").startswith("Not yet. 21 stores each token with its")
    assert answer(chapter, "<b>7</b>") == "Not yet. It should be a number, and is text."
    assert answer(chapter, "7").startswith("Right. 4, then 10, then 7")
    assert chapter.locator("#ex-04-1 .answer-solved").count() == 1
    assert chapter.evaluate("document.body.scrollWidth <= innerWidth")
    assert not chapter.problems


def test_a_chinese_page_says_it_in_chinese_and_marks_what_is_solved(visit):
    page = visit(f"zh_CN/{CHAPTER}", WIDTHS["phone"], formulas=False)
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
    page = visit("book/05_rwkv_in_100_lines.html", WIDTHS["phone"], formulas=False)
    field = page.locator("#ex-05-4 .answer-field")
    for select in field.locator("select").all():
        select.select_option(index=1)
    field.locator("button").click()
    said = field.locator("output").inner_text()
    assert said.startswith("Not yet. It should be a list with each of these names once")
    assert page.evaluate("document.body.scrollWidth <= innerWidth")


def test_letters_are_ticked(visit):
    page = visit("book/08_equal_terms.html", WIDTHS["phone"], formulas=False)
    field = page.locator("#ex-08-2 .answer-field")
    said = field.locator("output")
    field.locator("button").click()
    assert said.inner_text() == "Not yet. Put your answer in first."
    for letter, sentence in {
        "b": "Not yet. True as far as it goes, and there is more: 3 still to find.",
        "e": "Not yet. There is nothing unfair in e. The same windows",
    }.items():
        field.get_by_label(letter, exact=True).check()
        field.locator("button").click()
        assert said.inner_text().startswith(sentence)
    for letter in "cdef":
        field.get_by_label(letter, exact=True).set_checked(letter != "e")
    field.locator("button").click()
    assert said.inner_text().startswith("Right. An hour each is equal time")
    for label in field.locator("label").all():
        box = label.bounding_box()
        assert min(box["width"], box["height"]) >= 24
    assert page.evaluate("document.body.scrollWidth <= innerWidth")
    page.evaluate("localStorage.clear()")
    assert not page.problems


def test_a_name_is_typed_however_it_is_spelt(visit):
    page = visit("book/16_one_family.html", WIDTHS["phone"], formulas=False)
    field = "#ex-16-2 .answer-field"
    assert answer(page, "Kimi Linear", field).startswith("Not yet. Kimi's decay is one")
    assert answer(page, "???", field).startswith("Not yet. What fades")
    assert answer(page, "gated deltanet", field).startswith("Right. One decay a head")
    page.evaluate("localStorage.clear()")
    assert not page.problems


def test_a_wrong_answer_is_folded_below_an_exercise_of_code(visit):
    page = visit(CHAPTER, WIDTHS["phone"], formulas=False)
    box = page.locator("#ex-04-3 .answer-slip")
    assert not box.locator(".answer-said").is_visible()
    tab_to(page, box.locator("summary").element_handle())
    page.keyboard.press("Enter")
    assert box.locator("pre").inner_text().startswith("def slip_04_3(")
    said = box.locator(".answer-said").inner_text()
    assert said.startswith("04.3: Not yet. A neighbour has faded")
    page.wait_for_function(  # what is wide now can be scrolled with the keyboard
        "document.querySelector('#ex-04-3 .answer-slip pre').tabIndex === 0"
    )
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.body.scrollWidth <= innerWidth")
    assert not page.problems


def test_a_chinese_page_has_it_in_chinese(visit):
    page = visit(f"zh_CN/{CHAPTER}", WIDTHS["phone"], formulas=False)
    box = page.locator("#ex-04-3 .answer-slip")
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
    station = first.locator(".book-map [aria-current=location]")
    assert station.get_attribute("href") == CHAPTER.removeprefix("book/")
    stop = first.locator(".book-map li:has([aria-current]) .map-stop")
    assert stop.inner_text() == "You stopped in section 4"
    first.locator(".book-progress button").click()
    marks = ".book-progress, .map-solved, .map-stop, .book-map [aria-current]"
    assert first.locator(marks).count() == 0
    assert first.evaluate("localStorage.getItem('rwkv-book-progress')") is None


def test_the_chinese_map_knows_of_chapters_in_english_too(chapter, visit):
    chapter.evaluate(
        """localStorage['rwkv-book-progress'] = JSON.stringify({
          solved: ["06.1"],
          stop: { page: "06_two_faces.html", id: "exercises", chapter: 6, section: 2 },
        })"""
    )
    first = visit(f"zh_CN/{FIRST}", WIDTHS["desktop"])
    station = first.locator(".book-map li:has([aria-current=location])")
    link = "../../book/06_two_faces.html"
    assert station.locator("a").get_attribute("href") == link
    assert station.locator(".map-stop").inner_text() == "你停在第 2 节"
    assert station.locator(".map-solved").count() == 1
    way_back = first.locator(".book-progress a").get_attribute("href")
    assert way_back == f"{link}#exercises"
    assert not first.problems


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
