"""What the pages are for a reader: a way through, notes, little to load, a keyboard."""

import json
import re
from functools import cache
from html import escape, unescape
from pathlib import Path

import pytest
from helpers.browser import (
    SITE,
    WIDTHS,
    compressed,
    loaded,
    move,
    open_search,
    set_theme,
    tab_to,
)
from matplotlib.image import imread
from playwright.sync_api import expect

from rwkv_book.exercises import export
from tools import contents
from tools.contents import BOOK, ROOT
from tools.notebooks.copies import IN_BINDER, PUBLISHED
from tools.site.sphinx_moved import MOVED

FIRST, *PAGES = [f"{page.relative_to(ROOT)}.html" for page in contents.pages()]
CHAPTERS = [name for name in PAGES if re.match(r"book/\d\d_", name)]
LIVE = "data-live="
HEAVIEST_FIRST, MOST_FILES_FIRST = 400_000, 40  # bytes, compressed

pytestmark = pytest.mark.browser


@cache
def source(name):
    path = SITE / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def found(pattern, text):
    """The words of what a pattern finds in some HTML, or None."""
    match = re.search(pattern, text, re.DOTALL)
    return match and " ".join(unescape(re.sub(r"<[^>]+>", "", match[1])).split())


def question(name):
    return found(r'<p class="question">(.*?)</p>', source(name))


def facts(name):
    return found(r'<p class="page-facts"[^>]*>(.*?)</p>', source(name))


# --- the way through the book -------------------------------------------------------


def test_the_map_follows_the_table_of_contents(visit, address):
    page = visit(FIRST, WIDTHS["desktop"])
    links = page.locator(".book-map a")
    found = links.evaluate_all("all => all.map((link) => link.href)")
    assert [link.removeprefix(f"{address}/") for link in found] == PAGES
    assert links.evaluate_all("all => all.every((link) => link.tabIndex === 0)")
    captions = page.locator(".map-caption").all_inner_texts()
    assert captions == [caption for caption in contents.parts() if caption]
    links.first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{PAGES[0]}")


def test_a_station_tells_the_question_and_the_time_of_its_page():
    told = {
        f"book/{link}": stop
        for link, stop in re.findall(
            r'<li><a href="(.*?)"(.*?)</li>', map_of_the_book(), re.DOTALL
        )
    }
    assert list(told) == PAGES
    for name, stop in told.items():
        assert found(r'"map-question">(.*?)</p>', stop) == question(name)
        if question(name):
            assert found(r'"map-time">(.*?)</p>', stop) in facts(name)


def map_of_the_book():
    return re.search(r'<nav class="book-map".*?</nav>', source(FIRST), re.DOTALL)[0]


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_opens_with_its_question_and_its_time(name):
    assert question(name).endswith("?")
    stated = re.match(r"about (\d+) minutes to read", facts(name))[1]
    assert "to run" in facts(name)
    # What the chapter promises is what its words, code, figures and formulas need.
    computed = int(found(r'data-minutes="(\d+)"', source(name)))
    assert abs(computed - int(stated)) <= 3


def test_the_way_on_asks_what_the_next_page_answers():
    for name, following in zip([FIRST, *PAGES], PAGES, strict=False):
        way_on = found(r'(<a class="right-next".*?</a>)', source(name))
        assert way_on.endswith(question(following) or ""), name


@pytest.mark.parametrize("path", contents.notebooks(), ids=lambda path: path.stem)
def test_the_buttons_of_a_page_open_its_copy_in_binder_and_in_colab(path):
    name = path.relative_to(ROOT).with_suffix(".html").as_posix()
    copy = path.relative_to(BOOK).as_posix()
    places = r'href="https://(?:mybinder\.org|colab\.research\.google\.com)/([^"]*)"'
    assert sorted(re.findall(places, source(name))) == [
        f"github/rwkv-book/rwkv-book/blob/{PUBLISHED}/book/{copy}",
        f"v2/gh/rwkv-book/rwkv-book/main?urlpath=lab/tree/{IN_BINDER}/{copy}",
    ]


@pytest.mark.parametrize("name", CHAPTERS)
def test_an_exercise_has_the_number_of_its_check(name):
    shown = re.findall(r'"caption-number">Exercise (\S+)', source(name))
    chapter = re.search(r"/(\d\d)_", name)[1]
    assert shown == [f"{chapter}.{n}" for n in range(1, len(shown) + 1)] != []


