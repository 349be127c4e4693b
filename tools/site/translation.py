"""The book in another language, page by page.

    python -m tools.site.translation messages de book/index
    python -m tools.site.translation site de

`messages` writes what there is to translate on a page into
locale/<language>/LC_MESSAGES/<page>.po, or brings that file up to date: what is new in
it is empty, and what had changed is marked `fuzzy`. `site` builds the whole book; what
is not translated, or was translated from an older text, stays in English.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from babel.messages.pofile import read_po
from jupyter_book.sphinx import build_sphinx
from sphinx_intl.basic import update

from tools.contents import ROOT, chosen

LOCALE = ROOT / "locale"


def build(builder, folder, pages=(), language="en", root=ROOT, locale=LOCALE):
    """Build the book, or some of its pages alone; SystemExit if that fails."""
    with tempfile.TemporaryDirectory() as trees:
        toc = root / "_toc.yml"
        if pages:
            toc = Path(trees) / "toc.yml"
            toc.write_text(chosen(pages), "utf-8")
        failed = build_sphinx(
            root,
            folder,
            noconfig=True,
            path_config=root / "_config.yml",
            doctreedir=trees,
            builder=builder,
            quiet=True,
            # With some of the pages alone, links to the others lead nowhere.
            really_quiet=bool(pages),
            confoverrides={
                "external_toc_path": str(toc),
                "latex_individualpages": False,
                "language": language,
                "locale_dirs": [str(locale)],
                "gettext_compact": False,
                "gettext_location": False,
            },
        )
    if failed:
        raise SystemExit(f"the pages were not built: {failed}")


def catalog(page, language, locale=LOCALE):
    """The file of a page's translations."""
    return locale / language / "LC_MESSAGES" / f"{page}.po"


def entries(path):
    """The texts in a catalog, without its head."""
    with open(path, "rb") as file:
        return [message for message in read_po(file) if message.id]


def is_translated(message):
    return bool(message.string) and not message.fuzzy


def messages(language, pages):
    """Bring the catalogs of these pages up to date."""
    with tempfile.TemporaryDirectory() as folder:
        build("gettext", Path(folder), pages)
        # The words of the theme: Sphinx has them in many languages.
        (Path(folder) / "sphinx.pot").unlink(missing_ok=True)
        update(str(LOCALE), folder, (language,), jobs=1)
    for page in pages:
        path = catalog(page, language)
        print(f"{path.relative_to(ROOT)}: {share(path)}")


def share(path):
    texts = entries(path)
    return f"{sum(map(is_translated, texts))} of {len(texts)} texts are translated"


def site(language):
    """The whole book in _build/translations/<language>."""
    found = sorted((LOCALE / language).rglob("*.po"))
    if not found:
        raise SystemExit(f"locale/{language} has no page: begin with `make messages`")
    folder = ROOT / "_build" / "translations" / language
    build("html", folder, language=language)
    for path in found:
        print(f"{path.relative_to(LOCALE)}: {share(path)}")
    print(f"Open {folder / 'index.html'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("messages", "site"))
    parser.add_argument("language", help="such as de, or pt_BR")
    parser.add_argument("pages", nargs="*", help="such as book/index")
    options = parser.parse_args()
    if options.what == "site":
        site(options.language)
    elif options.pages:
        messages(options.language, options.pages)
    else:
        sys.exit("Which pages? For instance book/index")
