"""Which file is meant by the name of a model on the command line."""

from pathlib import Path

from rwkv_book import checkpoint


def find_model(name):
    """The path of a model that comes with the book, or `name` as a path.

    A bare word is first the name of a model of the book; with a suffix or a folder in
    it, as in ./shakespeare, it is a path. CheckpointError where a word is neither.
    """
    path = Path(name)
    if path.suffix or path.name != name:
        return path
    try:
        return checkpoint.shipped(name)
    except checkpoint.CheckpointError:
        if not path.exists():
            raise
        return path
