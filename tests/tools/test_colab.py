"""The first cell of every notebook, which installs the package where it is missing."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager

from tools import contents
from tools.contents import REPOSITORY, ROOT
from tools.notebooks import install_cell
from tools.notebooks.copies import FOLDED, PUBLISHED, commit, in_languages
from tools.notebooks.copies import main as copy_for
from tools.notebooks.install_cell import cell_source
from tools.notebooks.normal_form import normal_form
from tools.site import sphinx_copies

NOTEBOOKS = contents.notebooks()
in_a_clone = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="not a clone: runs in a git repository"
)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_notebook_has_it_behind_its_title(path):
    """`python -m tools.notebooks.install_cell` puts it there."""
    title, cell, *others = nbformat.read(path, as_version=4).cells
    assert title.cell_type == "markdown"
    assert title.source.startswith("# ")
    assert cell.source == cell_source()
    assert cell.metadata.tags == ["remove-cell"]
    assert not any(other.source.startswith(install_cell.FIRST_LINE) for other in others)


class Notebook:
    """Stands for IPython, and notes which magic was asked for."""

    def __init__(self):
        self.asked = []

    def run_line_magic(self, name, line):
        self.asked.append(f"%{name} {line}")


def run(source=None):
    asked = Notebook()
    code = TransformerManager().transform_cell(source or cell_source())
    exec(code, {"get_ipython": lambda: asked})
    return asked.asked


def test_where_the_package_is_installed_it_does_nothing():
    assert run() == []


def test_where_it_is_missing_it_comes_from_the_branch_of_the_buttons(monkeypatch):
    monkeypatch.setitem(sys.modules, "rwkv_book", None)  # not to be found
    package, others = run()
    assert package.endswith(f"git+{REPOSITORY['url']}@{REPOSITORY['branch']}")
    assert "--no-deps" in package
    # PyTorch and NumPy are there, and large: nothing here may exchange them.
    assert set(others.split()[3:]) <= set(pins())
    assert {pin.split("==")[0] for pin in others.split()[3:]} == set(
        install_cell.LACKING
    )


def pins():
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    return [line.strip(' ",') for line in lines if "==" in line]


def test_putting_it_there_twice_changes_nothing_and_counts_from_one():
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell(
            "1",
            execution_count=1,
            outputs=[nbformat.v4.new_output("execute_result", execution_count=1)],
        ),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    install_cell.insert(notebook)
    once = normal_form(notebook)
    install_cell.insert(notebook)
    assert normal_form(notebook) == once
    setup, code = notebook.cells[1:]
    assert (setup.execution_count, code.execution_count) == (1, 2)
    assert code.outputs[0].execution_count == 2


# --- the copies that the pages open ------------------------------------------------


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    copy_for(["--colab", str(folder)])
    return folder


@in_a_clone
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_copy_installs_its_commit_and_links_to_the_pages(path, copies):
    copy = nbformat.read(copies / path.relative_to(ROOT), as_version=4)
    assert copy.cells[1].source == cell_source(commit())
    assert copy.cells[1].metadata == FOLDED
    code = [cell.source for cell in copy.cells if cell.cell_type == "code"]
    own = nbformat.read(path, as_version=4).cells
    assert code[1:] == [cell.source for cell in own if cell.cell_type == "code"][1:]
    text = "\n".join(cell.source for cell in copy.cells if cell.cell_type != "code")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert all(link.startswith(("https://", "http://", "mailto:")) for link in links)


@in_a_clone
def test_a_copy_installs_the_package_at_the_commit_it_names(
    copies, tmp_path, monkeypatch
):
    """What pip is asked for, with this folder in the place of the book's address."""
    monkeypatch.setitem(sys.modules, "rwkv_book", None)  # not to be found
    copy = nbformat.read(copies / NOTEBOOKS[0].relative_to(ROOT), as_version=4)
    package = run(copy.cells[1].source)[0].split("%pip install ")[1].split()
    instead = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY["url"],
    }
    pip = [sys.executable, "-m", "pip", "install", "--no-build-isolation"]
    subprocess.run(
        [*pip, "--target", tmp_path, *package], check=True, env=os.environ | instead
    )
    [source] = tmp_path.glob("rwkv_book-*.dist-info/direct_url.json")
    told = json.loads(source.read_text("utf-8"))
    assert told["url"] == REPOSITORY["url"]
    assert told["vcs_info"]["commit_id"] == commit()
    assert (tmp_path / "rwkv_book" / "models" / "shakespeare.safetensors").exists()
    assert list((tmp_path / "rwkv_book" / "results").glob("*.json"))


@in_a_clone
def test_the_workflow_pushes_the_copies_to_the_branch_of_the_buttons(copies, tmp_path):
    workflow = (ROOT / ".github" / "workflows" / "publish.yml").read_text("utf-8")
    steps = yaml.safe_load(workflow)["jobs"]["publish"]["steps"]
    [push] = [step["run"] for step in steps if "REMOTE" in step.get("env", {})]
    remote = tmp_path / "remote"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    for sha in ("one", "two"):  # a second time goes over the first
        work = tmp_path / sha / "_build"
        work.mkdir(parents=True)
        subprocess.run(["cp", "-r", copies, work / "colab"], check=True)
        subprocess.run(
            ["bash", "-e", "-c", push],
            cwd=work.parent,
            env=os.environ | {"REMOTE": remote.as_uri(), "GITHUB_SHA": sha},
            check=True,
        )
    ask = ["git", "-C", str(remote), "ls-tree", "-r", "--name-only", PUBLISHED]
    pushed = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    wanted = {str(path.relative_to(ROOT)) for path in NOTEBOOKS}
    wanted |= {f"{each.code}/{path.relative_to(ROOT)}" for each, path in in_languages()}
    assert set(pushed.split()) == wanted


def test_the_buttons_that_run_a_notebook_open_its_copy():
    app = SimpleNamespace(
        config=SimpleNamespace(
            html_theme_options={"repository_branch": "main"}, language="en"
        )
    )
    buttons = [
        {
            "text": "Binder",
            "url": "https://b.org/main?urlpath=lab/tree/book/book.ipynb",
        },
        {"text": "Colab", "url": "https://c.org/blob/main/book/main.ipynb"},
        {"text": ".ipynb", "url": "main.ipynb"},
    ]
    context = {"header_buttons": [{"type": "link"}, {"buttons": buttons}]}
    sphinx_copies.open_copies(app, "book/main", "page.html", context, None)
    assert [button["url"] for button in buttons] == [
        "https://b.org/main?urlpath=lab/tree/notebooks/book.ipynb",
        f"https://c.org/blob/{PUBLISHED}/book/main.ipynb",
        "main.ipynb",
    ]


def test_without_a_repository_there_is_no_commit_to_name(tmp_path):
    with pytest.raises(SystemExit, match="in a clone of the repository"):
        commit(tmp_path)
