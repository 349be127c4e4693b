"""The book as files: notebooks in normal form, one table of contents, one address."""

import ast
import json
import re
import tomllib
from functools import cache

import pytest
import yaml
from helpers.repository import text
from IPython.core.inputtransformer2 import TransformerManager

from tools import contents
from tools.contents import BOOK, ROOT
from tools.notebooks.install_cell import cell_source

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
ADDRESS = PROJECT["urls"]["Repository"]
NOTEBOOKS = contents.notebooks()
OBJECT_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|usr|work|Users|opt)/\w")


def name(path):
    return str(path.relative_to(ROOT))


@cache
def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code_cells(path):
    return [cell for cell in cells(path) if cell["cell_type"] == "code"]


def outputs(path):
    return [output for cell in code_cells(path) for output in cell["outputs"]]


def source(cell):
    return "".join(cell["source"])


def every_notebook(test):
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=name)(test)


# --- the table of contents ----------------------------------------------------


def test_every_page_is_in_the_toc_once():
    files = [*BOOK.rglob("*.md"), *BOOK.rglob("*.ipynb")]
    files = [path for path in files if ".ipynb_checkpoints" not in path.parts]
    listed = contents.pages()
    assert sorted(listed) == sorted(path.with_suffix("") for path in files)


def test_parts_and_sections_are_read_in_their_order(tmp_path):
    chapters = [{"file": "b", "sections": [{"file": "c"}]}, {"file": "d"}]
    toc = {"root": "a", "parts": [{"caption": "Part", "chapters": chapters}]}
    path = tmp_path / "_toc.yml"
    path.write_text(yaml.safe_dump(toc))
    assert contents.parts(path) == {
        "": [tmp_path / "a"],
        "Part": [tmp_path / "b", tmp_path / "c", tmp_path / "d"],
    }


def test_every_module_is_in_the_api_page():
    described = re.findall(
        r"automodule:: rwkv_book\.([\w.]+)", text("book/appendix/api.md")
    )
    package = ROOT / "src" / "rwkv_book"
    modules = {
        ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if not path.stem.startswith("_")
        and path.stat().st_size
        and not path.stem.startswith("chapter_")
    }
    rooms = {
        ".".join(path.relative_to(package).parent.parts)
        for path in package.glob("*/__init__.py")
    }
    assert len(described) == len(set(described))
    missing = modules - set(described)
    assert not missing, f"not in the api page: {sorted(missing)}"
    assert set(described) <= modules | rooms | {"results"}  # which lies in benchmarks/


def test_every_part_of_the_package_is_installed():
    settings = tomllib.loads(text("pyproject.toml"))["tool"]["setuptools"]
    parts = {
        str(path.parent.relative_to(ROOT / "src")).replace("/", ".")
        for path in (ROOT / "src").rglob("__init__.py")
    }
    elsewhere = {
        name: folder for name, folder in settings["package-dir"].items() if name
    }
    assert elsewhere == {"rwkv_book.results": "benchmarks/results"}
    assert sorted(settings["packages"]) == sorted(parts | set(elsewhere))


# --- the normal form of notebooks ---------------------------------------------


