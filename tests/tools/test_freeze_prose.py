"""The tool that made the frozen prose keeps sentences, in ASCII, and nothing else."""

import re

import pytest

from tools.notebooks import freeze_prose


@pytest.mark.parametrize(
    ("markdown", "kept"),
    [
        ("Two **bold** and `code` words.", "Two bold and code words."),
        ("It costs 2 × C², as *expected*.", "It costs 2 x C^2, as expected."),
        ("One $x$ is read. It is $x^2$ long. Then two.", "One x is read. Then two."),
        ("> A quotation", "A quotation"),
        ("- one\n- two", "- one\n- two"),
        ("term\n  What it means.", "term: What it means."),
        ("$\\sum_i x_i$", ""),
    ],
)
def test_paragraphs_become_plain_lines(markdown, kept):
    assert freeze_prose.prose(markdown) == kept


def test_of_all_pages_only_sentences_are_left(tmp_path):
    freeze_prose.main([str(tmp_path / "prose.txt")])
    text = (tmp_path / "prose.txt").read_text(encoding="ascii")
    works = re.findall(r"^=== (\w+): .+\n\n\S", text, re.MULTILINE)
    assert len(works) > 150 and len(text) > 200_000
    assert {"index", "one_sitting", "07_training", "guide", "glossary"} <= set(works)
    assert not {"api", "notebooks", "bibliography"} & set(works)
    for line in text.splitlines():
        assert len(line) <= 72 or line.startswith("=== "), line
        assert not re.search(r":::|```|\$|\]\(|^\|", line), line
