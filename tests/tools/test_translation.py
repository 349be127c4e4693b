"""Another language: pages are translated, what is not a word stays what it is."""

import csv
import re
from collections import Counter
from html import unescape
from multiprocessing import get_context
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt

from rwkv_book.language import catalogue
from tools.contents import ROOT
from tools.notebooks import copies, markdown_parts, translated
from tools.site import (
    sphinx_languages,
    translated_site,
    translated_words,
    translation,
)

CATALOGUES = sorted([*translated.LOCALE.rglob("*.po"), *translated.WORDS.rglob("*.po")])
every_catalogue = pytest.mark.parametrize(
    "path", CATALOGUES, ids=lambda path: str(path.relative_to(ROOT))
)
PUBLISHED = translated.published()
every_language = pytest.mark.parametrize(
    "language", PUBLISHED, ids=lambda each: each.code
)
CHINESE = r"[\u3400-\u9fff]"

# Names between backticks, targets in <> within them, citations and formulas.
TARGET = re.compile(r"\{(?:doc|ref|term|numref)\}`(?:[^`<]*<([^`>]+)>|([^`<]+))`")
KEPT = re.compile(
    r"\{(?:cite|eq|math)\}`[^`]+`|\]\(([^)]+)\)|\$(?!\{)[^$]+\$|<a [^<>]*>"
)
UNITS = {
    "thousand": 1e3, "million": 1e6, "billion": 1e9,
    "千": 1e3, "万": 1e4, "百万": 1e6, "亿": 1e8, "十亿": 1e9,
}  # fmt: skip
AMOUNT = re.compile(
    rf"({catalogue.NUMBER.pattern})(?: (?:and|和) ({catalogue.NUMBER.pattern}))?"
    rf" ?({'|'.join(sorted(UNITS, key=len, reverse=True))})?"
)


def names(text):
    """What a translation has to repeat letter by letter, with how often."""
    targets = [one or other for one, other in TARGET.findall(text)]
    kept = [match[0] for match in KEPT.finditer(text)]
    code = re.findall(r"`([^`]+)`", KEPT.sub("", TARGET.sub("", text)))
    return Counter([*targets, *kept, *code])


def amounts(text):
    """The numbers outside names, as values: 14 billion is 140 亿."""
    found = Counter()
    plain = re.sub(r"`[^`]*`", "", KEPT.sub("", TARGET.sub("", text)))
    for one, other, unit in AMOUNT.findall(catalogue.FIELD.sub("", plain)):
        for number in filter(None, (one, other)):
            plain = float(number.replace(",", "").replace("−", "-"))
            found[round(abs(plain) * UNITS.get(unit, 1), 6)] += 1
    return found


def entries(path):
    return [entry for entry in catalogue.read(path) if entry.translation]


@every_catalogue
def test_names_and_targets_are_not_translated(path):
    assert entries(path), "a page of which nothing is translated"
    for entry in entries(path):
        if not entry.fuzzy:
            assert names(entry.translation) == names(entry.english), entry.english


@every_catalogue
def test_no_number_changes(path):
    for entry in entries(path):
        if not entry.fuzzy:
            assert amounts(entry.translation) == amounts(entry.english), entry.english


@every_catalogue
def test_fields_are_those_of_the_original(path):
    """A field that only makes an English plural may be missing."""
    field = re.compile(f"{translated_words.HOLE}|{catalogue.FIELD.pattern}(?!`)")
    for entry in entries(path):
        there = Counter(field.findall(entry.english))
        lost = there - Counter(field.findall(entry.translation))
        assert not Counter(field.findall(entry.translation)) - there, entry.english
        assert all('"s"' in each for each in lost), entry.english


@every_catalogue
def test_what_stays_in_english_says_why(path):
    for entry in entries(path):
        if entry.translation == entry.english and "zh" in str(path):
            assert entry.note.startswith("kept: "), entry.english


