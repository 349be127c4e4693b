"""The built site as a zip that opens from a folder or a USB stick: `make offline`.

Browsers treat a page opened from a file as a stranger to the file beside it: it may
show pictures and run scripts, but may not start a module or a worker, nor fetch
anything. So the playground's modules become one plain script here, which holds its
worker as well, each model's weights a script that is run when the model is chosen, and
MathJax draws its letters instead of loading fonts.
"""

import argparse
import base64
import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from tools.contents import ROOT
from tools.site.scripts import script

FOLDER = "rwkv-book"
EPOCH = (2026, 1, 1, 0, 0, 0)  # the same bytes for the same site

MODULES = 'type="module" src="../_static/playground/page.js"'
SCRIPT = 'defer src="../_static/playground-page.js"'
STYLES = re.compile(r"(?:\w+/)?_static/book\.css")
FONT = re.compile(r'url\("(?P<path>[^"]+\.woff2)"\)')

READ_ME = """\
The RWKV book, to be read without a network.

Open index.html in a browser. All pages, figures, sliders, formulas, the search and the
playground work from this folder. Three things do not: search results come without an
excerpt of the page, because a browser does not let one file read another; the buttons
that open a notebook in Binder or Colab, and links to other sites, need a network.

Should your browser refuse something all the same, serve the folder on your own machine,

    python3 -m http.server

in this folder, and open http://127.0.0.1:8000. It was tried in Chromium and in Firefox.
"""


def playground(folder):
    """The playground's modules and its worker as one script."""
    with tempfile.TemporaryDirectory() as work:
        modules = Path(work) / "playground"
        shutil.copytree(folder, modules)
        shutil.copy(folder.parent / "models.js", work)
        (modules / "worker.txt").write_text(script(modules / "worker.js"), "utf-8")
        beside = Path(__file__).with_name("offline_beside.js")
        shutil.copy(beside, modules / "beside.js")
        return script(modules / "page.js", txt="text")


def weights(path):
    """A model's file as a script that leaves it, as a data URL, to the page."""
    address = data_url(path, "application/octet-stream")
    return f"window.playgroundWeights = {json.dumps(address)};\n"


def data_url(path, kind):
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def offline(site):
    """The files of the edition, {path within it: text, bytes or a Path to copy}."""
    files = {"READ ME.txt": READ_ME}
    for path in sorted(site.rglob("*")):
        name = path.relative_to(site).as_posix()
        if path.is_file() and not path.name.startswith(".") and not left_out(name):
            files[name] = path
    for name, path in list(files.items()):
        if name.endswith(".html") and not re.match(r"vendor/|(\w+/)?_static/", name):
            files[name] = path.read_text(encoding="utf-8").replace(
                "es5/tex-mml-chtml.js", "es5/tex-mml-svg.js"
            )
    for path in (site / "_static").glob("*.safetensors"):
        files[f"_static/{path.name}.js"] = weights(path)
    for name in [name for name in files if STYLES.fullmatch(name)]:
        files |= in_one_language(site, name.removesuffix("_static/book.css"), files)
    drawing = ROOT / ".vendor" / "node_modules" / "mathjax" / "es5" / "tex-mml-svg.js"
    files["vendor/mathjax/es5/tex-mml-svg.js"] = drawing
    return files


def in_one_language(site, below, files):
    """What changes for a language, whose pages lie `below` in the site."""
    static, changed = site / below / "_static", {}
    page = f"{below}book/playground.html"
    if page in files:
        changed[page] = replaced(page, files[page], MODULES, SCRIPT)
        script = playground(static / "playground")
        if below:  # the weights lie beside the English pages
            script = script.replace("`${file}.js`", "`../../_static/${file}.js`")
        changed[f"{below}_static/playground-page.js"] = script
    for name, old, new in (
        ("documentation_options.js", "SUMMARY: true", "SUMMARY: false"),
        ("notes.js", "tex-mml-chtml.js", "tex-mml-svg.js"),
    ):
        text = (static / name).read_text(encoding="utf-8")
        changed[f"{below}_static/{name}"] = replaced(name, text, old, new)
    styles = static / "book.css"
    changed[f"{below}_static/book.css"] = FONT.sub(
        lambda font: f'url("{data_url(styles.parent / font["path"], "font/woff2")}")',
        styles.read_text(encoding="utf-8"),
    )
    return changed


def left_out(name):
    """What only a server could serve, and what only builders and debuggers read."""
    return (
        name == "objects.inv"
        or name.endswith((".safetensors", ".map", "es5/tex-mml-chtml.js"))
        or (
            name.startswith(("vendor/mathjax/es5/output/", "vendor/@fontsource"))
            and not name.endswith("LICENSE")
        )
    )


def replaced(name, text, old, new):
    if old not in text:
        raise ValueError(f"{name} does not say {old!r}")
    return text.replace(old, new)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "_build" / "html")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(arguments)
    output = arguments.output or arguments.site.parent / f"{FOLDER}-offline.zip"
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(offline(arguments.site.resolve()).items()):
            content = content.read_bytes() if isinstance(content, Path) else content
            archive.writestr(
                zipfile.ZipInfo(f"{FOLDER}/{name}", EPOCH),
                content,
                zipfile.ZIP_DEFLATED,
            )
    print(f"{output}: {output.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
