"""The workshop in a box: what participants get, what the teacher reads and shows."""

import ast
import builtins
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache

import nbformat
import numpy as np
import pytest
import torch
from helpers.plans import blocks_of

from rwkv_book import cost
from rwkv_book.rwkv4 import wkv
from tools.contents import ROOT, chapters
from tools.notebooks import plain_markdown
from tools.notebooks.copies import FOLDED, without_solutions
from tools.notebooks.plain_markdown import cells
from tools.notebooks.translated import published
from tools.workshop import downloads, participant, slides

LABEL = re.compile(r"^:label: ex-(\d\d)-(\d)$", re.MULTILINE)
CHECK = r'exercises\.check\("(\d\d\.\d)"'
every_chapter = pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)

# Runs cells of code one after the other; whoever asks for another machine is refused.
NO_NETWORK = """
import json, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"there is no network: {event} {arguments[1:]}")

sys.addaudithook(refuse)
for code in json.load(sys.stdin):
    exec(code, globals())
"""


@cache
def copy_of(path):
    return participant.participants_copy(path)


def code_of(cells):
    """The code of cells as Python alone: what only Colab runs, is left out."""
    codes = [cell.source for cell in cells if cell.cell_type == "code"]
    return [re.sub(r"(?m)^( *)%pip .*$", r"\1pass", code) for code in codes]


def text_of(cells):
    return "\n\n".join(cell.source for cell in cells)


def removed(path):
    """The code of a chapter that participants don't get."""
    kept = code_of(copy_of(path).cells)
    return [code for code in code_of(cells(path)) if code not in kept]


# What participants get.


@every_chapter
def test_no_solution_is_left(path):
    solutions = text_of(cells(path)).count(":::{solution-start}")
    assert len(removed(path)) >= solutions > 0
    text = text_of(copy_of(path).cells)
    assert "solution" not in text
    assert all("solution" in code or code not in text for code in removed(path))


@every_chapter
def test_every_exercise_is_there_with_its_check(path):
    numbers = [".".join(found) for found in LABEL.findall(text_of(cells(path)))]
    copy = copy_of(path)
    headings = re.findall(r"^### Exercise (\d\d\.\d) · .", text_of(copy.cells), re.M)
    assert headings == numbers != []
    code = "\n".join(code_of(copy.cells))
    checked = re.findall(CHECK, "\n".join(code_of(cells(path))))
    assert re.findall(CHECK, code) == sorted(set(checked)) != []


@every_chapter
def test_a_copy_is_a_valid_notebook_that_nobody_has_run(path):
    copy = copy_of(path)
    nbformat.validate(copy)
    assert "widgets" not in copy.metadata
    for cell in copy.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@every_chapter
def test_what_the_page_hides_is_folded_and_nothing_else(path):
    code = [cell for cell in copy_of(path).cells if cell.cell_type == "code"]
    hidden = {"hide-input", "remove-input", "remove-cell"}
    for own, cell in zip(outside_of_solutions(path), code, strict=True):
        folded = hidden & set(own.metadata.get("tags", []))
        assert cell.metadata == (FOLDED if folded else {}), own.source


def outside_of_solutions(path):
    """The code cells of a chapter that stand in no solution, read cell by cell."""
    kept, inside = [], False
    for cell in cells(path):
        if cell.cell_type == "markdown":
            for border in re.findall(r"^:::\{solution-(\w+)\}", cell.source, re.M):
                inside = border == "start"
        elif not inside:
            kept.append(cell)
    return kept


