"""The Makefile, with real make: what it builds again, which Python it takes."""

import os
import shutil
import subprocess

import pytest

from tools.contents import ROOT

# Notes that it was called, in place of the program that builds the site.
BUILDER = """#!/bin/sh
mkdir -p _build/html
echo built >> calls
"""
ODD_NAMES = ["05 a draft.ipynb", "06: another.md", "it's $HOME %.md", "é#.md"]


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(params=["book", "my book"])
def folder(tmp_path, request):
    """A book of odd names whose environments are there, in a folder with a space."""
    folder = tmp_path / request.param
    for name in ("_config.yml", "_toc.yml", "CHANGELOG.md", "pyproject.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name in ("package.json", "package-lock.json", ".npmrc"):
        (folder / "tools" / "site").mkdir(parents=True, exist_ok=True)
        (folder / "tools" / "site" / name).touch()
    for name in ODD_NAMES:
        (folder / "book").mkdir(exist_ok=True)
        (folder / "book" / name).write_text("text")
    (folder / "src").mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    program(folder / ".venv" / "bin" / "jupyter-book", BUILDER)
    program(folder / ".venv" / "bin" / "python", "#!/bin/sh\n")  # the workshop's zips
    for environment in (".venv", ".vendor"):
        (folder / environment).mkdir(exist_ok=True)
        (folder / environment / ".installed").touch()
    return folder


def make(folder, *arguments, **environment):
    """Run make, without what a `make test PYTHON=...` around it hands down."""
    handed = {name for name in os.environ if "MAKE" in name} | {"PYTHON"}
    outside = {name: os.environ[name] for name in os.environ.keys() - handed}
    return subprocess.run(
        [shutil.which("make"), *arguments],
        cwd=folder,
        env={**outside, **environment},
        capture_output=True,
        text=True,
    )


def builds(folder):
    """How often the site has been built after `make book`."""
    done = make(folder, "book")
    assert done.returncode == 0, done.stderr
    return (folder / "calls").read_text().count("built")


def test_the_site_is_built_again_when_a_file_changes_comes_or_goes(folder):
    assert builds(folder) == 1
    assert builds(folder) == 1
    for number, name in enumerate(ODD_NAMES, 2):
        (folder / "book" / name).write_text(f"other text {name}")
        assert builds(folder) == number
    (folder / "book" / "new one: yes.md").touch()
    assert builds(folder) == number + 1
    (folder / "book" / ODD_NAMES[0]).unlink()
    assert builds(folder) == number + 2
    (folder / "book" / ".a file of an editor.swp").touch()
    assert builds(folder) == number + 2


def pythons(folder, **exits):
    """A PATH of these and what recipes use; `exits` answer "are you new enough?"."""
    path = folder / "path"
    for name, new in exits.items():
        asked = f"case $1 in --version) echo Python {name};; -c) exit {new};;"
        program(path / name.replace("_", "."), f"#!/bin/sh\n{asked} esac\n")
    for tool in ("sh", "sed", "touch", "mkdir", "rm", "test"):
        (path / tool).symlink_to(shutil.which(tool))
    return str(path)


def test_an_older_python_is_passed_over(folder):
    """python3 is too old here; the next that is there is taken."""
    path = pythons(folder, python3=1, python3_12=0, python=0)
    (folder / ".venv" / ".installed").unlink()
    done = make(folder, "--dry-run", "env", PATH=path)
    assert "python3.12 -m venv --clear .venv" in done.stdout, done.stderr


def test_where_every_python_is_too_old_the_error_says_so(folder):
    path = pythons(folder, python3=1, python=1)
    (folder / ".venv" / ".installed").unlink()
    done = make(folder, "env", PATH=path)
    assert done.returncode != 0
    assert (
        "needs Python 3.11 or newer, and there is none: Python python3." in done.stdout
    )
    assert "make PYTHON=" in done.stdout
