"""The book's figures drawn into a picture of pixels, without a browser.

Of SVG this reads what matplotlib writes for `rwkv_book.show.Figure`: groups, paths,
markers, texts, heat maps and rectangles that clip.
"""

import base64
import io
import math
import re
from xml.etree import ElementTree

import matplotlib.image
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

CODES = {"M": [Path.MOVETO], "L": [Path.LINETO], "Q": [Path.CURVE3] * 2}
CODES |= {"C": [Path.CURVE4] * 3}
STEP = re.compile(r"([A-Za-z])([^A-Za-z]*)")
TURN = re.compile(r"(\w+)\(([^)]*)\)")
HREF = "{http://www.w3.org/1999/xlink}href"
ANCHORS = {"start": "left", "middle": "center", "end": "right"}
INHERITED_NOT = ("opacity", "clip-path")


def numbers(text):
    return [float(each) for each in re.findall(r"[-+]?[\d.]+(?:e[-+]?\d+)?", text)]


def style_of(element):
    pairs = re.findall(r"([\w-]+):\s*([^;]+)", element.get("style", ""))
    return {name: value.strip() for name, value in pairs}


def transform_of(element):
    """The transform of an element alone. ValueError for a kind that is not known."""
    whole = Affine2D()
    for kind, text in TURN.findall(element.get("transform", "")):
        values = numbers(text)
        if kind == "translate":
            step = Affine2D().translate(values[0], *(values[1:] or [0]))
        elif kind == "scale":
            step = Affine2D().scale(*values)
        elif kind == "rotate":
            step = Affine2D().rotate_deg_around(*(values[1:] or [0, 0]), values[0])
        elif kind == "matrix":
            step = Affine2D.from_values(*values)
        else:
            raise ValueError(f"a figure is turned by {kind!r}, which is not known")
        whole = step + whole
    return whole


def path_of(text):
    """A path of absolute steps. ValueError for a kind of step that is not known."""
    points, codes = [], []
    for kind, values in STEP.findall(text):
        if kind in "zZ":
            points.append(points[-1])
            codes.append(Path.CLOSEPOLY)
        elif kind in CODES:
            pairs = numbers(values)
            points += zip(pairs[::2], pairs[1::2], strict=True)
            codes += CODES[kind]
        else:
            raise ValueError(f"a path goes on with {kind!r}, which is not known")
    return Path(points, codes)


class Drawing:
    """An SVG on its way into axes whose unit is a pixel, y downwards.

    ink  the colour of what has the colour of the text around it
    dpi  of the figure, as letters and lines are measured in points
    """

    def __init__(self, svg, ink, dpi):
        self.root = ElementTree.fromstring(svg)
        self.ink, self.point = ink, 72 / dpi
        *_, self.width, self.height = numbers(self.root.get("viewBox"))
        named = [each for each in self.root.iter() if each.get("id")]
        self.named = {each.get("id"): each for each in named}

    def draw(self, axes, x, y, scale):
        self.axes, self.scale = axes, scale
        self.walk(self.root, Affine2D().scale(scale).translate(x, y), {})

    def walk(self, element, around, inherited, clip=None):
        kind = element.tag.rpartition("}")[2]
        if kind in ("defs", "style"):
            return
        place = transform_of(element) + around
        kept = {k: v for k, v in inherited.items() if k not in INHERITED_NOT}
        style = kept | style_of(element)
        if found := re.search(r"#([\w-]+)", element.get("clip-path", "")):
            [rectangle] = self.named[found[1]]
            clip = rectangle, place
        if kind == "path" and element.get("d", "").strip():
            self.path(element, place, style, clip)
        elif kind == "use":
            at = Affine2D().translate(*(float(element.get(n, 0)) for n in "xy"))
            self.walk(self.named[element.get(HREF)[1:]], at + place, style, clip)
        elif kind == "text":
            self.text(element, place, style)
        elif kind == "image":
            self.image(element, place, clip)
        else:
            for child in element:
                self.walk(child, place, style, clip)

    def colour(self, style, of, default):
        """(colour, opacity), or None where there is nothing to draw."""
        value = style.get(of, default)
        if value == "none":
            return None
        opacity = float(style.get(f"{of}-opacity", 1)) * float(style.get("opacity", 1))
        return (self.ink if value == "currentColor" else value), opacity

    def path(self, element, place, style, clip):
        line = self.colour(style, "stroke", "none")
        dashes = numbers(style.get("stroke-dasharray", ""))
        width = float(style.get("stroke-width", 1)) * self.scale * self.point
        patch = PathPatch(
            path_of(element.get("d")).transformed(place),
            facecolor=self.colour(style, "fill", "currentColor") or "none",
            edgecolor=line or "none",
            linewidth=width if line else 0,
            capstyle={"square": "projecting"}.get(
                style.get("stroke-linecap"), style.get("stroke-linecap", "butt")
            ),
            joinstyle=style.get("stroke-linejoin", "round"),
        )
        if dashes and line:  # in matplotlib's terms, as multiples of the width
            steps = [step * self.scale * self.point / width for step in dashes]
            patch.set_linestyle((0, steps))
        self.add(patch, clip)

    def text(self, element, place, style):
        """A line of text, or letters and signs of a formula, each at its place."""
        for part in list(element) or [element]:
            look = style | (style_of(part) if part is not element else {})
            size = re.search(r"([\d.]+)px", look.get("font", ""))
            size = float(size[1] if size else look["font-size"].removesuffix("px"))
            xs, ys = (numbers(part.get(name, "0")) for name in "xy")
            texts = part.text or ""
            letters = texts if len(xs) > 1 else [texts]
            for at, letter in enumerate(letters):
                x, y = xs[min(at, len(xs) - 1)], ys[min(at, len(ys) - 1)]
                matrix = place.get_matrix()
                italic = "italic" in look.get("font", look.get("font-style", ""))
                bold = "700" in look.get("font-weight", "") or "bold" in str(look)
                colour, opacity = self.colour(look, "fill", "currentColor")
                self.axes.text(
                    *place.transform((x, y)),
                    letter.replace("$", r"\$"),
                    size=size * self.scale * self.point,
                    color=colour,
                    alpha=opacity,
                    ha=ANCHORS[look.get("text-anchor", "start")],
                    va="baseline",
                    rotation=-math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])),
                    rotation_mode="anchor",
                    weight="bold" if bold else "normal",
                    style="italic" if italic else "normal",
                )

    def image(self, element, place, clip):
        data = element.get(HREF).partition("base64,")[2]
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(data)))
        x, y, width, height = (
            float(element.get(name, 0)) for name in ("x", "y", "width", "height")
        )
        (left, top), (right, bottom) = place.transform(
            [(x, y), (x + width, y + height)]
        )
        shown = self.axes.imshow(
            pixels,
            extent=(left, right, bottom, top),
            origin="upper",
            interpolation="nearest",
            aspect="auto",
        )
        self.clip(shown, clip)

    def add(self, patch, clip):
        self.axes.add_patch(patch)
        self.clip(patch, clip)

    def clip(self, artist, clip):
        artist.set_clip_on(False)
        if clip:
            rectangle, place = clip
            x, y, width, height = (
                float(rectangle.get(name)) for name in ("x", "y", "width", "height")
            )
            inside = Rectangle((x, y), width, height)
            inside.set_transform(place + self.axes.transData)
            artist.set_clip_path(inside)