def bound(codes):
    """All names that some code binds, as variables, arguments, functions or modules."""
    found = set()
    for node in (node for code in codes for node in ast.walk(ast.parse(code))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found


def used(codes):
    """All names that some code reads."""
    nodes = [node for code in codes for node in ast.walk(ast.parse(code))]
    return {node.id for node in nodes if isinstance(node, ast.Name)}


@every_chapter
def test_no_cell_needs_a_name_that_a_solution_made(path):
    kept = code_of(copy_of(path).cells)
    gone = bound(removed(path)) - bound(kept) - set(dir(builtins))
    assert not gone & used(kept)


@every_chapter
def test_what_is_outside_of_a_solution_stays(path):
    """All headings, and all code, that of every picture with it, are in the copy."""
    headings = re.compile(r"^## .+$", re.MULTILINE)
    originals = headings.findall(text_of(cells(path)))
    assert headings.findall(text_of(copy_of(path).cells)) == originals
    assert code_of(copy_of(path).cells) == code_of(outside_of_solutions(path))
    shown = outside_of_solutions(path)
    assert any(is_picture(cell) or is_slider(cell) for cell in shown)


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """The folder of `make participant`."""
    return participant.make(tmp_path_factory.mktemp("box"))


def test_the_box_holds_every_chapter_and_says_how_to_begin(box):
    there = {path.stem for path in (box / "notebooks").iterdir()}
    assert there == {path.stem for path in chapters()}
    start = (box / "START_HERE.md").read_text(encoding="utf-8")
    assert "jupyterlab==" in start and "--extra-index-url http" in start
    assert "rwkv_book doctor" in start


def test_every_part_of_the_package_is_in_the_box(box):
    package = box / "package"
    text = (package / "pyproject.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)["tool"]["setuptools"]
    folders = settings["package-dir"]
    for name in settings["packages"]:
        inside = folders.get(name) or f"{folders['']}/{name.replace('.', '/')}"
        assert (package / inside / "__init__.py").is_file(), name
    assert list((package / folders["rwkv_book.results"]).glob("ablations-*.json"))


def test_what_the_site_serves_unpacks_into_a_folder_of_its_name(box, tmp_path):
    path = downloads.archive(box, tmp_path / "downloads")
    assert path == tmp_path / "downloads" / "rwkv-workshop.zip"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    assert "rwkv-workshop/START_HERE.md" in names
    assert all(name.startswith("rwkv-workshop/") for name in names)
    served = {path.name, f"{downloads.SLIDES}.zip"}
    assert set(re.findall(r"downloads/([\w-]+\.zip)", GUIDE)) == served


def test_the_package_in_the_box_works_by_itself(box, tmp_path):
    """From the folder, not from where this book is installed: the model is in it."""
    program = (
        "import rwkv_book, sys; from rwkv_book.__main__ import main;"
        "print(rwkv_book.__file__);"
        "sys.exit(main(['generate', '--length', '5', '--prompt', 'DUKE.']))"
    )
    source = box / "package" / "src"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(source)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    where, *text = done.stdout.splitlines()
    assert where.startswith(str(source)) and text[0].startswith("DUKE.")


def test_the_checks_answer_without_a_network():
    """A chapter from top to bottom as participants have it, then its solutions."""
    (path,) = (path for path in chapters() if path.stem.startswith("16"))
    copy = code_of(copy_of(path).cells)
    todo = json.dumps([*copy, "print('=' * 9)", *removed(path)])
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK], input=todo, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    unanswered, solved = done.stdout.split("=" * 9)
    numbers = [".".join(found) for found in LABEL.findall(text_of(cells(path)))]
    for said, verdict in ((unanswered, "Not yet."), (solved, "Right.")):
        verdicts = re.findall(r"^(16\.\d): (Right\.|Not yet\.)", said, re.M)
        assert verdicts == [(number, verdict) for number in numbers]


def test_the_network_is_really_cut_there():
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK],
        input=json.dumps([code]),
        capture_output=True,
        text=True,
    )
    assert "OSError: there is no network" in done.stderr


# Plain Markdown.


def plain(text):
    return plain_markdown.plain(text, chapters()[0], "{}.html".format)


def test_roles_become_words():
    assert plain("a {term}`bag of words`") == "a bag of words"
    assert plain("{term}`FLOPs <FLOP>`") == "FLOPs"
    assert plain("{doc}`the words <appendix/glossary>`") == (
        "[the words](appendix/glossary.html)"
    )
    assert plain("{doc}`appendix/glossary`").startswith("[Notation and glossary](")
    assert plain("norm {cite}`ba2016layernorm`") == "norm (Ba et al. 2016)"
    assert plain("{cite}`hochreiter1997lstm`") == "(Hochreiter and Schmidhuber 1997)"
    assert plain("{cite}`wind2023details`") == "(Wind 2023)"


def test_every_source_can_be_cited():
    for key in plain_markdown.bibliography():
        assert re.fullmatch(r"[^{}\\]+ \d{4}", plain_markdown.cited(key)), key


