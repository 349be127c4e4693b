"""A Sphinx extension: the modules of the live figures become one script of the site.

A page opened from a file may load a script but no modules, so they are bundled. Nor may
it start a worker from one: so there is a second script, which brings the worker's text.
"""

import json
from pathlib import Path

from tools.site.scripts import script, static_of, write_bundle

ENTRY = Path("live", "live.js")
WORKER = Path("playground", "worker.js")


def write_scripts(app, error):
    if error is None and app.builder.format == "html":
        write_bundle(app, ENTRY)
        text = json.dumps(script(static_of(app) / WORKER))
        target = Path(app.outdir) / "_static" / "live-worker.js"
        target.write_text(f"window.liveWorker = {text};\n", encoding="utf-8")


def setup(app):
    app.connect("build-finished", write_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
