"""What training costs, with sliders, on a page without a kernel and with one.

A page runs book/_static/calculator.js, which has the closed forms of `cost` once more;
a kernel moves ipywidgets and calls `cost` itself. Choices and words are written here
for both, and a test holds their answers equal.
"""

import html
import json
from decimal import ROUND_HALF_UP, Context

from rwkv_book import cost
from rwkv_book.show import display, ipywidgets

BILLIONS_OF_PARAMETERS = [0.17, 0.43, 1.5, 3, 7, 14, 30, 70, 175, 400, 1000]
BILLIONS_OF_TOKENS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000]
DOLLARS_PER_HOUR = [0.5, 0.79, 1, 1.5, 2, 3, 4.096, 6, 10]
PERCENTS = [5, 10, 16, 20, 30, 40, 50, 60, 80, 100]
TOGETHER = 64

# It starts at the run of the 2023 article. Options are a text and a value each.
CONTROLS = [
    {
        "name": "parameters",
        "label": "Model",
        "options": [
            (f"{n:,} billion parameters", n * 1e9) for n in BILLIONS_OF_PARAMETERS
        ],
        "start": BILLIONS_OF_PARAMETERS.index(14),
    },
    {
        "name": "tokens",
        "label": "Text",
        "options": [(f"{n:,} billion tokens", n * 1e9) for n in BILLIONS_OF_TOKENS],
        "start": BILLIONS_OF_TOKENS.index(300),
    },
    {
        "name": "peak",
        "label": "Accelerator",
        "menu": True,
        "options": [
            (
                f"{name}: {chip.flops_per_second / 1e12:.0f} TFLOP/s",
                chip.flops_per_second,
            )
            for name, chip in cost.ACCELERATORS.items()
        ],
        "start": 0,
    },
    {
        "name": "price",
        "label": "Price of an hour",
        "options": [(f"${n:.3g}", n) for n in DOLLARS_PER_HOUR],
        "start": DOLLARS_PER_HOUR.index(0.79),
    },
    {
        "name": "efficiency",
        "label": "Share of the peak that is used",
        "options": [(f"{n} %", n / 100) for n in PERCENTS],
        "start": PERCENTS.index(16),
    },
]
ROWS = [
    ("FLOPs", "{flops}"),
    ("Hours at the peak", "{ideal}"),
    ("Hours", "{hours}"),
    (f"Days on {TOGETHER} accelerators", "{days}"),
    ("Price", "${dollars}"),
]


def written(number):
    """Three digits: 22,400 and 0.79."""
    rounded = Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(number)
    return f"{float(rounded):,.15g}"


def scientific(number):
    """Three digits and a power of ten: 2.52 × 10²²."""
    rounded = Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(number)
    digits, power = f"{rounded:.2e}".split("e+")
    return f"{digits} × 10" + power.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def answers(parameters, tokens, peak, price, efficiency, together):
    """All that the rows of the answer may name, in words."""
    flops = cost.training_flops(parameters, tokens)
    hours = cost.gpu_hours(flops, peak, efficiency)
    return {
        "flops": scientific(flops),
        "ideal": written(cost.gpu_hours(flops, peak)),
        "hours": written(hours),
        "days": written(hours / 24 / together),
        "dollars": written(cost.dollars(hours, price)),
    }


def rows(chosen):
    """The names and the texts of the answer's rows, for the values of all controls."""
    found = answers(**chosen, together=TOGETHER)
    return [(name, text.format(**found)) for name, text in ROWS]


def at_start():
    """The values at which the sliders stand before they are moved."""
    return {c["name"]: c["options"][c["start"]][1] for c in CONTROLS}


def page():
    """HTML for a page of the book: a sentence, which a script replaces by sliders."""
    data = {"controls": CONTROLS, "rows": ROWS, "together": TOGETHER}
    said = "; ".join(f"{name}: {text}" for name, text in rows(at_start()))
    model, text, chip, price, share = (c["options"][c["start"]][0] for c in CONTROLS)
    sentence = (
        f"Training {model} on {text} ({chip}, {price} an hour, {share} of the peak): "
        f"{said}. With JavaScript there are sliders here, and in Jupyter when the cell "
        "is run."
    )
    return (
        '<link rel="stylesheet" href="../_static/calculator.css">\n'
        '<div class="calculator" role="group" aria-label="What training costs" '
        f'data-calculator="{html.escape(json.dumps(data))}">\n'
        f"<p>{html.escape(sentence)}</p>\n</div>\n"
        '<script src="../_static/calculator.js" defer></script>'
    )


def widget():
    """The same for a kernel: ipywidgets that compute the answer when they are moved."""
    inputs = {control["name"]: input_widget(control) for control in CONTROLS}
    shown = ipywidgets.HTML()

    def update(_=None):
        found = rows({name: each.value for name, each in inputs.items()})
        cells = "".join(f"<tr><td>{n}</td><td><b>{t}</b></td></tr>" for n, t in found)
        shown.value = f"<table>{cells}</table>"

    for each in inputs.values():
        each.observe(update, "value")
    update()
    return ipywidgets.VBox([*inputs.values(), shown])


def input_widget(control):
    """A slider over the options of a control, or a menu of them."""
    kind = ipywidgets.Dropdown if "menu" in control else ipywidgets.SelectionSlider
    return kind(
        options=control["options"],
        index=control["start"],
        description=control["label"],
        style={"description_width": "initial"},
        layout={"width": "100%"},
    )


def show():
    """Display the calculator: HTML where there is no kernel, widgets where there is."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget().model_id}
    bundle = {
        "application/vnd.jupyter.widget-view+json": view,
        "text/html": page(),
        "text/plain": "\n".join(f"{name}: {text}" for name, text in rows(at_start())),
    }
    display(bundle, raw=True)
