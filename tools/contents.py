"""What the book consists of: its pages, its notebooks, its addresses.

This is the one reader of `_toc.yml` and `_config.yml`. A page is named by its path
without an ending, as `_toc.yml` does it.
"""

import re
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
REPOSITORY = CONFIG["repository"]
SITE = CONFIG["html"]["baseurl"]
FORMAT = "jb-book"


@cache
def parts(toc: Path = ROOT / "_toc.yml") -> dict[str, list[Path]]:
    """{caption: pages}, in order; the first page, which has no caption, is at ""."""
    contents = yaml.safe_load(toc.read_text("utf-8"))
    return {"": [toc.parent / contents["root"]]} | {
        part["caption"]: [toc.parent / name for name in files(part["chapters"])]
        for part in contents["parts"]
    }


def files(entries):
    """The names in a list of _toc.yml, each followed by those of its sections."""
    for entry in entries:
        yield entry["file"]
        yield from files(entry.get("sections", []))


def pages(toc: Path = ROOT / "_toc.yml") -> list[Path]:
    """All pages, in the order of the book."""
    return [page for part in parts(toc).values() for page in part]


def chosen(names) -> str:
    """The text of a table of contents that has these pages alone."""
    first, *others = names
    contents = {"format": FORMAT, "root": first}
    if others:
        contents["chapters"] = [{"file": name} for name in others]
    return yaml.safe_dump(contents)


@cache
def notebooks() -> list[Path]:
    """The notebooks among the pages, in the order of the book."""
    found = [page.with_suffix(".ipynb") for page in pages()]
    return [path for path in found if path.exists()]


@cache
def chapters() -> list[Path]:
    """The notebooks that have a number, in order."""
    return [path for path in notebooks() if re.match(r"\d\d_", path.name)]
