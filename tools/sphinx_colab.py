"""A Sphinx extension: the buttons for Colab open the copies that name their commit.

`colab.py` makes those copies, and says why.
"""

from colab import PUBLISHED


def open_copies(app, pagename, templatename, context, doctree):
    """Point the button to the branch of the copies; the others keep their branch."""
    branch = f"/blob/{app.config.html_theme_options['repository_branch']}/"
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") == "Colab":
                button["url"] = button["url"].replace(branch, f"/blob/{PUBLISHED}/", 1)


def setup(app):
    # After the theme's own buttons, which come at 501.
    app.connect("html-page-context", open_copies, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
