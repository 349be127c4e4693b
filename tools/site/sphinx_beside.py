"""A Sphinx extension: a page that takes a file apart can keep it beside its text.

Such a page says which lines of the file it is about, and the script finds them there.
"""

import re

# "minimal.step: lines 15 to 31", in any language.
MENTION = re.compile(r"^minimal\.\w+[^\d\n]+\d+[^\d\n]+\d+[^\d\n]*$", re.MULTILINE)


def load_script(app, pagename, templatename, context, doctree):
    """The script is loaded by the pages that have something for it, and no others."""
    if MENTION.search(context.get("body", "").replace("<span></span>", "")):
        app.add_css_file("beside.css")
        app.add_js_file("beside.js", loading_method="defer")


def setup(app):
    app.connect("html-page-context", load_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