@pytest.mark.parametrize("name", CHAPTERS)
def test_an_exercise_has_a_tag_and_a_link(name):
    titles = re.findall(
        r'<div class="exercise admonition" id="([^"]*)">\s*<p class="admonition-title">'
        r"(.*?)</p>",
        source(name),
        re.DOTALL,
    )
    assert titles
    for label, title in titles:
        assert re.search(r'"exercise-kind">\w[^<]*minutes</span>', title), title
        assert f'class="headerlink" href="#{label}"' in title
        assert "((" not in title and "))" not in title and "> (" not in title


# --- what is on a page --------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [n for n in [FIRST, *PAGES] if n in CHAPTERS or LIVE in source(n)]
)
def test_what_is_on_a_page_can_be_reached_by_everybody(visit, name):
    """A page is opened once for all these checks, as that takes longer than they do."""
    page = visit(name, WIDTHS["desktop"], formulas=False)
    if name in CHAPTERS:
        check_links(page)
        check_where_code_is_run(page, name)
    check_screen_reader(page)
    if name != FIRST and LIVE in source(name):
        check_keyboard(page)
    assert page.problems == []


COPIED = """(all) => all.map((link) => ({
  leads: link.getAttribute("href"),
  says: link.getAttribute("aria-label"),
  there: document.querySelectorAll("#" + CSS.escape(link.hash.slice(1))).length,
  within: link.closest("[id]").id,
}))"""


def check_links(page):
    """Figures, exercises and formulas, each once and each with a name."""
    kinds = {
        "figure": ".figure-place",
        "exercise": "div.exercise",
        "equation": "div.math",
    }
    seen = []
    for kind, place in kinds.items():
        places = page.locator(f"article {place}")
        links = page.locator(f"article {place} a.headerlink").evaluate_all(COPIED)
        assert len(links) == places.count()
        for link in links:
            assert link["says"] == f"Link to this {kind}"
            assert link["there"] == 1 and link["leads"] == f"#{link['within']}"
        seen += [link["leads"] for link in links]
    assert len(set(seen)) == len(seen) > 0
    loose = page.locator("article .cell_output :is(svg[role=img], [data-live])")
    outside = loose.evaluate_all(
        "all => all.filter((one) => !one.closest('.figure-place')).length"
    )
    assert outside == 0


def check_where_code_is_run(page, name):
    """Every exercise that wants code says where, and no other one does."""
    path = Path(name).with_suffix(".ipynb")
    for number, exercise in export.of_chapter(path.stem[:2]).items():
        links = page.locator(f"#ex-{number.replace('.', '-')} .answer-run a")
        found = links.evaluate_all("all => all.map((link) => link.href)")
        if exercise["kind"] != "code":
            assert found == []
            continue
        assert all(path.name in link for link in found), number
        for place in ("https://mybinder", "https://colab", "http://127.0.0.1"):
            assert any(link.startswith(place) for link in found), (number, place)


def test_the_link_of_a_figure_comes_with_the_keyboard(visit):
    page = visit("book/04_wkv_operator.html", WIDTHS["desktop"], formulas=False)
    link = page.locator("article .figure-place > a.headerlink").first
    opacity = "(link) => getComputedStyle(link).opacity"
    page.mouse.move(0, 0)
    assert link.evaluate(opacity) == "0"
    tab_to(page, link)
    page.wait_for_function(
        f"link => ({opacity})(link) === '1'", arg=link.element_handle()
    )
    page.keyboard.press("Enter")
    assert page.url.endswith(link.get_attribute("href"))


@pytest.mark.parametrize(
    "place", ['"figure-place docutils container"', r'"math [^>]*"']
)
def test_a_figure_or_formula_has_the_same_address_in_another_language(place):
    english, other = (
        re.findall(rf'class={place} id="([^"]*)"', source(name))
        for name in ("book/04_wkv_operator.html", "zh_CN/book/04_wkv_operator.html")
    )
    assert english == other != []


# --- notes --------------------------------------------------------------------------


