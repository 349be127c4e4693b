"""A Sphinx extension: the modules of the live figures become one script of the site.

A page opened from a file may load a script but no modules, so they are bundled.
"""

from pathlib import Path

from tools.contents import BOOK
from tools.site.scripts import script

ENTRY = Path("live", "live.js")


def write_script(app, error):
    if error is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "live.js"
        target.write_text(script(static(app) / ENTRY), encoding="utf-8")


def static(app):
    """Where the site's modules are: a site in another language has its own."""
    beside = Path(app.srcdir) / "book" / "_static"
    return beside if beside.exists() else BOOK / "_static"


def setup(app):
    app.connect("build-finished", write_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
