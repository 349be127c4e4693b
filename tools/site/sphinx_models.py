"""A Sphinx extension: the models that the playground offers are those that there are.

A model that comes with the book, and that the playground has a program for, is served
beside the site's other files; `models.js` lists them for the page.
"""

import json
from pathlib import Path

from rwkv_book import checkpoint
from tools.contents import ROOT

MODELS = ROOT / "src" / "rwkv_book" / "models"
PROGRAMS = ("4", "7")  # versions: rwkv.js and rwkv7.js


def offered(folder=MODELS):
    """[(path, what the page is told of it)], one for each version, the oldest first."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        report = checkpoint.inspect(path)
        if report.version in PROGRAMS and report.version not in found:
            about = {
                "name": f"RWKV-{report.version}",
                "file": path.name,
                "parameters": report.parameters,
                "bytes": report.file_bytes,
            }
            found[report.version] = path, about
    return [found[version] for version in PROGRAMS if version in found]


def serve_files(app, config):
    if config.language in (None, "en"):  # the other languages fetch them there
        config.html_static_path += [str(path) for path, _ in offered()]


def write_list(app, error):
    if error is None and app.builder.format == "html":
        rows = "".join(f"  {json.dumps(about)},\n" for _, about in offered())
        text = f"// Written with the site, by {Path(__file__).name}.\n"
        text += f"export const MODELS = [\n{rows}];\n"
        target = Path(app.outdir) / "_static" / "models.js"
        target.write_text(text, encoding="utf-8")


def setup(app):
    app.connect("config-inited", serve_files)
    app.connect("build-finished", write_list)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
