"""Files and folders that the prose names are there."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "rwkv_book"
FOLDERS = "book|src|tests|tools|benchmarks|locale"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./-]+|[\w/-]+\.(?:py|cu|h))`")
PAGES = [
    *(ROOT / "book").rglob("[!.]*.ipynb"),
    *(ROOT / "book").rglob("*.md"),
    *ROOT.glob("*.md"),
    ROOT / "benchmarks" / "README.md",
    PACKAGE / "models" / "README.md",
]


def prose(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] != "code")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_names_is_there(page):
    places = (ROOT, PACKAGE, page.parent, ROOT / "benchmarks")
    for name in NAMED.findall(prose(page).replace("NN_name", "04_wkv_operator")):
        at_its_place = any((place / name).exists() for place in places)
        by_its_name = "/" not in name and any(PACKAGE.rglob(name))
        assert at_its_place or by_its_name, f"{name} is named and isn't there"
