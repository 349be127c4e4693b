"""A function of a module in the place of another: for slips, and to listen in."""

from contextlib import contextmanager


@contextmanager
def replaced(module, **functions):
    """Inside a `with`, the module's functions by these names are these.

    AttributeError for a name that the module doesn't have.
    """
    originals = {name: getattr(module, name) for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(originals)