def test_a_changed_target_is_noticed():
    assert names("{term}`Zustand <state>`, `code`") == names("{term}`state`, `code`")
    assert names("{term}`Zustand`") != names("{term}`state`")
    assert names("{doc}`a <b>`") != names("{doc}`a <c>`")
    assert names("`kode`") != names("`code`")
    assert amounts("14 billion, 0.17 and 0.16 billion") == amounts(
        "140 亿，0.17 和 0.16 十亿"
    )
    assert amounts("14 billion") != amounts("14 亿")


# --- what is published is whole -------------------------------------------------------


@every_language
def test_every_text_of_a_listed_page_is_known(language):
    """New texts are named in one sentence; a page that is mostly old is not listed."""
    changed = []
    for path, texts in translation.all_files(language.code).items():
        unknown, stale, empty = translation.missing(path, texts)
        changed += unknown
        assert not empty, f"{path.name}: not translated: {empty}"
        assert len(stale) <= max(2, len(texts) / 10), f"{path.name}: translate {stale}"
    said = "; ".join(f"“{translation.shortened(text)}”" for text in changed)
    assert not changed, (
        f"{len(changed)} texts are new or changed in English, run `make messages "
        f"LANGUAGE={language.code}`, and they are shown in English until somebody "
        f"translates them: {said}"
    )


def test_a_change_in_english_is_named(tmp_path):
    path = tmp_path / "page.po"
    path.write_text(
        'msgid ""\nmsgstr ""\n"Language: zh_CN\\n"\n\n'
        'msgid "A token is read."\nmsgstr "读一个 token。"\n\n'
        'msgid "Nothing is forgotten, whatever the length of the text."\nmsgstr "一"\n'
    )
    new = "Nothing is forgotten, whatever the length of a text."
    texts = ["A token is read.", new]
    assert translation.missing(path, texts) == ([new], [], [])
    translation.bring_up_to_date(path, texts, "zh_CN")
    assert translation.missing(path, texts) == ([], [new], [])
    assert catalogue.Catalogue.of([path]).find(new) is None  # the page shows English


def test_messages_leave_a_finished_catalogue_as_it_is(tmp_path):
    for path, texts in translation.all_files("zh_CN", ["book/index"]).items():
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        translation.bring_up_to_date(copy, texts, "zh_CN")
        assert copy.read_text("utf-8") == path.read_text("utf-8"), path.name


@pytest.mark.parametrize("page", translated.language("zh_CN").pages)
def test_only_words_change_on_a_page(page):
    """Asked by somebody who changes nothing, a page comes out as it went in."""
    path = translated.source(page)
    cells = [path.read_text("utf-8")]
    if path.suffix == ".ipynb":
        cells = [
            c.source for c in nbformat.read(path, 4).cells if c.cell_type != "code"
        ]
    for cell in cells:
        same = markdown_parts.translated(cell, lambda text: text)
        assert same.split() == cell.replace("\n> ", "\n").split() or "> " in cell


@pytest.mark.parametrize("page", translated.language("zh_CN").pages)
def test_code_and_formulas_are_those_of_the_english_page(page):
    english, chinese = translated.source(page), translated.page_in(page, "zh_CN")
    if english.suffix == ".md":
        one, other = english.read_text("utf-8"), chinese
    else:
        notebook = nbformat.read(english, as_version=4)
        code = [c.source for c in notebook.cells if c.cell_type == "code"]
        said = [c for c in chinese.cells if c.id != translated.SPEAK]
        assert [c.source for c in said if c.cell_type == "code"] == code
        one, other = (
            "\n".join(c.source for c in cells if c.cell_type == "markdown")
            for cells in (notebook.cells, said)
        )
    for kept in (
        r"(?ms)^```(?:\w+|\{math\})\n.*?^```$",
        r"(?s)\$\$.*?\$\$",
        r"(?m)^:label: .*$",
    ):
        assert re.findall(kept, other) == re.findall(kept, one)


# --- Chinese --------------------------------------------------------------------------


def chinese_texts():
    for path in CATALOGUES:
        if "zh_CN" in path.parts:
            for entry in entries(path):
                yield entry.english, entry.translation