def test_a_note_comes_with_the_keyboard_and_the_pointer(visit):
    page = visit("book/04_wkv_operator.html", WIDTHS["desktop"])
    for selector, says in {
        "a:has(> .std-term)": r"\w+ \w+ \w+",
        ".bibtex-citation a": r"(19|20)\d\d\.",
        "a.reference[href^='#equation-']": r".",
    }.items():
        check_note(page, page.locator(f"article {selector}").first, says)
    assert page.problems == []


def check_note(page, link, says):
    note = page.locator("#book-note")
    link.focus()
    note.wait_for(state="visible")
    assert re.search(says, note.inner_text())
    assert link.get_attribute("aria-describedby") == "book-note"
    page.keyboard.press("Escape")
    note.wait_for(state="hidden")
    assert link.get_attribute("aria-describedby") is None
    link.hover()
    note.wait_for(state="visible")
    box = note.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= WIDTHS["desktop"]
    note.hover()  # and one can go and read it
    page.wait_for_timeout(400)
    assert note.is_visible()
    page.keyboard.press("Escape")
    note.wait_for(state="hidden")


def test_what_is_in_the_margin_stands_beside_the_text_or_in_it(visit):
    page = visit("book/10_the_fast_path.html", WIDTHS["desktop"])
    asides = page.locator("article aside.margin")
    edge = """(aside) => {
      const { left, right, width } = aside.getBoundingClientRect();
      const column = aside.parentElement.getBoundingClientRect();
      return [left - column.right, innerWidth - right, width];
    }"""
    assert asides.count() > 1
    for aside in asides.all():
        gap, room, width = aside.evaluate(edge)
        assert gap > 0 and room >= 0 and width >= 150
    page.set_viewport_size({"width": WIDTHS["phone"], "height": 900})
    for aside in asides.all():
        gap, room, width = aside.evaluate(edge)
        assert gap <= 0 and room >= 0 and width >= 300


# --- what a page loads --------------------------------------------------------------


def test_the_first_page_loads_little(visit):
    files = loaded(visit(FIRST, WIDTHS["desktop"]))
    assert sum(map(compressed, files)) < HEAVIEST_FIRST
    assert len(files) <= MOST_FILES_FIRST
    heavy = ("embed-amd", "fontawesome", "mathjax")
    assert not [path for path in files if any(name in path for name in heavy)]


BLOCKS = re.compile(
    r"<script (?![^>]*(?:defer|async|type=))[^>]*src=[^>]*></script>"
    r'|<link [^>]*rel="stylesheet"[^>]*>'
)


@pytest.mark.parametrize("name", [FIRST, *PAGES, "search.html"])
def test_nothing_large_stands_before_a_page_s_first_word(name):
    """Bytes, compressed, without which a browser does not begin to draw."""
    html = source(name)
    head = html[: html.index("</head>")]
    folder = (SITE / name).parent
    blocking = {
        (folder / path.partition("?")[0]).resolve().relative_to(SITE.resolve())
        for tag in BLOCKS.findall(head)
        for path in re.findall(r'(?:src|href)="([^"]*)"', tag)
    }
    assert len(head) < 20_000
    weights = {path.as_posix(): compressed(path.as_posix()) for path in blocking}
    scripts = {path: weight for path, weight in weights.items() if path.endswith("js")}
    assert sum(scripts.values()) < 2_000, scripts
    assert 30_000 < sum(weights.values()) < 60_000, weights


# --- by keyboard --------------------------------------------------------------------


def check_keyboard(page):
    """It reaches and moves every live figure."""
    fields = page.locator("[data-live] :is(input, select)").all()
    assert fields
    for field in fields:
        if field.get_attribute("type") == "text":  # the last choice may be "your own"
            figure = field.locator("xpath=ancestor::*[@data-live]")
            for select in figure.locator("select").all():
                select.select_option(index=select.locator("option").count() - 1)
        figure = field.locator("xpath=ancestor::*[@data-live]")
        told = figure.locator("[role=status]").text_content()
        before, after = move(field)
        assert before != after
        new = figure.locator("[role=status]").text_content()
        assert told and told != new and 3 < len(new) <= 300, new
        if field.get_attribute("type") == "range":  # its value, not its position
            shown = field.locator("xpath=..").locator(".live-value").inner_text()
            assert field.get_attribute("aria-valuetext") == shown
        if field.get_attribute("type") == "text":  # which the other controls are about
            page.keyboard.press("Backspace")