def test_formulas_are_numbered_as_on_the_page():
    labels = plain_markdown.equations()
    (four,) = (path for path in chapters() if path.stem.startswith("04"))
    (five,) = (path for path in chapters() if path.stem.startswith("05"))
    assert labels["eq-wkv"] == (four, 1)
    assert labels["eq-05-count"] == (five, 8)
    assert plain("{eq}`eq-elman`") == "(1)"
    assert plain("{eq}`eq-wkv`") == "(1) of chapter 4"
    text = "```{math}\n:label: eq-wkv\na = b\n```\nand\n$$\nc\n$$ (eq-05-norm)"
    assert plain(text) == "$$\na = b \\tag{1}\n$$\nand\n$$\nc \\tag{3}\n$$"


def test_boxes_become_headings_and_quotations():
    text = ":::{exercise} Count (check)\n:label: ex-04-1\nHow many?\n:::"
    assert plain(text) == "### Exercise 04.1 · Count (check)\n\nHow many?"
    text = ":::{admonition} Why\n:class: note\nBecause.\n\nSo.\n:::"
    assert plain(text) == "> **Why**\n>\n> Because.\n>\n> So."
    assert plain(":::{note}\nMind.\n:::") == "> **Note**\n>\n> Mind."
    assert plain(":::{margin}\nBy the way.\n:::") == "> By the way."


@pytest.mark.parametrize(
    "text", ["{ref}`there`", ":::{figure} x\n:::", "```{code-cell}\n1\n```"]
)
def test_what_is_not_known_is_refused(text):
    with pytest.raises(ValueError, match="don't know how to write"):
        plain(text)


# The teacher's plan.

GUIDE = (ROOT / "book" / "workshop" / "guide.md").read_text(encoding="utf-8")
MINUTES = re.compile(r"^- \*\*(\d+) min\*\*", re.MULTILINE)
LINK = re.compile(r"\[(\w+) § ([^\]]+)\]\(\.\./(\w+)\.ipynb\)")
FIGURE = re.compile(r"“([^”]+)”")
SLIDER = re.compile(r"slider `([^`]+)`")


HALF_DAY, REST_OF_DAY = (blocks_of(GUIDE, part) for part in ("Half a day", "A day"))


@pytest.mark.parametrize(
    ("blocks", "first", "last"),
    [(HALF_DAY, 0, 240), (REST_OF_DAY, 220, 470)],
    ids=["half a day", "after lunch"],
)
def test_the_minutes_of_a_plan_add_up(blocks, first, last):
    assert blocks[0][1] == first and blocks[-1][2] == last
    for (_, _, end, _), (title, start, _, _) in itertools.pairwise(blocks):
        assert end == start, title
    for title, start, end, text in blocks:
        assert sum(map(int, MINUTES.findall(text))) == end - start, title


def test_nobody_sits_longer_than_an_hour_and_a_half():
    for part in ("Half a day", "A day"):
        sat = 0
        for title, start, end, _ in blocks_of(GUIDE, part):
            sat = 0 if title in ("Break", "Lunch") else sat + end - start
            assert sat <= 90


def test_what_may_be_skipped_is_as_long_as_the_guide_says():
    steps = "".join(text for _, _, _, text in HALF_DAY)
    steps = re.split(r"^(?=- \*\*\d+ min)", steps, flags=re.M)
    skipped = [int(MINUTES.match(s)[1]) for s in steps if "(skip when late)" in s]
    assert f"add up to {sum(skipped)} minutes" in GUIDE


def test_the_guide_names_sections_that_there_are():
    links = LINK.findall(GUIDE)
    assert len(links) > 30
    for chapter, section, name in links:
        path = ROOT / "book" / f"{name}.ipynb"
        assert chapter == "Sitting" or name.startswith(f"{chapter:0>2}_")
        headings = re.findall(r"^##+ (.+)$", text_of(cells(path)), re.MULTILINE)
        assert section in headings, (name, section)


def test_the_guide_names_figures_and_sliders_of_the_section_beside_them():
    """A step names its section first, then what is to be seen there."""
    seen = 0
    for _, _, _, text in HALF_DAY + REST_OF_DAY:
        for step in re.split(r"^- ", text, flags=re.M)[1:]:
            notebooks = {name for _, _, name in LINK.findall(step)}
            source = "".join(
                text_of(cells(ROOT / "book" / f"{name}.ipynb")) for name in notebooks
            )
            for title in FIGURE.findall(" ".join(step.split())) if notebooks else []:
                assert title in " ".join(source.split()), title
                seen += 1
            for name in SLIDER.findall(" ".join(step.split())):
                assert f'"{name.lower()}"' in source.lower(), name
                seen += 1
    assert seen > 10


