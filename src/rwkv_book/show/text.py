"""What is shown as text: source code as it is imported, and tables."""

import inspect

from IPython.display import display


def source(*things):
    """Show functions, classes or modules as they are imported, highlighted."""
    code = "\n\n\n".join(inspect.getsource(thing).rstrip() for thing in things)
    show_markdown(f"```python\n{code}\n```", code)


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