def test_the_arrow_keys_turn_pages_unless_a_field_has_them(visit):
    name, after = CHAPTERS[3:5]
    page = visit(name, WIDTHS["desktop"], formulas=False)
    page.locator("article input[type=range]").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert page.url.endswith(name)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{after}")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/{name}")


def test_the_arrow_keys_scroll_what_is_wide_and_turn_no_page(visit):
    name = CHAPTERS[3]
    page = visit(name, WIDTHS["phone"], formulas=False)
    wide = page.locator("article .highlight pre[tabindex='0']").first
    wide.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(200)
    assert page.url.endswith(name)
    assert wide.evaluate("(code) => code.scrollLeft") > 0
    for _ in range(5):  # at its beginning, too
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(200)
    assert page.url.endswith(name)
    assert wide.evaluate("(code) => code.scrollLeft") == 0


# --- figures that compute -------------------------------------------------------------


def check_screen_reader(page):
    """It is told a line and no whole figure."""
    for figure in page.locator("[data-live]").all():
        status = figure.locator("[role=status]")
        assert 3 < len(status.text_content()) <= 300
        assert figure.locator(".live-output [role=status]").count() == 0
        box = status.bounding_box()
        assert box["width"] <= 1 and box["height"] <= 1  # and eyes see no more of it


def without_a_value(route):
    """A page whose first figure begins with a value that it can't draw."""
    html = route.fetch().text()
    before, place, after = re.split(r'(?<=data-live=")([^"]*)', html, maxsplit=1)
    about = json.loads(unescape(place))
    about["controls"][0]["options"][0][1] = None
    about["controls"][0]["start"] = 0
    html = f"{before}{escape(json.dumps(about))}{after}"
    route.fulfill(body=html, content_type="text/html")


def test_a_figure_that_can_not_be_drawn_says_so_until_it_can(visit, context):
    name = "book/16_one_family.html"
    context.route(f"**/{name}", without_a_value)
    page = visit(name, WIDTHS["desktop"], formulas=False)
    context.unroute(f"**/{name}")
    figure = page.locator("[data-live]").first
    shown, status = figure.locator(".live-output"), figure.locator("[role=status]")
    for said in (shown.inner_text(), status.text_content()):
        assert said.startswith("This can't be drawn. TypeError: ")
    field = figure.locator("input[type=range]").first
    field.press("ArrowRight")
    assert "can't be drawn" not in shown.inner_text() + status.text_content()
    assert shown.locator("table").count() == 1
    field.press("ArrowLeft")
    assert shown.inner_text().startswith("This can't be drawn.")
    assert page.problems == []


# --- addresses that pages had ---------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        (f"{old}.html{place}", f"{new}.html{there}")
        for old, new in MOVED.items()
        for place, there in {
            "": "",
            "#exercises": "#exercises",
            f"#ex-{old[5:7]}-1": f"#ex-{new[5:7]}-1",
        }.items()
    ],
)
def test_an_old_address_leads_to_the_same_place_of_the_page(visit, link, leads):
    """Where it leads is a page that we know: of that one, an empty sheet is enough."""
    page = visit("search.html", WIDTHS["phone"])
    name, _, place = leads.partition("#")
    page.route(f"**/{name}", lambda route: route.fulfill(body="There."))
    page.goto(f"{page.url.removesuffix('search.html')}{link}")
    page.wait_for_url(f"**/{leads}")
    assert (SITE / name).exists()
    assert not place or source(name).count(f' id="{place}"') == 1


@pytest.mark.parametrize("name", [FIRST, *PAGES])
def test_a_page_names_the_address_that_has_no_version(name):
    """Under which a release's pages want to be found as well."""
    address = f"{contents.SITE}/{name}"
    assert re.findall(r'rel="canonical" href="([^"]*)"', source(name)) == [address]


# --- the search ---------------------------------------------------------------------


def search(visit, query):
    """Types a query; the first sections that are found, [(title, link, excerpt)]."""
    page = visit("search.html", WIDTHS["desktop"])
    page.keyboard.type(query)  # the field has the focus
    page.wait_for_selector("#search-results li")
    told = page.locator("#search-results li").evaluate_all(
        "all => all.map((item) => ['a', 'a', 'p'].map((part, n) =>"
        " item.querySelector(part)[['textContent', 'href', 'textContent'][n]]))"
    )
    assert page.problems == []
    return told