def test_exercises_in_the_guide_exist():
    labels = {
        f"{chapter}.{number}"
        for path in chapters()
        for chapter, number in LABEL.findall(text_of(cells(path)))
    }
    named = set(re.findall(r"\b\d\d\.\d\b", GUIDE))
    assert named and named <= labels


def test_people_write_code_and_there_is_slack():
    titles = [title for title, *_ in HALF_DAY]
    assert any(title.startswith("Write it") for title in titles)
    slack = sum(end - start for title, start, end, _ in HALF_DAY if title == "Slack")
    assert slack >= 20


# Questions with their wrong answers.

QUESTION = re.compile(r"^\*\*Question (\d) · .+?(?=^\*\*Question|^## )", re.M | re.S)
QUESTIONS = {found[1]: found[0] for found in QUESTION.finditer(GUIDE)}
OPTION = re.compile(r"\*\*(\d)\.\*\* ([\d,.]+)")


def options(number):
    """The numbers offered to a question, and the one that is called right."""
    right = int(re.search(r"\*(\d) is right", QUESTIONS[number])[1])
    return [float(value) for _, value in OPTION.findall(QUESTIONS[number])], right


def test_every_question_has_four_answers_one_of_them_right_and_is_asked():
    plans = "".join(text for _, _, _, text in HALF_DAY + REST_OF_DAY)
    assert list(QUESTIONS) == list("12345678")
    for number in QUESTIONS:
        assert re.search(rf"question {number}", plans, re.I), number
        offered = re.findall(r"\*\*([1-4])\.\*\*", QUESTIONS[number])
        assert offered == list("1234") and options(number)[1] in range(1, 5)


def test_the_last_row_of_attention_and_what_mistakes_give():
    values, weights = np.array([12, 6, 3]), np.exp([0, 0, np.log(4)])
    answers = [values[-1], weights @ values / weights.sum(), values.mean()]
    assert np.allclose(options("2")[0], [*answers, weights @ values])
    assert options("2")[1] == 2


def test_a_fourth_token_and_what_mistakes_give():
    values = torch.tensor([4.0, 8, 2, 6]).view(1, 4, 1)
    rate = bonus = torch.tensor([math.log(2)])
    right = wkv.wkv_attention(rate, bonus, torch.zeros(1, 4, 1), values)[0][0, -1, 0]
    numbers = values.flatten().numpy()
    ages = np.array([2, 1, 0])
    fades_at_once = np.array([*0.5 ** (ages + 1), 2])
    keeps_the_bonus = np.array([*2 * 0.5**ages, 2])
    wrong = [w @ numbers / w.sum() for w in (fades_at_once, keeps_the_bonus)]
    found = [right.item(), *wrong, numbers.mean()]
    assert options("4")[0] == [round(float(x), 2) for x in found]
    assert options("4")[1] == 1


def test_five_tokens_and_what_mistakes_give():
    size = cost.RWKV4["169M"]
    token = cost.kv_cache_bytes(size, 1)
    state = cost.rwkv_state_bytes(size)
    assert state / token == 5 and options("7")[1] == 2
    assert options("7")[0] == [state / token, state / 2 / token, 2 * state / token]


def test_the_cheat_sheet_has_the_numbers_of_cost():
    text = (ROOT / "book" / "workshop" / "cheat_sheet.md").read_text(encoding="utf-8")
    for size, shape in cost.RWKV4.items():
        numbers = cost.rwkv_parameters(shape), cost.rwkv_forward_flops_per_token(shape)
        row = [size, f"{shape.layers}, {shape.width}", *(f"{n:.3e}" for n in numbers)]
        row.append(f"{cost.rwkv_state_bytes(shape) / 1024:.0f} KiB")
        row.append(f"{cost.kv_cache_bytes(shape, 1) / 1024:.0f} KiB")
        assert f"| {' | '.join(row)} |" in text


