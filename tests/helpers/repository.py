"""The files of the book, as text."""

from tools.contents import ROOT


def text(path):
    """A file of the repository, by its path in it."""
    return (ROOT / path).read_text(encoding="utf-8")