@pytest.mark.parametrize("query", ["token shift", "tokenshift", "TOKEN-SHIFT"])
def test_a_search_finds_a_term_however_it_is_written(visit, query):
    (title, link, _), *_ = search(visit, query)
    assert title == "token shift" and "glossary.html#term-token-shift" in link


def test_a_search_finds_sections_and_shows_no_source_of_formulas(visit):
    told = search(visit, "bonus")
    anchors = [link.partition("#")[2] for _, link, _ in told]
    assert sum(map(bool, anchors)) > len(told) / 2
    for title, _, excerpt in told:
        assert not re.search(r"\\[(a-z]|\$", title + excerpt)


def test_a_search_that_finds_nothing_says_so(visit):
    page = visit("search.html?q=qwertzuiop", WIDTHS["desktop"])
    page.wait_for_selector("#search-results [role=status]")
    assert page.locator("#search-results").inner_text().startswith("Nothing.")


IN_DIALOG = "#pst-search-dialog #search-results"
HAS_FOCUS = "(element) => document.activeElement === element"


@pytest.mark.parametrize(
    ("name", "query", "term"),
    [
        ("book/04_wkv_operator.html", "token shift", "token shift"),
        ("zh_CN/book/04_wkv_operator.html", "半衰期是什么", "半衰期"),
    ],
)
def test_the_dialog_finds_sections_as_one_types(visit, name, query, term):
    page = visit(name, WIDTHS["desktop"], formulas=False)
    assert not any("search-data" in path for path in loaded(page))
    open_search(page)
    page.keyboard.type(query)
    sections = page.locator(f"{IN_DIALOG} li > a")
    expect(sections.first).to_have_text(term)
    field = page.locator("#pst-search-dialog input")
    for key, element in (
        ("ArrowDown", sections.first),
        ("ArrowDown", sections.nth(1)),
        ("ArrowUp", sections.first),
        ("ArrowUp", field),
        ("Tab", sections.first),
    ):
        page.keyboard.press(key)
        assert element.evaluate(HAS_FOCUS), key
    page.keyboard.press("Escape")
    assert not page.locator("#pst-search-dialog").evaluate("dialog => dialog.open")
    page.keyboard.press("Control+k")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/glossary.html#term-*")
    assert page.problems == []


def test_what_is_typed_into_the_dialog_stays_text(visit):
    page = visit("book/04_wkv_operator.html", WIDTHS["phone"], formulas=False)
    open_search(page)
    page.keyboard.type("<u>")
    expect(page.locator(f"{IN_DIALOG} [role=status]")).to_have_text(re.compile(r"\w"))
    assert page.locator(f"{IN_DIALOG} u").count() == 0
    page.keyboard.type("q")
    expect(page.locator(f"{IN_DIALOG} [role=status]")).to_contain_text("Nothing.")
    for _ in range(4):
        page.keyboard.press("Backspace")
    expect(page.locator(IN_DIALOG)).to_be_hidden()


@pytest.mark.parametrize("name", ["search.html", "book/04_wkv_operator.html"])
def test_the_icon_of_a_search_field_lies_before_its_first_letter(visit, name):
    page = visit(name, WIDTHS["phone"], formulas=False)
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        if name != "search.html":
            open_search(page)
        room = page.locator("form.bd-search:visible").evaluate(
            """(form) => {
              const icon = form.querySelector("svg");
              const field = form.querySelector("input");
              const begins = field.getBoundingClientRect().left +
                parseFloat(getComputedStyle(field).paddingInlineStart);
              return begins - icon.getBoundingClientRect().right;
            }"""
        )
        assert 2 <= room <= 40, width
        page.keyboard.press("Escape")


# --- on a phone -----------------------------------------------------------------------


def test_every_icon_at_the_top_has_a_word_on_a_phone(visit):
    """Nothing can rest on it there to see its title."""
    page = visit("book/04_wkv_operator.html", WIDTHS["phone"], formulas=False)
    said = page.locator(".bd-header-article .btn:visible").evaluate_all(
        """all => all.map((button) => {
          const { content, display } = getComputedStyle(button, "::after");
          return [content, display, button.getBoundingClientRect().right];
        })"""
    )
    assert len(said) >= 5
    for content, display, right in said:
        assert re.fullmatch(r'"\w+"', content) and display == "block"
        assert right <= WIDTHS["phone"]
    assert len({content for content, *_ in said}) == len(said)


