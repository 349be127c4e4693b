"""The pages of a language as a site of their own, beside the English pages.

Only the pages that a language lists are built, which takes seconds; a link to any other
leads to the English page and says so. Browser libraries and the playground's models are
those of the English site, one folder up.
"""

import os
import re
import shutil
from copy import deepcopy
from pathlib import Path

import nbformat
import yaml
from docutils import nodes
from jupyter_book.sphinx import build_sphinx

from tools import contents
from tools.contents import BOOK, ROOT
from tools.notebooks import plain_markdown, translated
from tools.site import translated_words

BUILT = ROOT / "_build" / "html"
ALONE = ROOT / "_build" / "translations"
VENDORED = ROOT / ".vendor" / "site" / "vendor"
GLOSSARY, SOURCES = "book/appendix/glossary", "book/appendix/bibliography"
ROLE = re.compile(r"\{(doc|term|cite|eq)\}`([^`]+)`")
BESIDE = re.compile(r'href="((?:\.\./)+)(?=downloads/)')
UP = (('"../vendor/', '"../../vendor/'), ('"vendor/', '"../vendor/'))


def build(code, built=BUILT, alone=ALONE):
    """Build the pages of a language; returns their folder. SystemExit if that fails.

    They stand below the English site where that has been built, else in a folder of
    their own, where the links to English pages lead nowhere.
    """
    language = translated.language(code)
    beside = built if (built / "book" / "index.html").exists() else alone
    folder, source = beside / code, alone / "sources" / code
    for old in (folder, source):
        shutil.rmtree(old, ignore_errors=True)
    if beside == alone and VENDORED.exists():
        shutil.copytree(VENDORED, alone / "vendor", dirs_exist_ok=True)
    write_sources(language, source)
    failed = build_sphinx(
        source,
        folder,
        noconfig=True,
        path_config=source / "_config.yml",
        doctreedir=source / ".doctrees",
        quiet=True,
        really_quiet=False,
        warningiserror=False,
        confoverrides=settings(language, source),
    )
    if failed:
        raise SystemExit(f"the pages were not built: {failed}")
    return folder


def settings(language, source):
    """What differs from the settings of the English pages."""
    return {
        "external_toc_path": str(source / "_toc.yml"),
        "latex_individualpages": False,
        "language": language.code,
        "html_title": language.title,
        "project": language.title,
        "html_baseurl": f"{contents.SITE}/{language.code}",
        "ogp_site_url": f"{contents.SITE}/{language.code}",
        "ogp_site_name": language.title,
        "html_static_path": [str(source / "book" / "_static")],
        "html_extra_path": [],
        "html_favicon": str(BOOK / "_static" / "logo.svg"),
        "templates_path": [str(ROOT / "tools" / "site" / "templates")],
        "bibtex_bibfiles": [str(BOOK / "references.bib")],
        "mathjax_path": "../../vendor/mathjax/es5/tex-mml-chtml.js",
    }


# --- the sources --------------------------------------------------------------------


def write_sources(language, folder):
    """The pages in the language, with the scripts and the settings that they need."""
    for page in language.pages:
        path = folder / translated.source(page).relative_to(ROOT)
        path.parent.mkdir(parents=True, exist_ok=True)
        found = translated.page_in(page, language.code)
        if isinstance(found, str):
            path.write_text(for_the_site(found, page, language), "utf-8")
            continue
        for cell in found.cells:
            if cell.cell_type == "markdown":
                cell.source = for_the_site(cell.source, page, language)
        nbformat.write(found, path)
    write_static(language, folder / "book" / "_static")
    beside = BOOK / "workshop" / "print.html"
    (folder / "book" / "workshop").mkdir(parents=True, exist_ok=True)
    shutil.copy(beside, folder / beside.relative_to(ROOT))
    (folder / "_toc.yml").write_text(table_of_contents(language), "utf-8")
    (folder / "_config.yml").write_text(configuration(language), "utf-8")