def test_a_space_stands_between_chinese_and_latin():
    for english, text in chinese_texts():
        glued = re.search(rf"{CHINESE}[A-Za-z0-9]|[A-Za-z0-9%]{CHINESE}", text)
        assert not glued, (glued[0], english)


def test_punctuation_is_chinese_beside_chinese():
    for english, text in chinese_texts():
        assert not re.search(rf"{CHINESE}[,;:?!]|{CHINESE}\.(?!\.)", text), english


def test_emphasis_is_closed():
    """CommonMark takes ** for plain stars between punctuation and a letter."""
    read = MarkdownIt("commonmark")
    for english, text in chinese_texts():
        if "${" in english:
            continue
        if "**" in english or re.search(r"(?<![\w*])\*\w", english):
            plain = re.sub(r"`[^`]*`|\$[^$]*\$", "x", text)
            assert "*" not in read.render(plain), (text, english)


def test_one_term_for_one_idea():
    """Where a term of the glossary is linked, the word of the list stands there."""
    with open(translated.LOCALE / "zh_CN" / "terms.csv", encoding="utf-8") as file:
        terms = {row["English"]: row["中文"] for row in csv.DictReader(file)}
    linked = re.compile(r"\{term\}`(?:([^`<]+) <([^`>]+)>|([^`<]+))`")
    for english, text in chinese_texts():
        for shown, target, alone in linked.findall(text):
            word = terms.get(target or alone)
            assert word is None or (shown or alone).lower() == word.lower(), (
                target,
                english,
            )


@every_language
def test_names_of_weights_stay_in_the_scripts_that_look_them_up(language):
    """A model whose tensors were renamed by a translation would not run."""
    for name in ("weights", "rwkv", "rwkv7"):
        script = (ROOT / f"book/_static/playground/{name}.js").read_text("utf-8")
        there = translated_words.script_in(script, language.code)
        looked_up = re.compile(r'"[a-z_.]+"')
        assert len(looked_up.findall(script)) > 5
        assert looked_up.findall(there) == looked_up.findall(script), name


# --- built ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """The landing page in German, built alone."""
    return built("de", tmp_path_factory.mktemp("de")) / "book" / "index.html"


