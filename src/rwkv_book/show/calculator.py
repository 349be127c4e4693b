"""What training costs, with sliders: `cost` in a kernel, and in the page's own script.

The page computes with book/_static/live/cost.js, which has the closed forms of `cost`
once more. Choices and words are written here for both, and a test holds their answers
equal.
"""

from decimal import ROUND_HALF_UP, Context

from rwkv_book import cost
from rwkv_book.show import live
from rwkv_book.show.pictures import Picture

BILLIONS_OF_PARAMETERS = [0.17, 0.43, 1.5, 3, 7, 14, 30, 70, 175, 400, 1000]
BILLIONS_OF_TOKENS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000]
DOLLARS_PER_HOUR = [0.5, 0.79, 1, 1.5, 2, 3, 4.096, 6, 10]
PERCENTS = [5, 10, 16, 20, 30, 40, 50, 60, 80, 100]
TOGETHER = 64

# It starts at the run of the 2023 article.
CONTROLS = [
    live.slider(
        "parameters",
        "Model",
        [(f"{n:,} billion parameters", n * 1e9) for n in BILLIONS_OF_PARAMETERS],
        BILLIONS_OF_PARAMETERS.index(14),
    ),
    live.slider(
        "tokens",
        "Text",
        [(f"{n:,} billion tokens", n * 1e9) for n in BILLIONS_OF_TOKENS],
        BILLIONS_OF_TOKENS.index(300),
    ),
    live.menu(
        "peak",
        "Accelerator",
        [
            (
                f"{name}: {chip.flops_per_second / 1e12:.0f} TFLOP/s",
                chip.flops_per_second,
            )
            for name, chip in cost.ACCELERATORS.items()
        ],
        0,
    ),
    live.slider(
        "price",
        "Price of an hour",
        [(f"${n:.3g}", n) for n in DOLLARS_PER_HOUR],
        DOLLARS_PER_HOUR.index(0.79),
    ),
    live.slider(
        "efficiency",
        "Share of the peak that is used",
        [(f"{n} %", n / 100) for n in PERCENTS],
        PERCENTS.index(16),
    ),
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


def answers(parameters, tokens, peak, price, efficiency):
    """All that the rows of the answer may name, in words."""
    flops = cost.training_flops(parameters, tokens)
    hours = cost.gpu_hours(flops, peak, efficiency)
    return {
        "flops": scientific(flops),
        "ideal": written(cost.gpu_hours(flops, peak)),
        "hours": written(hours),
        "days": written(hours / 24 / TOGETHER),
        "dollars": written(cost.dollars(hours, price)),
    }


class Answer(Picture):
    """The rows of the answer for the values of all controls."""

    def __init__(self, **chosen):
        found = answers(**chosen)
        self.rows = [(name, text.format(**found)) for name, text in ROWS]
        words = "\n".join(f"{name}: {text}" for name, text in self.rows)
        super().__init__(words, words)

    def html(self):
        """A list of terms and their values."""
        pairs = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in self.rows)
        return f"<dl>{pairs}</dl>"


FIGURE = live.Figure(
    "cost",
    "What training costs",
    CONTROLS,
    Answer,
    {"rows": ROWS, "together": TOGETHER},
)


def show():
    """Display the calculator."""
    FIGURE.show()
