"""What a release says of itself: the changelog's section of a version, checked first.

    python -m tools.checks.release v0.1.0

The tag, pyproject.toml and CITATION.cff have to name the same version, and the
changelog has to say what is new in it. It needs nothing that is not Python's own.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def notes(tag, root=ROOT):
    """The text for the release `tag`; ValueError where two files disagree."""
    version = tag.removeprefix("v")
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    citation = (root / "CITATION.cff").read_text("utf-8")
    named = {
        "pyproject.toml": project["version"],
        "CITATION.cff": re.search(r"^version: (.+)$", citation, re.MULTILINE)[1],
    }
    wrong = [f"{file} names {one}" for file, one in named.items() if one != version]
    changes = re.search(
        rf"^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)",
        (root / "CHANGELOG.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    if not changes or not changes[1].strip():
        wrong.append(f"CHANGELOG.md says nothing about {version}")
    if wrong:
        raise ValueError(f"{tag}: {'; '.join(wrong)}")
    return changes[1].strip()


if __name__ == "__main__":
    try:
        print(notes(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))
