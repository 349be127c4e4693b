"""What is shown as text: source code as it is imported, and tables."""

import difflib
import html
import inspect

from IPython.display import display

from rwkv_book.show.palette import ACCENT


def source(*things):
    """Show functions, classes or modules as they are imported, highlighted."""
    code = code_of(things)
    show_markdown(f"```python\n{code}\n```", code)


def code_of(things):
    """The source of some things, two empty lines between them."""
    return "\n\n\n".join(inspect.getsource(thing).rstrip() for thing in things)


def beside(old, new):
    """Show the source of two things side by side, their differences marked.

    `old` and `new` are pairs of a heading and a list of functions. A line that is only
    on the left has a - before it, one that is only on the right a +, and both a tint.
    One stands below the other where the page is narrow.
    """
    lines = [code_of(functions).splitlines() for _, functions in (old, new)]
    same = difflib.SequenceMatcher(None, *lines, autojunk=False).get_matching_blocks()
    shared = [set(), set()]
    for block in same:
        shared[0].update(range(block.a, block.a + block.size))
        shared[1].update(range(block.b, block.b + block.size))
    columns, plain = [], []
    sides = zip((old, new), lines, shared, "-+", strict=True)
    for (heading, _), code, kept, sign in sides:
        signs = [" " if row in kept else sign for row in range(len(code))]
        marked = list(zip(signs, code, strict=True))
        columns.append(column(heading, marked))
        plain += [f"{heading}:", *(f"{s} {line}".rstrip() for s, line in marked), ""]
    page = (
        '<div style="display: grid; gap: 0.5rem; align-items: start; '
        'grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr))">'
        f"{''.join(columns)}</div>"
    )
    display({"text/html": page, "text/plain": "\n".join(plain).strip()}, raw=True)


def column(heading, marked):
    """HTML of one side of `beside`: a heading, and lines with their signs."""
    red, green, blue = (int(ACCENT[i : i + 2], 16) for i in (1, 3, 5))
    tints = {"+": f"rgba({red}, {green}, {blue}, 0.2)", "-": "rgba(128, 128, 128, 0.2)"}
    rows = []
    for sign, line in marked:
        tint = f"; background: {tints[sign]}" if sign in tints else ""
        indent = len(line) - len(line.lstrip()) + 4  # what is too long goes on further
        rows.append(
            f'<span style="display: block; padding-left: {indent}ch; '
            f'text-indent: -{indent}ch{tint}">{html.escape(f"{sign} {line}")}</span>'
        )
    style = "white-space: pre-wrap; font-size: 0.72rem; margin: 0; padding: 0.5rem"
    return (
        f'<div style="min-width: 0"><strong>{html.escape(heading)}</strong>'
        f'<pre style="{style}">{"".join(rows)}</pre></div>'
    )


def table(header, rows):
    """Show rows of text under a header; numbers should come formatted."""
    rows = [[str(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *rows]
    markdown = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    plain = "\n".join(
        "  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip()
        for line in [header, *rows]
    )
    show_markdown(markdown, plain)


def show_markdown(markdown, plain):
    """One output that is Markdown where that can be shown, and plain text elsewhere."""
    display({"text/markdown": markdown, "text/plain": plain}, raw=True)
