"""Say what a file of weights holds and what is wrong with it.

Reads RWKV-4 to 7; runs nothing in it. 1 is a file that the book can't load.
"""

from rwkv_book import checkpoint
from rwkv_book.commands.models import SMALLER_MODEL, find_model

FAILURES = (checkpoint.CheckpointError,)
SMALLER = SMALLER_MODEL


def add_options(parser):
    """A path."""
    parser.add_argument(
        "path",
        metavar="PATH",
        help=".safetensors or .pth file, or a model that comes with the book",
    )


def run(chosen):
    """Print the report of checkpoint.inspect; 1 where `load` would refuse."""
    report = checkpoint.inspect(find_model(chosen.path))
    print(report)
    return 0 if report.loads else 1
