"""Figures that compute where they are read: in a page without a kernel, and with one.

Where a slider's pictures are too many to make them all beforehand, or where readers
bring their own text, the page computes: a function of book/_static/live (live.js lists
them), on the modules of the playground, draws what `picture` draws here. A kernel moves
ipywidgets and calls `picture`. Controls and data are written once, for both.
"""

import html
import json

import ipywidgets
from IPython.display import display

from rwkv_book import language


def slider(name, label, options, start):
    """A control with one of some values; `options` are a text and a value each."""
    return control("slider", name, label, start, options=list(options))


def menu(name, label, options, start):
    """The same as a menu, for texts that are long or have no order."""
    return control("menu", name, label, start, options=list(options))


def text(name, label, start, longest=80):
    """A control into which a reader types, up to `longest` characters."""
    return control("text", name, label, start, longest=longest)


def along(name, label, text, start, most):
    """A slider along what is typed into the control `text`: how many letters of it.

    It ends where they end, at `most` at the latest, and a slider at its end stays there
    while a reader types on.
    """
    return control("along", name, label, start, text=text, most=most)


def control(kind, name, label, start, **more):
    return {"kind": kind, "name": name, "label": label, "start": start, **more}


class Figure:
    """Controls, and picture(**values) of what they are set to; a notebook displays it.

    `name` is the page's function in live.js, which is given the values and `data`.
    What `picture` returns has `html()`, and `alt` or a `title` in words, as show's
    pictures have. `label` says to those who don't see it what moves here.
    """

    def __init__(self, name, label, controls, picture, data):
        self.name, self.label, self.controls = name, label, controls
        self.picture, self.data = picture, data

    def at_start(self):
        """The values of all controls before they are moved."""
        return {each["name"]: starting_value(each) for each in self.controls}

    def page(self):
        """HTML for a page of the book: a picture, which a script replaces."""
        about = {"figure": self.name, "controls": self.controls, "data": self.data}
        picture = self.picture(**self.at_start()).html()
        return (
            '<link rel="stylesheet" href="../_static/live/live.css">\n'
            f"{place(html.escape(self.label), about, picture)}\n"
            '<script src="../_static/live.js" defer></script>'
        )

    def widget(self):
        """The same for a kernel: ipywidgets that draw again when they are moved."""
        inputs = {each["name"]: input_widget(each) for each in self.controls}
        shown = ipywidgets.HTML(language.html(self.picture(**self.at_start()).html()))

        def update(_):
            values = {name: each.value for name, each in inputs.items()}
            try:
                shown.value = language.html(self.picture(**values).html())
            except Exception as error:  # which the notebook's log would swallow
                said = html.escape(f"{type(error).__name__}: {error}")
                shown.value = f"<p><strong>This can't be drawn.</strong> {said}</p>"

        for each in self.controls:
            if each["kind"] == "along":
                follow(inputs[each["name"]], inputs[each["text"]], each["most"])
        for each in inputs.values():
            each.observe(update, "value")
        return ipywidgets.VBox([*inputs.values(), shown])

    def plain(self):
        """What is shown at the start, in words."""
        picture = self.picture(**self.at_start())
        names = "\n".join(f"[{each['kind']}] {each['label']}" for each in self.controls)
        return f"{names}\n{picture.title or picture.alt}"

    def show(self):
        """Display it: HTML where there is no kernel, widgets where there is one."""
        view = {"version_major": 2, "version_minor": 0}
        bundle = {
            "application/vnd.jupyter.widget-view+json": view
            | {"model_id": self.widget().model_id},
            "text/html": self.page(),
            "text/plain": self.plain(),
        }
        display(language.bundle(bundle), raw=True)


def place(label, about, picture):
    """HTML of what stands in the page until a script puts the figure there."""
    stands = "; ".join(
        f"{each['label']}: {starting_text(each)}" for each in about["controls"]
    )
    return (
        f'<div class="live" role="group" aria-label="{label}" '
        f'data-live="{html.escape(json.dumps(about))}">\n'
        f"{picture}\n"
        f"<p>This is how it stands at the start ({html.escape(stands)}). It can be "
        "moved where JavaScript runs, and in Jupyter.</p>\n</div>"
    )


def starting_value(each):
    if "options" not in each:
        return each["start"]
    return each["options"][each["start"]][1]


def starting_text(each):
    if "options" not in each:
        return f"{each['start']}"
    return each["options"][each["start"]][0]


def input_widget(each):
    """The ipywidget of a control."""
    common = {
        "description": language.say(each["label"]),
        "style": {"description_width": "initial"},
        "layout": {"width": "100%"},
    }
    if each["kind"] == "text":
        return ipywidgets.Text(value=each["start"], continuous_update=True, **common)
    if each["kind"] == "along":
        return ipywidgets.IntSlider(each["start"], 0, each["most"], **common)
    kinds = {"slider": ipywidgets.SelectionSlider, "menu": ipywidgets.Dropdown}
    options = [(language.say(text), value) for text, value in each["options"]]
    index = each["start"]
    return kinds[each["kind"]](options=options, index=index, **common)


def follow(slider, text, most):
    """Let a slider along a text end where the text does, and now at once."""

    def update(_=None):
        at_end = slider.value == slider.max
        slider.max = min(len(text.value), most)
        if at_end:
            slider.value = slider.max

    text.observe(update, "value")
    update()
