"""The book elsewhere: what Binder, Codespaces, a hub, a release and a form read."""

import json
import os
import re
import shutil
import subprocess
import time
from datetime import date
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
import yaml
from helpers.repository import text

from tools import contents
from tools.checks import environment, limits, release, tables
from tools.contents import ROOT
from tools.site import sphinx_lost

RECORD = json.loads(tables.RECORD.read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
HUB = ROOT / "book" / "workshop" / "jupyterhub.md"


# --- Binder: its environment, and a notebook within its memory ---------------------


def test_the_environment_is_small_and_has_no_build_of_its_own():
    """With a path of ours among the packages Binder installs all at each commit."""
    version, packages = environment.python_and_packages()
    assert version == "3.11"
    assert "https://download.pytorch.org/whl/cpu" in packages[0]
    assert not any(re.match(r"-e|\.|/|file:", package) for package in packages[1:])
    assert not (ROOT / "binder").exists()
    assert not (ROOT / ".binder").exists()


def test_what_binder_runs_last_is_a_program():
    assert (ROOT / "postBuild").stat().st_mode & 0o111
    subprocess.run(["bash", "-n", ROOT / "postBuild"], check=True)


@pytest.fixture
def notebook(tmp_path):
    def make(code):
        path = tmp_path / "n.ipynb"
        cells = [nbformat.v4.new_code_cell(code)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return make


def test_a_notebook_is_measured(notebook):
    path = notebook("held = bytes(range(250)) * 400_000; sum(range(3_000_000))")
    row = limits.measure(path)
    assert 100e6 / 2**20 < row["peak_mib"] < 400
    assert row["core_seconds"] > 0
    assert row["seconds"] > 0


def test_a_process_that_has_not_begun_its_program_is_not_counted():
    """Until then it has the pages of the process that starts it."""
    with limits.watching(2**40) as seen:
        subprocess.run(["true"], preexec_fn=lambda: time.sleep(0.5), check=True)
    assert seen["peak"] < 10 * 2**20


def test_a_notebook_that_takes_too_much_is_stopped_with_what_it_started(notebook):
    """The memory is held by a process that the notebook started, not by its kernel."""
    hold = "held = bytes(range(250)) * 2_000_000; input()"
    path = notebook(
        "import subprocess, sys\n"
        f"command = [sys.executable, '-c', {hold!r}]\n"
        "subprocess.Popen(command, stdin=subprocess.PIPE).wait()"
    )
    with pytest.raises(SystemExit, match=r"n\.ipynb: stopped, it took over 300 MiB"):
        limits.measure(path, limit=300)


def test_every_notebook_was_measured_within_the_limit():
    """`make limits RECORD=1` measures them anew."""
    listed = [str(p.relative_to(ROOT)) for p in contents.notebooks()]
    assert [row["notebook"] for row in RECORD["rows"]] == listed
    assert RECORD["limit_mib"] == limits.LIMIT == 1024
    assert RECORD["cores"] == 2
    for row in RECORD["rows"]:
        assert row["peak_mib"] <= RECORD["limit_mib"], row


@pytest.mark.parametrize("page", tables.PAGES)
def test_the_pages_show_what_was_measured(page):
    """`python -m tools.checks.tables` writes the tables anew."""
    assert tables.with_tables(text(page), RECORD) == text(page)
    assert "<!-- measured: " in text(page)


# --- a hub for a class ------------------------------------------------------------


def commands():
    return "\n".join(
        re.findall(r"```bash\n(.*?)```", HUB.read_text("utf-8"), re.DOTALL)
    )


def test_the_recipe_is_one_that_a_shell_can_read():
    subprocess.run(["bash", "-n"], input=commands(), text=True, check=True)
    assert "--version 2.0.0" in commands()
    assert "--file environment.yml" in commands()


def test_everybody_has_room_for_the_largest_notebook_and_another():
    (limit,) = re.findall(r"limits\.memory (\d+)M", commands())
    peaks = sorted(row["peak_mib"] for row in RECORD["rows"])
    assert int(limit) >= RECORD["server_mib"] + peaks[-1] + peaks[len(peaks) // 2 - 1]
    assert int(limit) % 512 == 0
    need = tables.needs(RECORD)
    assert need["usual_gib"] <= need["most_gib"]
    assert need["most_gib"] >= 30 * int(limit) / 1024 + 2


def test_sums_for_a_class_by_hand():
    """30 × (100 + 200) MiB + 2 GiB is 10.8 GiB; 100 + 400 + 200 needs 1 GiB each."""
    rows = [{"peak_mib": n, "core_seconds": n / 10} for n in (100, 200, 400)]
    need = tables.needs({"server_mib": 100, "rows": rows})
    assert need["usual_gib"] == 11
    assert need["limit_mib"] == 1024
    assert need["most_gib"] == 32
    assert (need["middle_core_seconds"], need["most_core_seconds"]) == (20, 40)


# --- Codespaces, workflows, releases ----------------------------------------------


def targets():
    return set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))


def test_a_codespace_has_what_the_tests_open():
    container = json.loads(text(".devcontainer/devcontainer.json"))
    assert re.search(r"python:3\.11\b", container["image"])
    packages = container["onCreateCommand"].split("--no-install-recommends ")[1].split()
    assert set(packages) == {"chromium", "fonts-dejavu-core", "g++"}
    for package in packages:
        assert package in text(".ci/run")
    assert container["updateContentCommand"].removeprefix("make ") in targets()
    assert 8000 in container["forwardPorts"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_is_here(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "jobs"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        lines = "\n".join(step.get("run", "") for step in job["steps"])
        for target in re.findall(r"\bmake ([a-z]\w+)", lines):
            assert target in targets(), target
        for file in re.findall(r"\bbash ([\w./]+)", lines):
            assert (ROOT / file).exists(), file
        for module in re.findall(r"\bpython -m ([\w.]+)", lines):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module
        uses = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", use) for use in uses)


GH = """#!/bin/sh
case "$*" in
  *list*) echo v0.2.0; echo v0.1.0;;
  *v0.2.0*site*) cat site.tar.gz;;
  *) echo "no assets match the file pattern" >&2; exit 1;;
esac
"""


def test_the_pages_of_a_release_stand_beside_those_of_main(tmp_path):
    """As far as there are some, which the first release has none of."""
    releasing, publishing = (
        next(
            iter(yaml.safe_load(text(f".github/workflows/{name}.yml"))["jobs"].values())
        )
        for name in ("release", "publish")
    )
    made = "\n".join(step.get("run", "") for step in releasing["steps"])
    assert '-site.tar.gz" -C _build/html .' in made and "make pdf CHAPTER=all" in made
    [lay] = [
        each["run"] for each in publishing["steps"] if "gh " in each.get("run", "")
    ]
    site = tmp_path / "_build" / "html"
    (site / "book").mkdir(parents=True)
    (site / "book" / "index.html").write_text("a page")
    subprocess.run(
        ["tar", "czf", "site.tar.gz", "-C", site, "."], cwd=tmp_path, check=True
    )
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-e", "-c", lay],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        check=True,
    )
    assert (site / "v0.2.0" / "book" / "index.html").read_text() == "a page"
    assert {path.name for path in site.iterdir()} == {"book", "v0.2.0"}


def test_a_release_says_what_the_changelog_says():
    version = re.search(r'^version = "(.+)"$', text("pyproject.toml"), re.MULTILINE)[1]
    notes = release.notes(f"v{version}")
    assert notes in text("CHANGELOG.md")
    assert "## " not in notes


def test_a_tag_that_the_files_do_not_know_is_refused(tmp_path):
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    with pytest.raises(
        ValueError, match=r"pyproject.toml names .*; CITATION.*; CHANGE"
    ):
        release.notes("v99.0", tmp_path)


def test_the_citation_has_what_archives_ask_for():
    """The required keys of version 1.2.0 of the format, and no key that it lacks."""
    citation = yaml.safe_load(text("CITATION.cff"))
    required = {"cff-version", "message", "title", "authors"}
    known = required | {
        *("abstract", "date-released", "keywords", "license", "repository-code"),
        *("type", "url", "version", "doi", "identifiers", "references"),
    }
    assert required <= set(citation) <= known
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] in ("software", "dataset")
    assert citation["license"] == "Apache-2.0"  # Zenodo refuses a list
    assert citation["authors"]
    for author in citation["authors"]:
        assert "name" in author or "family-names" in author
    released = date.fromisoformat(citation["date-released"])
    stated = re.search(
        rf"^## {citation['version']} · (.+)$", text("CHANGELOG.md"), re.M
    )
    assert stated and date.fromisoformat(stated[1]) == released


# --- readers who got lost ---------------------------------------------------------


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_are_well_formed(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    kinds = {"markdown", "input", "textarea", "dropdown", "checkboxes"}
    names = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(names) == len(set(names)) > 0
    for field in form["body"]:
        assert field["type"] in kinds
        wanted = "value" if field["type"] == "markdown" else "label"
        assert field["attributes"][wanted].strip()


def test_a_page_links_to_the_form_with_its_name_filled_in():
    repository = yaml.safe_load(text("_config.yml"))["repository"]["url"]
    theme = {"repository_url": repository}
    app = SimpleNamespace(config=SimpleNamespace(html_theme_options=theme))
    context = {"body": "<p>The page.</p>"}
    sphinx_lost.add_line(app, "book/a page&", "page.html", context, doctree="read")
    (link,) = re.findall(r'href="([^"]+)"', context["body"])
    address = urlsplit(link.replace("&amp;", "&"))
    assert f"{address.scheme}://{address.netloc}{address.path}" == (
        f"{repository}/issues/new"
    )
    asked = parse_qs(address.query)
    assert asked["page"] == ["book/a page&"]
    (form,) = (path for path in FORMS if path.name == asked["template"][0])
    fields = yaml.safe_load(form.read_text(encoding="utf-8"))["body"]
    assert "page" in [field.get("id") for field in fields]


def test_pages_that_nobody_wrote_have_no_such_line():
    context = {"body": ""}
    sphinx_lost.add_line(None, "genindex", "genindex.html", context, doctree=None)
    assert context == {"body": ""}
