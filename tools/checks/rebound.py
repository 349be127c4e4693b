"""Globals of a notebook that change under a function that reads them.

A reader who has run a chapter to its end goes back, moves a live figure or calls a
function again. It has to work as it did: a global that the function reads must not have
been given another value meanwhile, by a later cell that wanted the name.

`python -m tools.checks.rebound` lists what is found in the book.
"""

import dis
import re
import symtable
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat

from tools import contents


class Rebound(NamedTuple):
    """A function, the global that it reads, and the cells, counted from 1."""

    function: str
    name: str
    defined: int
    rebound: int

    def __str__(self):
        return (
            f"{self.function} (cell {self.defined}) reads {self.name}, which cell "
            f"{self.rebound} gives another value"
        )


class Cell(NamedTuple):
    """What a cell binds, what it reads outside functions, and its functions' reads."""

    binds: set
    reads: set
    functions: dict  # {name: the globals that it reads}


def cells_of(path: Path) -> list[Cell]:
    """The code cells of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [read(cell.source) for cell in cells if cell.cell_type == "code"]


def read(source: str) -> Cell:
    lines = [re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in source.split("\n")]
    python = "\n".join(lines)
    table = symtable.symtable(python, "cell", "exec")
    symbols = table.get_symbols()
    functions, reads = {}, {each.get_name() for each in symbols if each.is_referenced()}
    for child in table.get_children():
        if child.get_name() in table.get_identifiers():
            functions[child.get_name()] = globals_of(child)
        else:  # a comprehension or a lambda
            reads |= globals_of(child)
    return Cell(bound(compile(python, "cell", "exec")), reads, functions)


def bound(code) -> set:
    """The globals that a cell's code gives a value, not its comprehensions' variables.

    The table of symbols can't tell: from Python 3.12 on, a comprehension is a part of
    the code around it.
    """
    stores = {"STORE_NAME"} if code.co_name == "<module>" else set()
    stores.add("STORE_GLOBAL")
    found = {
        each.argval for each in dis.get_instructions(code) if each.opname in stores
    }
    inner = (each for each in code.co_consts if hasattr(each, "co_code"))
    return found.union(*map(bound, inner))


def globals_of(table) -> set:
    """The globals that a function reads, and the functions within it."""
    found = {s.get_name() for s in table.get_symbols() if s.is_global()}
    return found.union(*map(globals_of, table.get_children()))


def rebound(cells: list[Cell]) -> list[Rebound]:
    """Every function whose globals, or those of what it calls, change after its use."""
    found = []
    for at, cell in enumerate(cells):
        for function in cell.functions:
            uses = (
                n
                for n in range(at, len(cells))
                if function in reached(cells[n].reads, cells[: n + 1])
            )
            used = next(uses, at)
            needs = reached({function}, cells[: used + 1])
            found += [
                Rebound(function, name, at + 1, n + 1)
                for n in range(used + 1, len(cells))
                for name in sorted(needs & cells[n].binds)
            ]
    return found


def reached(names: set, cells: list[Cell]) -> set:
    """Some globals, and all that they read which are functions."""
    known = {}
    for cell in cells:
        known |= cell.functions
    found, new = set(), names
    while new:
        found |= new
        new = set().union(*(known.get(name, ()) for name in new)) - found
    return found


def main():
    found = [
        f"{path.name}: {each}"
        for path in contents.notebooks()
        for each in rebound(cells_of(path))
    ]
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
