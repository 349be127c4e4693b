"""The built site as a zip that opens from a folder or a USB stick: `make offline`.

Browsers treat a page opened from a file as a stranger to the file beside it: it may
show pictures and run scripts, but may not start a module or a worker, nor fetch
anything. So the playground's modules become one plain script here, its worker a text
inside of it, the weights a script that holds them, and MathJax draws its letters
instead of loading fonts.
"""

import argparse
import base64
import json
import re
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = "rwkv-book"
EPOCH = (2026, 1, 1, 0, 0, 0)  # the same bytes for the same site

IMPORT = re.compile(
    r'^import (?:\{(?P<names>[^}]*)\}|\* as (?P<all>\w+)) from "(?P<path>[^"]+)";$',
    re.MULTILINE,
)
EXPORT = re.compile(
    r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE
)
BESIDE = r'new URL\("(?P<path>[^"]+)", import\.meta\.url\)'
WORKER = re.compile(rf'new Worker\({BESIDE}, \{{ type: "module" \}}\)')
MODULE = re.compile(r'<script type="module" src="(?P<path>[^"]+)"></script>')
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


class Bundle:
    """A module and all that it imports, as one plain script.

    `files` are the other files that it asks for by `new URL(..., import.meta.url)`;
    they are looked up in a global `bookFiles`, {name: data URL}. ValueError for
    JavaScript that the bundle would not understand.
    """

    def __init__(self, entry):
        self.files, self.parts, self.done = set(), [], set()
        self.add(entry.resolve(), ())

    def add(self, path, importers):
        if path in importers:
            raise ValueError(f"{path.name} imports itself, by way of others")
        if path in self.done:
            return
        self.done.add(path)
        text = path.read_text(encoding="utf-8")
        names = EXPORT.findall(text)
        text = IMPORT.sub(lambda line: self.imported(line, path, importers), text)
        text = WORKER.sub(lambda call: self.worker(call, path), EXPORT.sub("", text))
        text = re.sub(BESIDE, lambda call: self.file(call, path), text)
        if left := re.search(
            r"^\s*(?:import|export)\b|\bimport[.(]", text, re.MULTILINE
        ):
            raise ValueError(f"{path.name}: can't bundle {left[0].strip()!r}")
        self.parts.append(
            f"modules[{json.dumps(str(path))}] = (() => {{\n{text}\n"
            f"return {{ {', '.join(names)} }};\n}})();"
        )

    def imported(self, line, path, importers):
        target = (path.parent / line["path"]).resolve()
        self.add(target, (*importers, path))
        names = line["all"] or f"{{{line['names'].replace(' as ', ': ')}}}"
        return f"const {names} = modules[{json.dumps(str(target))}];"

    def worker(self, call, path):
        inside = Bundle(path.parent / call["path"])
        self.files |= inside.files
        source = (
            f"new Blob([{json.dumps(inside.script())}], {{ type: 'text/javascript' }})"
        )
        return f"new Worker(URL.createObjectURL({source}))"

    def file(self, call, path):
        target = (path.parent / call["path"]).resolve()
        self.files.add(target)
        return f"new URL(bookFiles[{json.dumps(target.name)}])"

    def script(self):
        """The script; paths that name its modules are shortened to numbers."""
        body = "\n".join(self.parts)
        for number, path in enumerate(
            sorted(map(str, self.done), key=len, reverse=True)
        ):
            body = body.replace(json.dumps(path), str(number))
        return f'(() => {{\n"use strict";\nconst modules = {{}};\n{body}\n}})();\n'


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
        if name.endswith(".html") and not name.startswith(("vendor/", "_static/")):
            text = path.read_text(encoding="utf-8").replace(
                "es5/tex-mml-chtml.js", "es5/tex-mml-svg.js"
            )
            files[name] = MODULE.sub(
                lambda tag, page=path: plain(tag, page, site, files), text
            )
    options = "_static/documentation_options.js"
    files[options] = replaced(
        site / options, "SHOW_SEARCH_SUMMARY: true", "SHOW_SEARCH_SUMMARY: false"
    )
    files["_static/notes.js"] = replaced(
        site / "_static" / "notes.js", "tex-mml-chtml.js", "tex-mml-svg.js"
    )
    styles = site / "_static" / "book.css"
    files["_static/book.css"] = FONT.sub(
        lambda font: f'url("{data_url(styles.parent / font["path"], "font/woff2")}")',
        styles.read_text(encoding="utf-8"),
    )
    drawing = ROOT / ".vendor" / "node_modules" / "mathjax" / "es5" / "tex-mml-svg.js"
    files["vendor/mathjax/es5/tex-mml-svg.js"] = drawing
    return files


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


def replaced(path, old, new):
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"{path.name} does not say {old!r}")
    return text.replace(old, new)


def plain(tag, page, site, files):
    """Plain scripts in place of a module; puts them among the files."""
    entry = (page.parent / tag["path"]).resolve()
    bundle = Bundle(entry)
    scripts = {f"_static/{entry.parent.name}-{entry.stem}.js": bundle.script()}
    for path in bundle.files:
        entry_in = json.dumps(path.name)
        url = data_url(path, "application/octet-stream")
        text = f'(window.bookFiles ??= {{}})[{entry_in}] =\n"{url}";\n'
        scripts = {f"_static/{path.name}.js": text, **scripts}
    files.update(scripts)
    up = "../" * (len(page.relative_to(site).parts) - 1)
    return "".join(f'<script defer src="{up}{name}"></script>' for name in scripts)


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
