"""What the chapters show: source code, figures, tables and sliders.

    text        source code as it is imported, two of them side by side, and tables
    palette     colours and dashes, one for each architecture in the whole book
    pictures    an SVG that is right on a white page, on a dark one and in grey print
    charts      lines with their labels, bars, heat maps
    lengths     accuracy against length, with seeds and chance
    recurrent   drawings: a chain of steps, the inside of an LSTM
    inside      a layer of RWKV-4 with the numbers of one letter
    words       a text whose tokens are tinted by their weight
    sliders     pictures made beforehand, which move in the static page too
    live        figures that compute in the reader's page, and in a kernel
    calculator  what training costs, with sliders
    chain       one sitting's averages, for a reader's own numbers
    facts       a table that is told a reader's facts, and corrected
    switches    one member of the family turned into the next
    planted     names, said or not, and what is left of them
    stages      three words through a transformer's block
    gating      one cell over a sentence, with its gates to set
    brackets    tokens merged in any order, as a tree
    filling     a table that fills while a reader's sentence is read
    faces       all letters at once and one by one, on a reader's text
    endings     what an automaton foretells of a reader's text

This is the only room that imports matplotlib, ipywidgets and IPython.
"""

from rwkv_book.show.charts import bars, heat, heat_on, lines
from rwkv_book.show.palette import ACCENT, DASHES, INK, PALETTE, colours
from rwkv_book.show.pictures import Figure, Picture
from rwkv_book.show.sliders import slider, two_sliders
from rwkv_book.show.text import beside, show_markdown, source, table
from rwkv_book.show.words import Words

__all__ = [
    "ACCENT",
    "DASHES",
    "INK",
    "PALETTE",
    "Figure",
    "Picture",
    "Words",
    "bars",
    "beside",
    "colours",
    "heat",
    "heat_on",
    "lines",
    "show_markdown",
    "slider",
    "source",
    "table",
    "two_sliders",
]
