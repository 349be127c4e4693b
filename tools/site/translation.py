"""The book in another language, page by page: `make messages`, `make translation`.

    python -m tools.site.translation messages zh_CN book/index
    python -m tools.site.translation report zh_CN
    python -m tools.site.translation site zh_CN
    python -m tools.site.translation publish

`messages` brings the catalogues of a page up to date, or begins them: what is new is
empty in them, and what was translated from another text is marked `fuzzy`. `report`
names what is not translated. `site` builds the pages of a language, and `publish` those
of all languages that are published, beside the English pages.
"""

import argparse
from io import BytesIO

from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po

from rwkv_book import folders
from rwkv_book.language import catalogue
from tools.contents import ROOT
from tools.notebooks import translated
from tools.site import translated_site, translated_words

HEAD = """\
The RWKV book in {name}, by the RWKV book authors; under CC BY 4.0, as the text.
"""


def files(page, code):
    """The catalogues of a page, {path: its texts}."""
    found = {translated.prose_file(page, code): translated.prose(page)}
    if texts := translated.words(page, code):
        found[translated.words_file(page, code)] = texts
    return found


def all_files(code, pages=None):
    """Those of some pages, or of all of a language, and what its pages share."""
    language, found = translated.language(code), {}
    if language.published:
        found = {
            translated.words_file(
                translated.ALL_CHECKS, code
            ): translated.check_words(),
            translated.prose_file("site", code): translated_words.texts(code),
        }
    for page in pages or language.pages:
        found |= files(page, code)
    return found


def bring_up_to_date(path, texts, code):
    """Rewrite a catalogue: these texts in this order, with what is known of them."""
    known = Catalog(locale=code, fuzzy=False)
    if path.exists():
        with open(path, "rb") as file:
            known = read_po(file, locale=code)
    template = Catalog()
    for text in texts:
        template.add(text)
    known.update(template, no_fuzzy_matching=False, update_header_comment=False)
    order = {text: n for n, text in enumerate(texts)}
    known._messages = dict(
        sorted(known._messages.items(), key=lambda item: order.get(item[1].id, -1))
    )
    known.fuzzy = False
    known.obsolete.clear()
    known.header_comment = f"# {HEAD.format(name=translated.language(code).name)}#"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = BytesIO()
    write_po(file, known, width=88, omit_header=False)
    folders.write_text(path, tidy(file.getvalue().decode()))


def tidy(text):
    """A catalogue without the dates and versions that would change with every run."""
    kept = ("Language:", "MIME-Version", "Content-Type", "Content-Transfer-Encoding")
    lines, head = [], True
    for line in text.splitlines():
        head = head and line != ""
        if head and line.startswith('"') and not line[1:].startswith(kept):
            continue
        if line.startswith("#, python") and "fuzzy" not in line:
            continue
        lines.append(
            line.replace(", python-format", "").replace(", python-brace-format", "")
        )
    return "\n".join(lines).rstrip() + "\n"


def messages(code, pages=None):
    """Bring the catalogues of these pages up to date, and say how far they are."""
    for path, texts in all_files(code, pages).items():
        bring_up_to_date(path, texts, code)
        print(f"{path.relative_to(ROOT)}: {share(path)}")


def share(path):
    entries = catalogue.read(path)
    done = sum(bool(entry.translation) and not entry.fuzzy for entry in entries)
    return f"{done} of {len(entries)} texts are translated"


def missing(path, texts):
    """Which of these texts a catalogue does not have at all, and which it has not yet.

    (changed, empty): what is new or marked `fuzzy`, and what has no translation.
    """
    entries = {}
    if path.exists():
        entries = {entry.english: entry for entry in catalogue.read(path)}
    unknown = [text for text in texts if text not in entries]
    stale = [text for text in texts if text in entries and entries[text].fuzzy]
    empty = [
        text
        for text in texts
        if text in entries and not entries[text].fuzzy and not entries[text].translation
    ]
    return unknown, stale, empty


def report(code, pages=None):
    """Sentences that say, file by file, what stands in English and why."""
    found = []
    for path, texts in all_files(code, pages).items():
        name = path.relative_to(ROOT)
        unknown, stale, empty = missing(path, texts)
        for what, some in (
            (f"new or changed in English (make messages LANGUAGE={code})", unknown),
            ("translated from an older English text", stale),
            ("not translated", empty),
        ):
            if some:
                said = "; ".join(f"“{shortened(text)}”" for text in some)
                found.append(f"{name}: {len(some)} {what}: {said}")
    return found


def shortened(text):
    return text if len(text) < 70 else f"{text[:67]}..."


def site(code):
    """The pages of a language; where they are built."""
    folder = translated_site.build(code)
    print(f"Open {folder / 'book' / 'index.html'}")
    return folder


def publish():
    """All published languages, beside the English pages."""
    for language in translated.published():
        site(language.code)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("messages", "report", "site", "publish"))
    parser.add_argument("language", nargs="?", help="such as de, or pt_BR")
    parser.add_argument("pages", nargs="*", help="such as book/index")
    asked = parser.parse_args(arguments)
    if asked.what == "publish":
        return publish()
    if not asked.language:
        parser.error("which language? For instance zh_CN")
    if asked.what == "site":
        site(asked.language)
    elif asked.what == "messages":
        messages(asked.language, asked.pages)
    else:
        found = report(asked.language, asked.pages)
        print("\n".join(found) or "Everything is translated.")


if __name__ == "__main__":
    main()
