"""Sentences and their translations, whatever numbers stand in them.

A catalogue is a .po file, as translators' programs write it. Its English sentences are
those that were printed once, with the numbers of that time:

    msgid "largest difference over all 41 letters: 0.000 percent"
    msgstr "全部 41 个字母中最大的差：0.000%"

The same sentence with other numbers is said with those. A number in the translation
stands for the same number in the original, wherever it stands. What is in braces, as in
"the model bets on {letter}", may be any words, and is translated itself if it can be.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+−])?(?<![A-Za-z_\d.])\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"
)
FIELD = re.compile(r"\{[^{}]*\}")
PARTS = re.compile(f"(?:{FIELD.pattern})|(?:{NUMBER.pattern})")


@dataclass
class Entry:
    """A sentence, its translation, and what a translator noted on it."""

    english: str = ""
    translation: str = ""
    fuzzy: bool = False
    note: str = ""


def read(path: Path) -> list[Entry]:
    """The entries of a .po file, without its head and without what is out of use."""
    entries, field = [Entry()], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#~"):
            continue
        begins = line.startswith(("#", "msgid "))
        if begins and field == "translation":
            entries.append(Entry())
            field = ""
        if line.startswith("#,"):
            entries[-1].fuzzy |= "fuzzy" in line
        elif line.startswith("# "):
            entries[-1].note = f"{entries[-1].note} {line[2:]}".strip()
        elif line.startswith("msgid "):
            field = "english"
        elif line.startswith("msgstr "):
            field = "translation"
        if '"' in line and not line.startswith("#"):
            said = ast.literal_eval(line[line.index('"') :])
            setattr(entries[-1], field, getattr(entries[-1], field) + said)
    return [entry for entry in entries if entry.english]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def blind(text: str) -> str:
    """A sentence without its numbers, by which it is found again."""
    return NUMBER.sub("#", squeezed(text))


class Catalogue:
    """Translations by sentence: `say` finds the one that fits."""

    def __init__(self, translations: dict[str, str]):
        self.exact = {squeezed(one): other for one, other in translations.items()}
        self.blind = {}
        self.patterns = []
        for english, translation in self.exact.items():
            if FIELD.search(english):
                self.patterns.append((pattern(english), english, translation))
            else:
                self.blind.setdefault(blind(english), (english, translation))

    @classmethod
    def of(cls, paths):
        """Of some files; the first that has a sentence gives its translation."""
        found = {}
        for path in paths:
            for entry in read(path):
                if entry.translation and not entry.fuzzy:
                    found.setdefault(entry.english, entry.translation)
        return cls(found)

    def find(self, text: str) -> str | None:
        """The translation of a sentence, or None."""
        plain = squeezed(text)
        if plain in self.exact and plain == text.strip():
            return self.exact[plain]
        if blind(plain) in self.blind:
            english, translation = self.blind[blind(plain)]
            parts = NUMBER.findall(english)
            return filled(translation, parts, with_margins(text))
        for expression, english, translation in self.patterns:
            if match := expression.fullmatch(plain):
                parts = PARTS.findall(english)
                return filled(translation, parts, [self.say(x) for x in match.groups()])
        return None

    def say(self, text: str) -> str:
        """A sentence in this language, with the blanks around it; or as it stands."""
        found = self.find(text)
        if found is None or found == squeezed(text):
            return text
        before = text[: len(text) - len(text.lstrip())]
        return before + found + text[len(text.rstrip()) :]


def pattern(english: str) -> re.Pattern:
    """What a sentence with fields matches: any words there, and other numbers."""
    pieces, end = [], 0
    for part in PARTS.finditer(english):
        pieces.append(re.escape(english[end : part.start()]))
        field = part[0].startswith("{")
        pieces.append("(.+?)" if field else f"({NUMBER.pattern})")
        end = part.end()
    return re.compile("".join(pieces) + re.escape(english[end:]))


def with_margins(text: str) -> list[str]:
    """The numbers of a text, each with the blanks by which a column is lined up."""
    found = []
    for match in NUMBER.finditer(text):
        before = text[: match.start()]
        blanks = len(before) - len(before.rstrip(" "))
        found.append(" " * (blanks - 1 if before.strip() else 0) + match[0])
    return found


def filled(translation: str, parts: list[str], values: list[str]) -> str:
    """A translation in which every part of the original has its new value."""
    left = list(zip(parts, values, strict=True))

    def value(match):
        for place, (part, new) in enumerate(left):
            if part == match[0]:
                del left[place]
                return new
        return match[0]

    return PARTS.sub(value, translation)
