"""Files that stay are written by `folders`, whole or not at all, by nothing else."""

import ast

import pytest

from tools.contents import ROOT

ELSEWHERE = {  # {file that writes by itself: to where}
    "src/rwkv_book/folders.py": "it is the writer",
    "src/rwkv_book/checkpoint/formats.py": "a path that `whole` gave",
    "src/rwkv_book/training/resume.py": "a path that `whole` gave",
    "src/rwkv_book/compiled/gpu.py": "a path that the cache renames when it is done",
    "src/rwkv_book/compiled/warps.py": "a temporary folder",
    "src/rwkv_book/rwkv4/trial.py": "a temporary folder",
    "benchmarks/pieces.py": "the end of a journal, which is never rewritten",
    "tools/checks/environment.py": "a new environment",
    "tools/site/offline.py": "the built site",
    "tools/site/pdf.py": "a PDF, made anew from the built site",
    "tools/site/scripts.py": "the built site",
    "tools/site/sphinx_book.py": "the built site",
    "tools/site/sphinx_cards.py": "the built site",
    "tools/site/sphinx_languages.py": "the built site",
    "tools/site/sphinx_light.py": "the built site",
    "tools/site/sphinx_live.py": "the built site",
    "tools/site/sphinx_machines.py": "the built site",
    "tools/site/sphinx_models.py": "the built site",
    "tools/site/sphinx_moved.py": "the built site",
    "tools/site/sphinx_search.py": "the built site",
    "tools/site/sphinx_sliders.py": "the built site",
    "tools/site/sphinx_styles.py": "the built site",
    "tools/site/translated_site.py": "the sources of a built site",
    "tools/workshop/participant.py": "a folder that is made to be given away",
    "tools/workshop/slides.py": "the built slides",
}
METHODS = ("write_text", "write_bytes")


def writes(text):
    """The lines on which a program writes a file without `folders`."""
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if is_write(call)]


def is_write(call):
    """Whether a call is path.write_text, path.write_bytes, or an open to write."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    owner = getattr(getattr(call.func, "value", None), "id", "")
    if isinstance(call.func, ast.Attribute) and name in METHODS:
        return owner != "folders"
    if name != "open" or owner == "os":
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    modes = [x.value for x in given if isinstance(x, ast.Constant)]
    return any(set(mode) & set("wax+") for mode in modes if is_mode(mode))


def is_mode(value):
    """Whether a constant can be the mode of a file."""
    return isinstance(value, str) and value and set(value) <= set("rwaxbt+")


def test_nothing_but_folders_writes_a_file_that_stays():
    files = [path for part in ("src", "tools") for path in (ROOT / part).rglob("*.py")]
    files += (ROOT / "benchmarks").glob("*.py")
    writers = {
        str(path.relative_to(ROOT)) for path in files if writes(path.read_text("utf-8"))
    }
    assert writers == set(ELSEWHERE)


@pytest.mark.parametrize(
    "code",
    [
        "path.write_text(text)",
        "(ROOT / name).write_bytes(data)",
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('w', encoding='utf-8')",
        "Path(name).open(mode='r+')",
    ],
)
def test_a_write_is_seen(code):
    assert writes(f"x = 1\n{code}\n") == [2]


@pytest.mark.parametrize(
    "code",
    [
        "folders.write_text(path, text)",
        "write_text(path, text)",
        "path.read_text()",
        "open(path)",
        "open(path, 'rb')",
        "path.open()",
        "os.open(os.devnull, os.O_WRONLY)",
    ],
)
def test_what_reads_or_goes_through_folders_is_none(code):
    assert not writes(code)
