"""A Sphinx extension: leave thebe out of the pages.

Jupyter Book always loads sphinx-thebe, which puts its script on every page twice, and
the second copy is an error in the browser's console. The book does not use thebe: its
sliders need no kernel, and its launch buttons open notebooks.
"""


def drop_scripts(app, pagename, templatename, context, doctree):
    scripts = context.get(
        "script_files", []
    )  # the builder's own list: change it in place
    scripts[:] = [script for script in scripts if not mentions_thebe(script)]


def mentions_thebe(script):
    body = getattr(script, "attributes", {}).get("body") or ""
    return "thebe" in str(script.filename or "") + body


def setup(app):
    app.connect("html-page-context", drop_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