@every_notebook
def test_counts_run_from_one(path):
    """nbval silently compares nothing for a cell without a count."""
    counts = [cell["execution_count"] for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"


@every_notebook
def test_outputs_are_clean(path):
    for output in outputs(path):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr", output["text"]
        data = {"text/plain": output.get("text", ""), **output.get("data", {})}
        shown = "".join(
            "".join(part) for kind, part in data.items() if kind.startswith("text/")
        )
        assert not OBJECT_ADDRESS.search(shown), OBJECT_ADDRESS.search(shown)
        assert not ABSOLUTE_PATH.search(shown), ABSOLUTE_PATH.search(shown)


@every_notebook
def test_cells_are_short_and_define_no_class(path):
    for cell in code_cells(path):
        lines = source(cell).splitlines()
        assert len(lines) <= 15, lines[0]
        tree = ast.parse(TransformerManager().transform_cell("\n".join(lines)))
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        assert not classes, f"a class belongs in src: {lines[0]}"


@every_notebook
def test_metadata_is_tags_only(path):
    for cell in cells(path):
        assert set(cell["metadata"]) <= {"tags"}, cell["metadata"]
    numbered = [f"cell-{number:02}" for number in range(1, len(cells(path)) + 1)]
    assert [cell["id"] for cell in cells(path)] == numbered, "run `make notebooks`"


@every_notebook
def test_most_cells_are_compared(path):
    ignored = [
        cell
        for cell in code_cells(path)
        if {"nbval-ignore-output", "nbval-skip"} & set(cell["metadata"].get("tags", []))
    ]
    assert len(ignored) <= len(code_cells(path)) / 4


@every_notebook
def test_code_imports_the_installed_package(path):
    own = [source(cell) for cell in code_cells(path)]
    code = "\n".join(text for text in own if text != cell_source())
    assert "sys.path" not in code
    assert '"../' not in code, "what a notebook needs comes with the package"
    assert not re.search(r"^\s*[%!]\s*(pip|conda|cd)\b", code, re.MULTILINE)


# --- versions and addresses ---------------------------------------------------


def requirements(*extras):
    listed = [*PROJECT["dependencies"]]
    for extra in extras:
        listed += PROJECT["optional-dependencies"][extra]
    return listed


def test_every_version_is_pinned():
    for requirement in requirements(*PROJECT["optional-dependencies"]):
        pin, _, _where = requirement.partition("; ")
        assert re.fullmatch(r"[\w-]+==[\w.]+", pin), requirement


def test_the_conda_environment_has_the_same_pins():
    environment = yaml.safe_load(text("environment.yml"))
    pins = environment["dependencies"][-1]["pip"]
    lab = ("jupyterlab==", "pybtex==")
    extras = [pin for pin in requirements("book") if pin.startswith(lab)]
    assert sorted(pins[1:]) == sorted([*PROJECT["dependencies"], *extras])
    assert pins[0].startswith("--extra-index-url")
    # Binder's reader of this file understands `=`, and ignores `>=`.
    assert "python=3.11" in environment["dependencies"]


def test_the_address_is_the_same_everywhere():
    owner, repository = ADDRESS.removeprefix("https://github.com/").split("/")
    spelled = re.compile(rf"github(?:\.com|\.io)?/[\w-]+/{repository}\b")
    pages = f"https://{owner}.github.io/{repository}"
    for path in ("README.md", "CONTRIBUTING.md", "CITATION.cff", "_config.yml"):
        for found in spelled.findall(text(path)):
            assert found.endswith(f"{owner}/{repository}"), (path, found)
    config = yaml.safe_load(text("_config.yml"))
    assert config["repository"]["url"] == ADDRESS
    assert config["html"]["baseurl"] == pages
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["repository-code"] == ADDRESS
    assert citation["url"] == pages
    assert citation["version"] == PROJECT["version"]
    readme = text("README.md")
    for link in (
        f"{ADDRESS}/actions/workflows/test.yml/badge.svg",
        f"https://mybinder.org/v2/gh/{owner}/{repository}/main",
        f"git clone {ADDRESS}",
        pages,
    ):
        assert link in readme, link
    assert f"git clone {ADDRESS}" in text("book/index.ipynb")


def test_the_changelog_knows_this_version():
    assert f"## {PROJECT['version']}" in text("CHANGELOG.md")


def test_the_tree_names_no_package_host_and_no_private_path():
    # Spelled in pieces, so that this file passes its own test.
    forbidden = re.compile(
        "|".join(
            ["pypi" + r"\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.(org|com)"]
        )
    )
    folders = ("book", "src", "tests", "tools", "benchmarks", ".github", ".ci")
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in files:
        if path.suffix in {".safetensors", ".pyc", ".png"} or not path.is_file():
            continue
        found = forbidden.search(path.read_text(encoding="utf-8", errors="replace"))
        assert not found, (name(path), found[0])
