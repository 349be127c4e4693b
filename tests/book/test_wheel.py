"""The package as a wheel, in an environment of its own: it brings all that it needs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import contents
from tools.contents import ROOT
from tools.workshop import participant

SOURCE = ROOT / "src" / "rwkv_book"
# What only Colab runs, is left out, and a chapter's figures are drawn on no screen.
MAGIC = re.compile(r"(?m)^( *)%pip .*$")
MODEL_AND_PLACE = """
import rwkv_book
from rwkv_book import checkpoint

assert checkpoint.load(checkpoint.shipped())
print("from", rwkv_book.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """(Python of an environment with the wheel, the folder in which the package lies)

    What the package needs is read from where it is installed already.
    """
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy, since what a build leaves behind goes into the next one.
    for name in participant.PACKAGE:
        participant.copy(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder]
    subprocess.run([*build, folder / "source"], check=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "env"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", environment], check=True
    )
    (packages,) = environment.glob("lib/python*/site-packages")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", packages, wheel],
        check=True,
    )
    # Lines of a .pth that is named here are not followed, so that the package of this
    # repository, which one of them names, is not found.
    present = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "present.pth").write_text("\n".join(present) + "\n")
    return environment / "bin" / "python", packages / "rwkv_book"


def run(python, code, folder):
    done = subprocess.run(
        [python, "-c", code], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_chapter_runs_from_the_wheel_alone(installed, tmp_path):
    """Chapter 16, which asks for texts, records, sources and checks; and a model."""
    python, package = installed
    (path,) = (path for path in contents.chapters() if path.stem.startswith("16"))
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [
        MAGIC.sub(r"\1pass", "".join(cell["source"]))
        for cell in cells
        if cell["cell_type"] == "code"
    ]
    said = run(python, "\n".join([*code, MODEL_AND_PLACE]), tmp_path)
    assert said.splitlines()[-1] == f"from {package / '__init__.py'}"
    assert "(figure)" not in said and len(said.splitlines()) > 20


def test_it_holds_every_file_of_the_package_and_what_was_measured(installed):
    """Models, texts, the kernel's source, records: everything that is in the tree."""
    _, package = installed

    def files(folder):
        found = (path.relative_to(folder) for path in folder.rglob("*"))
        return {
            path
            for path in found
            if (folder / path).is_file() and "__pycache__" not in path.parts
        }

    records = {
        Path("results") / path.name
        for path in (ROOT / "benchmarks" / "results").iterdir()
        if path.is_file()
    }
    assert files(package) == files(SOURCE) | records
    kinds = {path.suffix for path in files(package)}
    assert {".safetensors", ".cu", ".json", ".py"} <= kinds
