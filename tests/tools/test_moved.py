"""Pages that were renamed are still found where they were."""

import subprocess

import pytest

from tools import contents
from tools.contents import ROOT
from tools.site import sphinx_moved
from tools.site.sphinx_moved import MOVED

PAGES = [page.relative_to(ROOT).as_posix() for page in contents.pages()]


def git(*words):
    found = subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() if found.returncode == 0 else ""


def test_an_old_address_leads_to_a_page_and_is_none_itself():
    assert set(MOVED.values()) <= set(PAGES)
    assert not set(MOVED) & set(PAGES)
    assert all(old.count("/") == new.count("/") == 1 for old, new in MOVED.items())


@pytest.mark.skipif(
    git("rev-parse", "--is-shallow-repository") != "false",
    reason="what was renamed is only known where git has the whole history",
)
def test_every_page_that_ever_was_has_its_old_address():
    gone = git(
        "log", "--no-renames", "--diff-filter=D", "--name-only", "--format=",
        "--", "book/*.ipynb", "book/*.md",
    ).splitlines()  # fmt: skip
    assert "book/08_the_fast_path.ipynb" in gone
    names = {path.rpartition(".")[0] for path in gone if path}
    assert names - set(PAGES) - set(MOVED) == set()


def test_the_page_there_keeps_the_place_and_is_no_page_of_its_own():
    html = sphinx_moved.leading_on("book/08_a", "book/10_b", "10 · A & <b>")
    assert html.count('"10_b.html"') == 2 and "url=10_b.html" in html
    assert "location.hash" in html and '"#ex-08-", "#ex-10-"' in html
    assert f'rel="canonical" href="{contents.SITE}/book/10_b.html"' in html
    assert 'name="robots" content="noindex"' in html
    assert html.count("10 · A &amp; &lt;b&gt;") == 2