def write_static(language, folder):
    """The scripts, styles and elements of pages, which speak the language."""
    shutil.copytree(BOOK / "_static", folder)
    for path in folder.rglob("*"):
        if path.suffix not in (".js", ".html", ".css"):
            continue
        text = path.read_text("utf-8")
        if path.suffix == ".js" and path.name != "first.js":
            text = translated_words.script_in(text, language.code)
        if path.suffix == ".css":
            text = translated_words.style_in(text, language.code)
        if path.suffix == ".html":
            text = translated_words.element_in(text, language.code)
        for old, new in UP:
            text = text.replace(old, new)
        path.write_text(text, "utf-8")
    # The weights of the models lie beside the English pages.
    for name, old, new in (
        ("playground", "`../${file}`", "`../../../_static/${file}`"),
        ("live", "`./${file}`", "`../../_static/${file}`"),
    ):
        beside = folder / name / "beside.js"
        text = beside.read_text("utf-8")
        beside.write_text(text.replace(old, new), "utf-8")


def configuration(language):
    """The book's settings with the language's title, and libraries one folder up."""
    config = deepcopy(contents.CONFIG) | {"title": language.title}
    settings = config["sphinx"]["config"]
    settings["nb_ipywidgets_js"] = {
        name.replace("../vendor/", "../../vendor/"): about
        for name, about in settings["nb_ipywidgets_js"].items()
    }
    return yaml.safe_dump(config, allow_unicode=True, sort_keys=False)


def table_of_contents(language):
    """The listed pages in their parts; captions are translated."""
    say = translated.prose_of("site", language.code).say
    parts = [
        {"caption": say(caption), "chapters": [{"file": name} for name in names]}
        for caption, pages in contents.parts().items()
        if (names := [name for name in map(named, pages) if language.has(name)])
        and caption
    ]
    found = {"format": contents.FORMAT, "root": "book/index"}
    if parts:
        found["parts"] = parts
    return yaml.safe_dump(found, allow_unicode=True, sort_keys=False)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def for_the_site(text, page, language):
    """A page's Markdown, with what it refers to in English linked there."""

    def linked(match):
        kind, said = match.groups()
        titled = plain_markdown.TITLED.fullmatch(said)
        shown, target = titled.groups() if titled else (None, said)
        if kind == "doc":
            return document(match[0], shown, target)
        if kind == "term" and not language.has(GLOSSARY):
            place = f"{GLOSSARY}.html#term-{nodes.make_id(target)}"
            return english(shown or target, page, place)
        if kind == "cite" and not language.has(SOURCES):
            return f"({', '.join(map(plain_markdown.cited, target.split(',')))})"
        if kind == "eq":
            there, number = plain_markdown.equations()[target]
            if not language.has(named(there.with_suffix(""))):
                return english(f"({number})", page, f"{named(there)[:-6]}.html")
        return match[0]

    def document(role, shown, target):
        name = os.path.normpath(Path(page).parent / target)
        if language.has(name):
            return role
        say = translated.prose_of("site", language.code).say
        title = shown or say(plain_markdown.title_of(ROOT / name))
        return english(title, page, f"{name}.html", language.english)

    text = BESIDE.sub(r'href="../\1', text)
    return ROLE.sub(linked, text)


def english(shown, page, target, remark=""):
    """A link to an English page."""
    up = "../" * (page.count("/") + 1)
    return f'<a class="reference in-english" href="{up}{target}">{shown}{remark}</a>'


def headings(page):
    """The ids of the English headings of a page, in its order."""
    texts = []
    path = translated.source(page)
    cells = [path.read_text("utf-8")]
    if path.suffix == ".ipynb":
        cells = [
            c.source for c in plain_markdown.cells(path) if c.cell_type == "markdown"
        ]
    for cell in cells:
        cell = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", cell)
        texts += re.findall(r"(?m)^#+ +(.+)$", cell)
    ids, used = [], {}
    for text in texts:
        plain = plain_markdown.ROLE.sub(
            lambda m: plain_markdown.TITLED.sub(r"\1", m[2]), text
        )
        name = nodes.make_id(re.sub(r"[`*$]", "", plain))
        used[name] = used.get(name, 0) + 1
        ids.append(name if used[name] == 1 else "")
    return ids
