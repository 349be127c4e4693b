"""Another language: a page is translated, its links and names stay what they are."""

import re
from collections import Counter
from html import unescape
from multiprocessing import get_context
from pathlib import Path

import pytest

from tools.site import translation

CATALOGS = sorted(translation.LOCALE.rglob("*.po"))
# Names between backticks, targets in <> within them, citations and formulas.
TARGET = re.compile(r"\{(?:doc|ref|term|numref)\}`(?:[^`<]*<([^`>]+)>|([^`<]+))`")
KEPT = re.compile(r"\{(?:cite|eq|math)\}`[^`]+`|\]\(([^)]+)\)|\$[^$]+\$")


def names(text):
    """What a translation has to repeat letter by letter, with how often."""
    targets = [one or other for one, other in TARGET.findall(text)]
    kept = [match[0] for match in KEPT.finditer(text)]
    code = re.findall(r"`([^`]+)`", KEPT.sub("", TARGET.sub("", text)))
    return Counter([*targets, *kept, *code])


def name(path):
    return str(path.relative_to(translation.LOCALE))


@pytest.mark.parametrize("path", CATALOGS, ids=name)
def test_names_and_targets_are_not_translated(path):
    texts = [text for text in translation.entries(path) if text.string]
    assert texts, "a page of which nothing is translated"
    for text in texts:
        assert names(text.string) == names(text.id), text.id


def test_a_changed_target_is_noticed():
    assert names("{term}`Zustand <state>`, `code`") == names("{term}`state`, `code`")
    assert names("{term}`Zustand`") != names("{term}`state`")
    assert names("{doc}`a <b>`") != names("{doc}`a <c>`")
    assert names("`kode`") != names("`code`")


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """The landing page in German, built with the pages that the site's notes quote."""
    folder = tmp_path_factory.mktemp("de")
    pages = ["book/index", "book/appendix/glossary", "book/appendix/bibliography"]
    # In a new process: Sphinx's table of contents walks through all objects of its own,
    # and what other tests left behind does not stand that.
    process = get_context("spawn").Process(
        target=translation.build, args=("html", folder, pages, "de")
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    html = (folder / "book" / "index.html").read_text("utf-8")
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def words(markup):
    """The words of a text before its first markup, as a page shows them."""
    return re.split(r"[*`{\[]", markup.lstrip("*"))[0].strip()


def test_the_landing_page_comes_out_in_german(german):
    assert '<html lang="de"' in german
    article = german[german.index("<article") : german.index("</article>")]
    shown = " ".join(unescape(re.sub(r"<[^>]+>", "", article)).split())
    path = translation.catalog("book/index", "de")
    texts = [text for text in translation.entries(path) if text.string]
    missing = [text.id for text in texts if words(text.string) not in shown]
    # A text that was changed in English since is shown in English, which is no mistake.
    assert len(missing) < len(texts) / 2, missing
    assert words(texts[0].string) in shown


def test_shares_are_counted(tmp_path):
    path = tmp_path / "p.po"
    path.write_text(
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
        'msgid "one"\nmsgstr "eins"\n\nmsgid "two"\nmsgstr ""\n\n'
        '#, fuzzy\nmsgid "three"\nmsgstr "vier"\n'
    )
    assert translation.share(path) == "1 of 3 texts are translated"


def test_a_language_without_a_page_is_refused():
    with pytest.raises(SystemExit, match="locale/xx has no page"):
        translation.site("xx")


def test_the_folder_holds_nothing_but_catalogs():
    files = [path for path in Path(translation.LOCALE).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".po", ".mo"}