def built(code, folder):
    # In a new process: Sphinx's table of contents walks through all objects of its own,
    # and what other tests left behind does not stand that.
    process = get_context("spawn").Process(
        target=translated_site.build, args=(code, folder / "none", folder)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    return folder / code


def words(markup):
    """The words of a text before its first markup, as a page shows them."""
    return re.split(r"[*`{\[]", markup.lstrip("*"))[0].strip()


def test_the_landing_page_comes_out_in_german(german):
    html = german.read_text("utf-8")
    html = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert '<html lang="de"' in html
    article = html[html.index("<article") : html.index("</article>")]
    shown = " ".join(unescape(re.sub(r"<[^>]+>", "", article)).split())
    texts = entries(translated.prose_file("book/index", "de"))
    missing = [text for text in texts if words(text.translation) not in shown]
    # A text that was changed in English since is shown in English, which is no mistake.
    assert len(missing) < len(texts) / 2, missing
    assert words(texts[0].translation) in shown
    assert "einer nach dem anderen</th>" in html  # in the figure


def test_links_to_what_is_not_translated_lead_to_the_english_page(german):
    html = german.read_text("utf-8")
    assert 'href="../../book/one_sitting.html"' in html
    assert "(englisch)</a>" in html


def test_headings_keep_the_ids_of_the_english_ones(german):
    html = german.read_text("utf-8")
    for name in translated_site.headings("book/index"):
        assert f'id="{name}"' in html, name


# --- parts ----------------------------------------------------------------------------


def test_a_language_without_a_page_is_refused():
    with pytest.raises(SystemExit, match="locale/xx has no language"):
        translation.site("xx")


def test_the_folders_hold_nothing_but_catalogues():
    files = [path for path in Path(translated.LOCALE).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".po", ".yml", ".csv"}


def test_scripts_say_whole_sentences():
    """Fragments can't be translated: each is put together in the order of English."""
    for path in translated_words.scripts():
        assert translated_words.fragments(path.read_text("utf-8")) == [], path.name


def test_a_fragment_is_noticed():
    plural = '`${all.length} ${all.length === 1 ? "section" : "sections"}`'
    assert translated_words.fragments(plural) == ["section", "sections"]
    assert translated_words.fragments("x + `; the first ${MOST} stand here`") != []
    assert translated_words.fragments('`${ago} token${ago > 1 ? "s" : ""} ago`') == []
    assert translated_words.fragments("`${count} sections, ${MOST} listed`") == []


def test_a_text_is_found_behind_templates_in_templates():
    script = "f(`${g({ a: b })}${c ? `<i>${d}</i>` : ''}`, `${name(e)}, said`)"
    assert translated_words.texts_of_script(script) == ["${name(e)}, said"]


def test_scripts_change_in_their_texts_alone():
    for path in translated_words.scripts():
        english = path.read_text("utf-8")
        chinese = translated_words.script_in(english, "zh_CN")
        frame = re.compile(translated_words.TEXT)
        assert frame.sub("", english).split() == frame.sub("", chinese).split()


def test_labels_that_a_style_writes_are_translated():
    english = (translated_words.STATIC / "book.css").read_text("utf-8")
    chinese = translated_words.style_in(english, "zh_CN")
    labels = re.findall(r'content: "([^"]+)"', chinese)
    assert "搜索" in labels and not any(re.search("[A-Za-z]", each) for each in labels)
    content = re.compile('content: "[^"]*"')
    assert content.sub("", english) == content.sub("", chinese)


# --- the copies to run ----------------------------------------------------------------


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    copies.write(folder)
    return folder


IN_CHINESE = [
    path for language, path in copies.in_languages() if language.code == "zh_CN"
]


@pytest.mark.parametrize("path", IN_CHINESE, ids=lambda path: path.stem)
def test_a_copy_in_chinese_runs_the_same_code_and_says_so_in_chinese(copied, path):
    english = nbformat.read(copied / path.relative_to(copies.BOOK), as_version=4)
    copy = copied / "zh_CN" / path.relative_to(copies.BOOK)
    chinese = nbformat.read(copy, as_version=4)
    nbformat.validate(chinese)
    said = [cell for cell in chinese.cells if cell.id == translated.SPEAK]
    assert [cell.source.splitlines()[-1] for cell in said] == ['language.use("zh_CN")']
    code = [
        [c.source for c in notebook.cells if c.cell_type == "code" and c not in said]
        for notebook in (english, chinese)
    ]
    assert code[0] == code[1]
    text = "\n\n".join(c.source for c in chinese.cells if c.cell_type == "markdown")
    assert not re.search(r"\{[a-z-]+\}`|^:::|^```\{", text, re.MULTILINE)
    assert not re.search(r"(?m)^#+ .*\b(?:Exercise|Solution) ", text)
    text = re.sub(r"(?ms)^```.*?^```$|`[^`\n]+`", "", text)
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", text)
    assert all((copy.parent / link).exists() for link in links), links


def test_pages_of_a_copy_are_chinese_where_there_are_some():
    link = copies.on_the_site(IN_CHINESE[0], translated.language("zh_CN"))
    assert link("playground").endswith("/zh_CN/book/playground.html")
    assert not link("07_training").count("zh_CN")


# --- from language to language --------------------------------------------------------


@every_language
def test_a_switch_to_a_page_that_a_language_lacks_says_so(language):
    there = sphinx_languages.switch(language, "book/index", "../zh_CN/")
    assert (there["name"], there["missing"]) == (language.name, "")
    page = "book/of_another_language"
    elsewhere = sphinx_languages.switch(language, page, "../zh_CN/")
    assert elsewhere["link"] == "../zh_CN/book/index.html"
    assert elsewhere["name"] == language.first_page != language.name
    assert elsewhere["missing"] == language.missing != ""


def test_search_engines_are_told_of_the_other_languages():
    told = sphinx_languages.alternates("book/index")
    assert 'hreflang="zh-CN"' in told and "/zh_CN/book/index.html" in told
    assert sphinx_languages.alternates("book/07_training") == ""