def test_setup_and_start_give_the_same_commands(box):
    setup = (ROOT / "book" / "workshop" / "setup.md").read_text(encoding="utf-8")
    start = (box / "START_HERE.md").read_text(encoding="utf-8")
    commands = re.findall(r"^env/bin/python .+$", start, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert re.sub(r"==[\d.]+", "", command) in setup


# Slides.


def test_every_block_of_a_chapter_keeps_its_text():
    """What is not on a slide is in the notes: nothing between is lost."""
    text = "a\nb\n\n| x |\n|---|\n\n$$\nc\n\nd\n$$\n\n```\ne\n\nf\n```\ng"
    blocks = [match[0].strip() for match in slides.BLOCK.finditer(text)]
    assert blocks == [
        "a\nb",
        "| x |\n|---|",
        "$$\nc\n\nd\n$$",
        "```\ne\n\nf\n```",
        "g",
    ]


def test_a_section_becomes_slides_by_the_rule():
    made = list(
        slides.section("H", ["one", "**Before you go:** x?", "two", "so", "| t |"])
    )
    kinds = [cell.metadata.slideshow.slide_type for cell in made]
    assert kinds == ["slide", "-", "-", "notes", "subslide", "-", "-"]
    texts = [cell.source for cell in made]
    assert texts == [
        "## H",
        "one",
        "**Before you go:** x?",
        "two",
        "## H",
        "so",
        "| t |",
    ]


@pytest.mark.parametrize("before", ["x " * 300, "### Break it", "- one\n- two"])
def test_a_guess_stands_alone_where_what_is_before_it_is_long_or_no_sentence(before):
    made = list(slides.section("H", [before, "**Guess** how many."]))
    assert [cell.source for cell in made][:2] == ["## H", "**Guess** how many."]
    long = f"**Guess** {'how many ' * 20}"
    made = list(slides.section("H", ["one", long]))
    assert [cell.source for cell in made][:2] == ["## H", long]


@every_chapter
def test_slides_hold_the_question_the_pictures_and_the_number(path):
    deck = slides.deck(path)
    nbformat.validate(deck)
    text = "\n".join(cell.source for cell in deck.cells)
    original = text_of(cells(path))
    question = re.search(r"^\*\*.+?\*\*", original, re.M | re.S)[0]
    assert question in text and "One number to remember" in text
    assert "solution" not in text.lower()
    pictures = [c for c in without_solutions(cells(path)) if is_picture(c)]
    shown = [cell for cell in deck.cells if cell.cell_type == "code"]
    assert len(shown) >= len(pictures)
    html = json.dumps([cell.outputs for cell in shown])
    assert "<script" not in html and "<link" not in html
    for number in LABEL.findall(original):
        assert f"- {'.'.join(number)} · " in text


def is_picture(cell):
    return shows(cell, "text/html")


def is_slider(cell):
    return shows(cell, "application/vnd.jupyter.widget-view+json")


def shows(cell, kind):
    return any(kind in output.get("data", {}) for output in cell.get("outputs", []))


# In a browser.

CHEAT_SHEET = "book/workshop/cheat_sheet"
IN_LANGUAGES = ["", *(f"{each.code}/" for each in published() if each.has(CHEAT_SHEET))]
PAPER_WIDTH = 711  # pixels: 210 mm without two margins of 11 mm
CUT_OFF = """[...document.querySelectorAll('.bd-article :is(div.math, pre, table)')]
    .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"""


@pytest.mark.browser
@pytest.mark.parametrize("paper", ["A4", "Letter"])
@pytest.mark.parametrize("folder", IN_LANGUAGES)
def test_the_cheat_sheet_is_one_page(browser, address, folder, paper):
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}/{folder}{CHEAT_SHEET}.html")
    page.wait_for_function("document.querySelector('mjx-container')")
    page.wait_for_load_state("networkidle")
    pdf = page.pdf(format=paper)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER_WIDTH, "height": 1000})
    assert page.evaluate(CUT_OFF) == []
    page.close()
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) == 1


@pytest.fixture(scope="module", params=["06", "11", "12"])
def deck_on_disk(request, tmp_path_factory):
    """The slides of a chapter with figures, formulas and sliders, in a folder."""
    (path,) = (path for path in chapters() if path.stem.startswith(request.param))
    folder = tmp_path_factory.mktemp("slides")
    slides.make(folder, [path])
    return folder / f"{path.stem}.html"


