"""A Sphinx extension: the buttons that run a notebook open its copy.

`copies.py` makes the copies and says why; Binder has them beside the book, Colab on a
branch of their own.
"""

from tools.notebooks.copies import IN_BINDER, PUBLISHED


def open_copies(app, pagename, templatename, context, doctree):
    """Point the buttons to the copies; the other buttons keep their address."""
    branch = f"/blob/{app.config.html_theme_options['repository_branch']}/"
    language = app.config.language or "en"
    below = "" if language == "en" else f"{language}/"
    moved = {
        "Binder": ("=lab/tree/book/", f"=lab/tree/{IN_BINDER}/{below}"),
        "Colab": (branch, f"/blob/{PUBLISHED}/{below}"),
    }
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") in moved:
                button["url"] = button["url"].replace(*moved[button["text"]], 1)


def setup(app):
    # After the theme's own buttons, which come at 501.
    app.connect("html-page-context", open_copies, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
