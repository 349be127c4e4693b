"""Freshness: a record ages when its code changes, and only then."""

import json
import subprocess
import sys

import pytest

from tools.checks import freshness
from tools.contents import ROOT

FILES = {
    "benchmarks/speed.py": "import measure\nfrom rwkv_book.fast import run\n",
    "benchmarks/measure.py": "print('measured')\n",
    "src/rwkv_book/__init__.py": "",
    "src/rwkv_book/fast/__init__.py": "from rwkv_book.fast.kernel import run\n",
    "src/rwkv_book/fast/kernel.py": '"""Runs."""\nfrom .. import shape\nrun = 1\n',
    "src/rwkv_book/fast/kernel.cu": "int n;\n",
    "src/rwkv_book/shape.py": "n = 1\n",
    "src/rwkv_book/other.py": "n = 2\n",
}


@pytest.fixture
def tree(tmp_path):
    """A repository with one benchmark and a record of it at its first commit."""
    tree = freshness.Tree(tmp_path)
    tree.git("init", "-q")
    for path, text in FILES.items():
        write(tree, path, text)
    commit(tree)
    content = {
        "question": "speed-float32",
        "commit": tree.git("rev-parse", "--short", "HEAD") + "+",
        "date": "2026-01-02",
    }
    write(tree, "benchmarks/results/speed-float32.json", json.dumps(content))
    return tree


def write(tree, path, text):
    target = tree.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def commit(tree):
    who = ("-c", "user.name=n", "-c", "user.email=e@x.org")
    tree.git("add", "-A")
    assert tree.git(*who, "commit", "-q", "-m", "change") is not None


def changed(tree):
    (record,) = freshness.records(tree)
    return freshness.Tree(tree.root).changed(record)


def test_the_code_of_a_benchmark_is_what_it_imports(tree):
    assert tree.measured_by("benchmarks/speed.py") == [
        "benchmarks/measure.py",
        "benchmarks/speed.py",
        "src/rwkv_book/__init__.py",
        "src/rwkv_book/fast/__init__.py",
        "src/rwkv_book/fast/kernel.cu",
        "src/rwkv_book/fast/kernel.py",
        "src/rwkv_book/shape.py",
    ]


def test_comments_layout_and_other_modules_age_nothing(tree):
    assert changed(tree) == []
    write(tree, "src/rwkv_book/other.py", "n = 3\n")
    write(tree, "src/rwkv_book/shape.py", '"""A number."""\n\nn = (1)  # one\n')
    commit(tree)
    assert changed(tree) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/rwkv_book/shape.py", "n = 2\n"),
        ("src/rwkv_book/fast/kernel.cu", "long n;\n"),
        ("benchmarks/measure.py", "print('again')\n"),
    ],
)
def test_other_code_ages_the_record_and_is_named(tree, path, text):
    write(tree, path, text)
    assert changed(tree) == [path]
    commit(tree)
    assert changed(tree) == [path]
    report = "\n".join(freshness.report(tree))
    assert "! benchmarks/results/speed-float32.json (2026-01-02" in report
    assert path in report
    assert "0 records are as new as their code" in report


def test_a_commit_that_is_not_here_is_said(tree):
    path = "benchmarks/results/speed-float32.json"
    write(
        tree, path, '{"question": "speed", "commit": "abcdef0", "date": "2026-01-02"}'
    )
    assert changed(tree) is None
    assert "has no commit abcdef0" in next(freshness.report(tree))


def test_a_record_that_no_benchmark_asks_for_is_an_error(tree):
    content = '{"question": "taste", "commit": "a", "date": "2026-01-02"}'
    write(tree, "benchmarks/results/taste.json", content)
    with pytest.raises(ValueError, match="no script in benchmarks/ asks taste"):
        list(freshness.records(tree))


def test_a_notebook_is_its_code_and_what_it_imports(tree):
    cell = {"cell_type": "code", "source": ["%matplotlib inline\n", "import measure\n"]}
    words = {"cell_type": "markdown", "source": ["# Words"]}
    write(tree, "book/a.ipynb", json.dumps({"cells": [words, cell]}))
    assert tree.measured_by("book/a.ipynb") == ["benchmarks/measure.py", "book/a.ipynb"]
    other = json.dumps({"cells": [{**words, "source": ["# Others"]}, cell]})
    assert freshness.meaning("a.ipynb", other) == freshness.meaning(
        "a.ipynb", tree.now("book/a.ipynb")
    )


def test_every_record_of_the_book_has_a_program_that_is_there():
    found = list(freshness.records(freshness.Tree(ROOT)))
    assert found
    for record in found:
        assert (ROOT / record.program).exists(), record


def test_it_runs_as_a_command(tree):
    done = subprocess.run(
        [sys.executable, "-m", "tools.checks.freshness", tree.root],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1 records are as new as their code\n"
