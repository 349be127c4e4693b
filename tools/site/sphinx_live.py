"""A Sphinx extension: the modules of the live figures become one script of the site.

A page opened from a file may load a script but no modules, so they are bundled.
"""

from pathlib import Path

from tools.site.scripts import write_bundle

ENTRY = Path("live", "live.js")


def write_script(app, error):
    if error is None and app.builder.format == "html":
        write_bundle(app, ENTRY)


def setup(app):
    app.connect("build-finished", write_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
