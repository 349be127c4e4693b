"""What the programs say, in the reader's language: figures, sliders, tables, checks.

    language.use("zh_CN")

Programs and figures are written once, in English. A catalogue beside this file has
their words in another language, and what is shown passes through it; what a catalogue
does not know stays in English.

    catalogue   sentences and their translations, whatever numbers stand in them
    outputs     what a cell shows, sentence by sentence
"""

import builtins
from functools import cache
from pathlib import Path

from rwkv_book.language import outputs
from rwkv_book.language.catalogue import Catalogue

HERE = Path(__file__).parent
ENGLISH = Catalogue({})
now = ENGLISH


@cache
def words(name):
    """The catalogue of a language such as "zh_CN"; ValueError if there is none."""
    files = sorted((HERE / name).glob("*.po")) if name.isidentifier() else []
    if not files:
        known = ", ".join(["en", *sorted(path.parent.name for path in all_files())])
        raise ValueError(f"there are no words in {name!r}; there are: {known}")
    return Catalogue.of(files)


def all_files():
    """One catalogue of each language."""
    folders = (sorted(folder.glob("*.po")) for folder in HERE.iterdir())
    return [files[0] for files in folders if files]


def use(name="en"):
    """Show and say everything in this language from now on; "en" is the original.

    In a notebook its cells' `print` says their words in it too. ValueError for a
    language that has no catalogue.
    """
    global now
    now = ENGLISH if name == "en" else words(name)
    try:
        notebook = get_ipython()
    except NameError:
        return
    notebook.user_ns["print"] = builtins.print if now is ENGLISH else say_aloud


def say(text):
    """A sentence in the language in use; as it stands if that has no words for it."""
    return now.say(text)


def say_aloud(*things, sep=" ", end="\n", **more):
    """`print`, in the language in use."""
    text = (" " if sep is None else sep).join(map(str, things))
    builtins.print(outputs.lines(text, say), end=end, **more)


def html(text):
    """A picture or a table of a page, in the language in use."""
    return text if now is ENGLISH else outputs.html(text, say)


def bundle(forms):
    """An output in all its forms, {MIME type: content}, in the language in use."""
    return forms if now is ENGLISH else outputs.bundle(forms, say)
