"""How long a chapter takes to read: words, and what makes one stop.

    python -m tools.checks.reading

prints the minutes of every chapter, up to its exercises. A chapter is one sitting, so
none may take more than `SITTING` minutes, and each says on its page what it takes; a
test holds both. The speeds are rough and the same for all: readers differ by a factor
of two, but what is longer for one is longer for everybody.
"""

import json
import re
from pathlib import Path

from tools.contents import chapters

SITTING = 45  # minutes
WORDS_A_MINUTE = 180
SECONDS = {"line of code": 4, "line of output": 1, "figure": 20, "formula": 20}
FOLDED = {"hide-input", "hide-cell", "remove-cell", "remove-input"}
UNSEEN = {"hide-output", "hide-cell", "remove-cell"}  # what comes out of them
EXERCISES = re.compile(r"^## Exercises$", re.M)
FORMULA = re.compile(r"\$\$.+?\$\$", re.S)


def said(path: Path) -> int:
    """The minutes that the page itself gives, in "about 40 minutes to read".

    ValueError if it gives none.
    """
    text = " ".join("".join(cell["source"]) for cell in cells_of(path)[:4])
    found = re.search(r"about\s+(\d+)\s+minutes\s+to\s+read", text)
    if not found:
        raise ValueError(f'{path.name}: write "about N minutes to read" at its top')
    return int(found[1])


def minutes(path: Path) -> float:
    """What a page takes to read, from its top to its exercises."""
    words, stops = counts(cells_of(path))
    return words / WORDS_A_MINUTE + sum(SECONDS[k] * n for k, n in stops.items()) / 60


def rounded(time: float) -> int:
    """Minutes as a page says them: a multiple of five."""
    return max(5 * round(time / 5), 5)


def cells_of(path):
    """A notebook's cells; a page that is no notebook is one cell of Markdown."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        return json.loads(text)["cells"]
    return [{"cell_type": "markdown", "source": text}]


def counts(cells):
    """Words of prose, and how many of each kind of stop: (int, {kind: int})."""
    words, stops = 0, dict.fromkeys(SECONDS, 0)
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            tags = set(cell["metadata"].get("tags", []))
            stops["line of code"] += 0 if FOLDED & tags else lines(source)
            for output in [] if UNSEEN & tags else cell["outputs"]:
                drawn = set(output.get("data", {})) - {"text/plain"}
                stops["figure"] += bool(drawn)
                stops["line of output"] += 0 if drawn else lines(text_of(output))
            continue
        before, *rest = EXERCISES.split(source, maxsplit=1)
        stops["formula"] += len(FORMULA.findall(before))
        words += len(FORMULA.sub("", before).split())
        if rest:
            break
    return words, stops


def text_of(output):
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))


def lines(text):
    return sum(bool(line.strip()) for line in text.splitlines())


def main():
    for path in chapters():
        print(f"{minutes(path):4.0f} minutes  {path.name}")


if __name__ == "__main__":
    main()
