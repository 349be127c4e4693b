"""A Sphinx extension: sliders over pictures made beforehand move by our own script.

A notebook stores them as ipywidgets, whose manager is a megabyte that a page would wait
for. Here each becomes a live figure, as `rwkv_book.show.live` writes them: the picture
that it begins with stands in the page, and all pictures come after the text, where
they hold nothing up.
"""

import json
import re
from html import escape
from pathlib import Path

from rwkv_book.show import live

STATE = re.compile(
    r'\s*<script type="application/vnd\.jupyter\.widget-state\+json">(.*?)</script>',
    re.DOTALL,
)
VIEW = re.compile(
    r'<script type="application/vnd\.jupyter\.widget-view\+json">(.*?)</script>',
    re.DOTALL,
)
HEAD = """  <link rel="stylesheet" href="{0}_static/live/live.css" />
    <script defer src="{0}_static/live.js"></script>
  </head>"""


def moved(html, root):
    """The HTML of a page, its sliders as live figures; `root` is the way to the site's.

    ValueError for a widget that is no slider over pictures.
    """
    models = {}
    for state in STATE.findall(html):
        models |= json.loads(state)["state"]
    html, pictures = STATE.sub("", html), []

    def figure(view):
        name = f"pictures-{len(pictures) + 1}"
        controls, frames = slider(models, json.loads(view[1])["model_id"])
        text = json.dumps(frames, ensure_ascii=False).replace("</", r"<\/")
        pictures.append(f'<script type="application/json" id="{name}">{text}</script>')
        return page(name, controls, frames)

    html = VIEW.sub(figure, html)
    if not pictures:
        return html
    html = html.replace("</head>", HEAD.format(root), 1)
    end = "\n".join([*pictures, "</body>"])
    return end.join(html.rsplit("</body>", 1))


def slider(models, name):
    """Controls and pictures of a box: [(picture, or one for each of the second's)]."""

    def state(reference):
        return models[reference.removeprefix("IPY_MODEL_")]["state"]

    def frames(stack):
        if "children" not in stack:
            return stack["value"]
        return [frames(state(child)) for child in stack["children"]]

    *fields, stack = map(state, state(name).get("children", [name]))
    if not fields or any("_options_labels" not in field for field in fields):
        raise ValueError("a page can move sliders over pictures, and no other widget")
    controls = [
        live.slider(
            f"at_{n}",
            field["description"],
            [(text, at) for at, text in enumerate(field["_options_labels"])],
            field["index"],
        )
        for n, field in enumerate(fields)
    ]
    return controls, frames(stack)


def page(name, controls, frames):
    """The figure as it stands at the start."""
    for control in controls:
        frames = frames[control["start"]]
    label = " and ".join(control["label"] for control in controls)
    place = {"figure": "frames", "controls": controls, "data": {"from": name}}
    return live.place(escape(f"A figure moved by {label}"), place, frames)


def finish(app, exception):
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for path in site.rglob("*.html"):
        name = path.relative_to(site)
        if name.parts[0] in ("vendor", "_static"):
            continue
        html = path.read_text(encoding="utf-8")
        if STATE.search(html):
            root = "../" * (len(name.parts) - 1)
            path.write_text(moved(html, root), encoding="utf-8")


def setup(app):
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
