"""Links: what the checker finds, on a site made for the purpose."""

import pytest

from tools.checks import links


@pytest.fixture
def site(tmp_path):
    (tmp_path / "index.html").write_text(
        '<h1 id="top">A</h1> <a href="b.html#here">b</a> <a href="folder/">folder</a>'
    )
    (tmp_path / "b.html").write_text(
        '<p id="here">B</p> <img src="no.png"> <a href="index.html#nowhere">a</a>'
        '<a href="c.html">c</a> <a href="#here">above</a> <a href="https://x.org/#y">x</a>'
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").write_text('<a href="../b.html">b</a>')
    return tmp_path


def test_links_that_lead_somewhere_are_not_named(site):
    assert list(links.broken_inside(site / "index.html")) == []
    assert list(links.broken_inside(site / "folder" / "index.html")) == []


def test_missing_files_and_places_are_named(site):
    assert list(links.broken_inside(site / "b.html")) == [
        ("no.png", "no such file"),
        ("index.html#nowhere", "no such place in index.html"),
        ("c.html", "no such file"),
    ]


def test_markdown_links_are_read_outside_of_code_alone(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(
        "# Two words\n[here](#two-words) [there](#three-words) [no](missing.md)\n"
        "`[code](code.md)`\n\n```bash\n[code](code.md)\n```\n<https://x.org>\n"
    )
    assert list(links.broken_inside(readme)) == [
        ("#three-words", "no such place in README.md"),
        ("missing.md", "no such file"),
    ]
