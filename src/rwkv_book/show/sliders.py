"""Sliders over pictures that were made beforehand.

They move in the static page too, without a kernel: the browser chooses what is shown.
"""

import ipywidgets
from IPython.display import display

from rwkv_book import language
from rwkv_book.show.pictures import Picture


def slider(name, values, picture, start=0, text=str):
    """A slider over `values`, each of which shows picture(value), one or several.

    `text` writes a value beside the slider. It moves in a page without a kernel too:
    all pictures are made now, and the browser chooses among them.
    """
    frames = [frame(picture(value)) for value in values]
    control = selection(name, values, start, text)
    show_widget([control], stack_of(frames, start))


def two_sliders(names, values, picture, start=(0, 0), text=(str, str)):
    """Two sliders, and picture(first, second) for every pair of their values."""
    first, second = (
        selection(*each) for each in zip(names, values, start, text, strict=True)
    )
    rows = []
    for one in values[0]:
        frames = [frame(picture(one, other)) for other in values[1]]
        rows.append(stack_of(frames, start[1]))
        link(second, rows[-1])
    show_widget([first, second], stack_of(rows, start[0]))


def selection(name, values, start, text):
    """A slider over the texts of some values."""
    texts = [language.say(text(value)) for value in values]
    options = [(shown, position) for position, shown in enumerate(texts)]
    name = language.say(name)
    control = ipywidgets.SelectionSlider(
        options=options, index=start, description=name,
        style={"description_width": "initial"}, layout={"width": "100%"},
    )  # fmt: skip
    control.summary = f"{name}: {options[0][0]} to {options[-1][0]}"
    return control


def frame(pictures):
    """A picture, or several of them one below the other, as a widget."""
    pictures = [pictures] if isinstance(pictures, Picture) else pictures
    shown = "".join(picture.html() for picture in pictures)
    return ipywidgets.HTML(language.html(shown))


def stack_of(frames, start):
    """One of several widgets at a time, as wide as the page."""
    return ipywidgets.Stack(frames, selected_index=start, layout={"width": "100%"})


def link(control, stack):
    """Let a slider choose what a stack shows, in the browser."""
    ipywidgets.jslink((control, "index"), (stack, "selected_index"))


def show_widget(controls, stack):
    """Sliders above the stack that the first of them moves."""
    link(controls[0], stack)
    box = ipywidgets.VBox([*controls, stack])
    plain = "\n".join(f"[slider] {control.summary}" for control in controls)
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    bundle = {"application/vnd.jupyter.widget-view+json": view, "text/plain": plain}
    display(bundle, raw=True)