# --- for programs -------------------------------------------------------------------


def test_programs_find_every_page_as_plain_text():
    listed = re.findall(r"\]\((\S+)\)", (SITE / "llms.txt").read_text("utf-8"))
    assert listed == [
        f"{contents.SITE}/{name.removesuffix('html')}md" for name in [FIRST, *PAGES]
    ]
    for name in [FIRST, *PAGES]:
        beside = (SITE / name).with_suffix(".md")
        assert f'type="text/markdown" href="{beside.name}"' in source(name)
        [link] = re.findall(r'type="text/plain" href="([^"]*)"', source(name))
        assert (SITE / name).parent.joinpath(link).resolve() == SITE / "llms.txt"
        assert re.search(r"^# \w", beside.read_text("utf-8"), re.MULTILINE), name


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_says_how_it_is_cited(name):
    told = dict(re.findall(r'name="citation_(\w+)" content="(.*?)"', source(name)))
    assert told["public_url"] == f"{contents.SITE}/{name}"
    assert told["title"] in unescape(source(name))
    assert {"author", "inbook_title"} < set(told)
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    [released, *_] = re.findall(r"(?m)^## \S+ · (\S+)$", changes)
    assert told["publication_date"] == released.replace("-", "/")


@pytest.mark.parametrize("name", [FIRST, *PAGES])
def test_a_page_that_is_shared_has_a_picture(name):
    """Its own first figure, or the first page's, in words as well."""
    told = dict(re.findall(r'property="og:image(\S*)" content="(.*?)"', source(name)))
    path = SITE / told[""].removeprefix(f"{contents.SITE}/")
    size = int(told[":height"]), int(told[":width"])
    assert imread(path).shape[:2] == size == (630, 1200)
    own = re.search(r'<svg role="img" aria-label="([^"]*)"', source(name))
    shown = own or re.search(r'<svg role="img" aria-label="([^"]*)"', source(FIRST))
    assert unescape(told[":alt"]) == unescape(shown[1])
    assert path.stem == (Path(name if own else FIRST).stem)


# --- how it looks -------------------------------------------------------------------


def test_88_columns_of_code_fit_beside_both_tables_of_contents(visit):
    page = visit("book/05_rwkv_in_100_lines.html", WIDTHS["desktop"], formulas=False)
    solution = page.locator("article div.solution").filter(has=page.locator("pre"))
    solution.first.locator("button.toggle-button").click()
    for place in ("article section > div.cell", "article div.solution div.cell"):
        room, size = page.locator(f"{place} div.cell_input pre").first.evaluate(
            """(code) => {
              code.textContent = "x".repeat(88);
              const size = Number.parseFloat(getComputedStyle(code).fontSize);
              return [code.clientWidth - code.scrollWidth, size];
            }"""
        )
        assert room == 0 and size >= 14.5, place
    lines = page.locator("article section > p:not([class])").first.evaluate(
        "(text) => text.getBoundingClientRect().width /"
        " parseFloat(getComputedStyle(text).fontSize)"
    )
    assert lines <= 38  # em: some 80 letters of a line of text


INK = "p => getComputedStyle(p).color"


def test_paper_has_the_text_alone_in_dark_ink(visit):
    page = visit("book/04_wkv_operator.html", 657)  # A4 less its margins
    for theme in ("light", "dark"):
        page.emulate_media(media="screen")
        set_theme(page, theme)
        page.emulate_media(media="print", color_scheme=theme)
        ink = page.locator("article p.question").evaluate(INK)
        assert max(map(int, re.findall(r"\d+", ink))) < 80, theme
    for hidden in (".bd-header-article", ".prev-next-area", ".bd-sidebar-primary"):
        assert not page.locator(hidden).first.is_visible(), hidden
    clipped = page.locator("article pre").evaluate_all(
        "all => all.filter((code) => code.scrollWidth > code.clientWidth + 1).length"
    )
    assert clipped == 0
    sizes = """(selector) => Number.parseFloat(
      getComputedStyle(document.querySelector(selector)).fontSize)"""
    code, text = (
        page.evaluate(sizes, each)
        for each in ("article div.cell_input pre", "article section > p:not([class])")
    )
    assert 0.85 <= code / text <= 1
    assert not page.locator(".live input").first.is_visible()
