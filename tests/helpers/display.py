"""What a notebook would show."""

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output


def displayed(function, *arguments):
    """Calls a function and gives the one bundle that it displays."""
    InteractiveShell.instance()  # what a notebook has, and display asks for
    with capture_output() as captured:
        function(*arguments)
    (shown,) = captured.outputs
    return shown.data
