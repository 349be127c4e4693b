"""Sliders over pictures, as a notebook stores them and as a page has them."""

import json
from html import unescape

import pytest

from tools.site.sphinx_sliders import moved

SLIDER = {"description": "age", "_options_labels": ["1", "2", "300"], "index": 1}
OTHER = {"description": "<size>", "_options_labels": ["s", "m"], "index": 0}
PICTURES = ["<svg>a</svg>", "<svg>b</svg>", "<p>c</script></p>"]


def html_of(models):
    state = json.dumps(
        {"state": {name: {"state": each} for name, each in models.items()}}
    )
    state = state.replace("</", r"<\/")  # as the pages have it
    widget = "application/vnd.jupyter.widget"
    return (
        f'<head>\n<script type="{widget}-state+json">{state}</script></head><body>'
        f'<script type="{widget}-view+json">{{"model_id": "box"}}</script></body>'
    )


def stack(names, at):
    children = [f"IPY_MODEL_{name}" for name in names]
    return {"children": children, "selected_index": at}


def one_slider():
    frames = {f"frame{n}": {"value": text} for n, text in enumerate(PICTURES)}
    box = {"children": ["IPY_MODEL_age", "IPY_MODEL_stack"]}
    return frames | {"box": box, "age": SLIDER, "stack": stack(frames, 1)}


def place_of(html):
    return json.loads(unescape(html.split('data-live="')[1].split('"')[0]))


def pictures_of(html):
    begin = '<script type="application/json" id="pictures-1">'
    return json.loads(html.split(begin)[1].split("</script>")[0])


def test_a_slider_s_first_picture_is_in_the_page_and_all_come_after_the_text():
    html = moved(html_of(one_slider()), "../")
    head, body = html.split("</head>")
    assert "widget" not in html
    assert 'src="../_static/live.js"' in head and "<svg>" not in head
    assert body.index("<svg>b</svg>") < body.index('id="pictures-1"')
    assert pictures_of(html) == PICTURES
    place = place_of(html)
    assert place["data"] == {"from": "pictures-1"}
    (control,) = place["controls"]
    assert (
        control["options"] == [["1", 0], ["2", 1], ["300", 2]] and control["start"] == 1
    )
    assert "(age: 2)" in body


def test_two_sliders_choose_among_rows():
    models = one_slider()
    models["size"] = OTHER
    for n in range(3):
        models[f"row{n}"] = stack([f"frame{n}", "frame0"], 0)
    models["box"] = {"children": [f"IPY_MODEL_{n}" for n in ("age", "size", "stack")]}
    models["stack"] = stack(["row0", "row1", "row2"], 1)
    html = moved(html_of(models), "")
    assert pictures_of(html) == [[text, PICTURES[0]] for text in PICTURES]
    assert "age and &lt;size&gt;" in html and "(age: 2; &lt;size&gt;: s)" in html


def test_a_widget_that_is_no_slider_is_refused():
    models = {"box": {"children": ["IPY_MODEL_x", "IPY_MODEL_x"]}, "x": {"value": "hm"}}
    with pytest.raises(ValueError, match="no other widget"):
        moved(html_of(models), "")


def test_a_page_without_widgets_stays_as_it_is():
    assert moved("<head></head><body></body>", "") == "<head></head><body></body>"
