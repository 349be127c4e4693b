"""Compiled code, kept in a folder between runs under a name that says what went in."""

import hashlib
import os
import tempfile
from pathlib import Path

from rwkv_book.folders import cache_folder

SOURCE = Path(__file__).parents[1] / "rwkv4" / "wkv.cu"
INSTEAD = "or use wkv=wkv_chunked, which needs no compiler."


def compiled(suffix, ingredients, compile):
    """The file that `compile(path)` wrote, now or in an earlier run.

    Its name is a hash of the source and of `ingredients`, all that the result depends
    on. It is written elsewhere and renamed when it is whole: of two processes that
    compile at once both are right, and one that is killed leaves nothing that counts.
    RuntimeError where the folder can't be written.
    """
    parts = [SOURCE.read_text("utf-8"), *ingredients]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32] + suffix
    folder = cache_folder() / "fused"
    try:
        if not (folder / name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as building:
                compile(Path(building) / name)
                os.replace(Path(building) / name, folder / name)
    except OSError as error:
        raise RuntimeError(
            f"The compiled operator can't be kept in {folder} ({error}): let "
            f"XDG_CACHE_HOME name a folder that can be written, {INSTEAD}"
        ) from error
    return folder / name
