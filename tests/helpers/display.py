"""What a notebook would show, and the shell that it runs in."""

import sys

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output


def displayed(function, *arguments):
    """Calls a function and gives the one bundle that it displays."""
    shell()  # which display asks for
    with capture_output() as captured:
        function(*arguments)
    (shown,) = captured.outputs
    return shown.data


def shell():
    """The shell of a notebook in this process, which stays what it is to others.

    A new one puts a module of its own in the place of `__main__`, and a process that is
    spawned later would look there for what to import.
    """
    main = sys.modules["__main__"]
    try:
        return InteractiveShell.instance()
    finally:
        sys.modules["__main__"] = main
