"""A cache of its own for whoever compiles."""

import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder of caches with nothing in it, not even itself."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "rwkv-book" / "compiled"
