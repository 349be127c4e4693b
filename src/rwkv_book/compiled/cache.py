"""Compiled code, kept in a folder between runs under a name that says what went in."""

import hashlib
import tempfile
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from rwkv_book.folders import kept, whole

BUILDING = Lock()  # two threads of a process would write the same part of a file


@contextmanager
def compiled(source, suffix, ingredients, compile):
    """The file that `compile(path)` wrote, now or in an earlier run.

    Its name is a hash of the source and of `ingredients`, all that the result depends
    on. Of two processes that compile at once both are right, and one that is killed
    leaves nothing that counts. If the source is not kept, neither is the file.
    RuntimeError where the cache can't be written and does not have it.
    """
    parts = "\0".join([source.whole, *ingredients])
    name = hashlib.sha256(parts.encode()).hexdigest()[:32] + suffix
    if source.kept:
        yield in_the_cache(name, compile, source.instead)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        compile(path)
        yield path


def in_the_cache(name, compile, instead):
    """The path of what is in the cache under this name, compiled if it was not."""
    path = kept("compiled", name)
    try:
        with BUILDING:
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                with whole(path) as part:
                    compile(part)
    except OSError as error:
        raise RuntimeError(
            f"The compiled operator can't be kept in {path.parent} ({error}): let "
            f"XDG_CACHE_HOME name a folder that can be written, or {instead}"
        ) from error
    return path
