"""The doctor reaches its advice on a Python that is too old for the book.

Every older Python that this machine has is asked; where it has none, the syntax of the
files that have to be read there is held to that of 3.8.
"""

import ast
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "rwkv_book"
ON_AN_OLD_PYTHON = [
    *(
        PACKAGE / name
        for name in ("__init__.py", "__main__.py", "folders.py", "out_of_memory.py")
    ),
    *(PACKAGE / "commands" / name for name in ("__init__.py", "doctor.py")),
    *sorted((PACKAGE / "doctor").glob("*.py")),
]


def older_pythons(*minors):
    """One Python 3 of each minor version that is in PATH or that pyenv has installed"""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for minor in minors:
        kept = [*root.glob(f"versions/3.{minor}.*/bin/python")]
        in_path = shutil.which(f"python3.{minor}")
        found = [str(path) for path in kept] + ([in_path] if in_path else [])
        for path in found:
            tried = subprocess.run([path, "-c", ""], capture_output=True, check=False)
            if tried.returncode == 0:  # pyenv leaves a name for what isn't chosen
                yield pytest.param(path, id=f"3.{minor}")
                break


OLDER, OLDEST = [*older_pythons(8, 9, 10)], [*older_pythons(6, 7)]


def run(python, *arguments, **changes):
    """The command as that Python carries it out, with nothing installed."""
    return subprocess.run(
        [python, "-m", "rwkv_book", *arguments],
        env={**os.environ, "PYTHONPATH": PACKAGE.parent, **changes},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.mark.parametrize("python", OLDER)
@pytest.mark.parametrize("home", [None, "/proc/nowhere"])
def test_the_doctor_says_what_to_install(python, home, tmp_path):
    places = {"HOME": home, "TMPDIR": str(tmp_path)} if home else {}
    done = run(python, "doctor", **places)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stdout.startswith("problem  Python")
    assert "Install Python 3.11 or newer" in done.stdout
    assert done.stdout.endswith("\n1 to mend (marked problem); then run this again.\n")


@pytest.mark.parametrize("python", OLDER)
def test_the_doctor_writes_and_reads_its_reports(python, tmp_path):
    path = str(tmp_path / "ada.json")
    shown = run(python, "doctor", "--json", "--output", path)
    assert json.loads(shown.stdout) == json.loads(Path(path).read_text())
    done = run(python, "doctor", path)
    assert done.returncode == 1
    assert done.stdout.startswith("NOT READY  ada  problem: Python (3.")


@pytest.mark.parametrize("python", OLDER)
@pytest.mark.parametrize("command", ["train", "generate", "inspect"])
def test_every_command_gives_the_same_advice(python, command):
    for arguments in ([command], [command, "--help"], [command, "--steps", "5"]):
        done = run(python, *arguments)
        assert done.returncode == 1
        wanted = f"python -m rwkv_book {command}: this Python is too old\n"
        assert done.stderr == wanted
        assert "Install Python 3.11 or newer" in done.stdout


@pytest.mark.parametrize("python", OLDER)
def test_help_is_help(python):
    for arguments in (["--help"], ["doctor", "--help"]):
        done = run(python, *arguments)
        assert done.returncode == 0 and "doctor" in done.stdout


@pytest.mark.parametrize("python", OLDEST)
def test_where_not_even_the_doctor_can_be_read_there_is_a_sentence(python):
    done = run(python, "doctor")
    assert done.returncode == 1 and done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert "Install Python 3.11 or newer" in sentence


@pytest.mark.parametrize("path", ON_AN_OLD_PYTHON, ids=lambda path: path.name)
def test_an_old_python_can_read_these_files(path):
    minor = 7 if path.name == "__main__.py" else 8
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, minor))


def test_ruff_holds_these_files_to_it_too():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    held = [*map(ROOT.glob, project["tool"]["ruff"]["per-file-target-version"])]
    assert sorted(path for found in held for path in found) == sorted(ON_AN_OLD_PYTHON)


def test_these_files_import_only_each_other():
    """At the top: what is imported inside a function is not needed there."""
    there = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in ON_AN_OLD_PYTHON
    }
    there = {name.removesuffix(".__init__") for name in there}
    for path in ON_AN_OLD_PYTHON:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and "rwkv_book" in node.module:
                each = {f"{node.module}.{alias.name}" for alias in node.names}
                assert node.module in there - {"rwkv_book"} or each <= there, path