@pytest.fixture
def deck_page(browser, deck_on_disk):
    """The slides opened from the disk, and what went wrong or was asked for."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.problems = problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("requestfailed", lambda request: problems.append(request.url))
    local = ("file:", "data:", "blob:")
    page.on(
        "request",
        lambda r: None if r.url.startswith(local) else problems.append(r.url),
    )
    page.set_default_timeout(120_000)  # 4 MB of scripts, perhaps on a busy machine
    page.goto(deck_on_disk.as_uri())
    page.wait_for_function(
        "Reveal.isReady() && document.querySelector('mjx-container')"
    )
    yield page
    page.close()


CURRENT = "document.querySelector('section.present:not(.stack)')"


@pytest.mark.browser
def test_slides_open_from_the_disk_and_go_on_by_keyboard(deck_page):
    """Each fits, each figure is seen, and nothing is asked of another machine."""
    page = deck_page
    total = page.evaluate("Reveal.getTotalSlides()")
    assert total > 20
    figures, places = 0, set()
    for _ in range(total):
        places.add(json.dumps(page.evaluate("Reveal.getIndices()")))
        slide = page.evaluate(f"""() => {{
            const slide = {CURRENT};
            const box = slide.getBoundingClientRect();
            const drawn = [...slide.querySelectorAll('svg[role=img]')]
              .map((svg) => svg.getBoundingClientRect())
              .filter((box) => box.width);
            const wide = [
              ...[...slide.querySelectorAll('mjx-container[display=true]')]
                .map((formula) => formula.firstElementChild),
              ...slide.querySelectorAll('pre, .live :is(input, select, dl, dd)'),
            ].filter((e) => e.getBoundingClientRect().right > box.right + 1);
            return {{bottom: box.bottom, words: slide.innerText.length,
                     wide: wide.map((e) => e.textContent || e.tagName),
                     sizes: drawn.map((box) => [box.width, box.height, box.bottom])}};
        }}""")
        assert slide["bottom"] <= 721 and slide["words"] > 5 and slide["wide"] == []
        for width, height, bottom in slide["sizes"]:
            assert width > 300 and height > 100 and bottom <= 721
        figures += len(slide["sizes"])
        page.keyboard.press("ArrowRight")
    assert len(places) == total and figures >= 4
    assert page.locator("mjx-merror").count() == 0
    assert page.problems == []


@pytest.mark.browser
def test_a_slider_on_a_slide_moves_by_keyboard_and_the_slide_stays(deck_page):
    page = deck_page
    page.wait_for_selector(".widget-slider .noUi-handle", state="attached")
    page.evaluate("""() => {
        const slide = document.querySelector('.widget-slider').closest('section');
        Reveal.slide(...Object.values(Reveal.getIndices(slide)));
    }""")
    before = page.evaluate("JSON.stringify(Reveal.getIndices())")
    shown = page.evaluate(f"{CURRENT}.innerText")
    page.evaluate(f"{CURRENT}.querySelector('.noUi-handle').focus()")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"shown => {CURRENT}.innerText !== shown", arg=shown)
    assert page.evaluate("JSON.stringify(Reveal.getIndices())") == before
    assert page.problems == []


@pytest.mark.browser
def test_a_figure_that_computes_moves_on_a_slide_too(deck_page):
    """As the text beside it promises."""
    page = deck_page
    page.evaluate("""() => {
        const slide = document.querySelector('[data-live]').closest('section');
        Reveal.slide(...Object.values(Reveal.getIndices(slide)));
    }""")
    before = page.evaluate("JSON.stringify(Reveal.getIndices())")
    shown = page.evaluate(f"{CURRENT}.querySelector('.live-output').innerText")
    field = page.locator("section.present [data-live] :is([type=range], select)")
    field.first.focus()
    page.keyboard.press("ArrowUp")
    moved = page.evaluate(f"{CURRENT}.querySelector('.live-output').innerText")
    assert moved != shown and "NaN" not in moved
    outside = page.evaluate(f"""() => {{
        const figure = {CURRENT}.querySelector('[data-live]');
        const edge = figure.getBoundingClientRect().right;
        return [...figure.querySelectorAll('.live input, .live select')]
          .filter((field) => field.getBoundingClientRect().right > edge - 1).length;
    }}""")
    assert outside == 0
    assert page.evaluate("JSON.stringify(Reveal.getIndices())") == before
    assert page.problems == []
