"""What was compiled is found again, whoever compiles at the same time or is killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.kernels import build, needs_compiler, put_first, times

from rwkv_book.compiled.cache import compiled

TESTS = Path(__file__).parents[1]


def start(code, **options):
    """Another Python at work, in the environment of this one."""
    preamble = f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", preamble + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


BUILD = """
from helpers.kernels import times
from rwkv_book.compiled import cpu
cpu.library(times, "float").every
print("built")
"""


@needs_compiler
def test_a_library_is_compiled_once_and_found_again(cache):
    build()
    (path,) = cache.iterdir()
    written = path.stat().st_mtime_ns
    build()
    assert list(cache.iterdir()) == [path] and path.stat().st_mtime_ns == written
    build("bfloat16")
    assert len(list(cache.iterdir())) == 2


def test_the_name_says_all_that_went_in(cache):
    sources = times, replace(times, text=""), replace(times, hardware="")
    for source in sources:
        for ingredients in (["-O1"], ["-O2"], ["-O", "2"]):
            with compiled(source, ".txt", ingredients, Path.touch) as path:
                assert path.parent == cache and path.suffix == ".txt"
    assert len(list(cache.iterdir())) == 3 * 3


def test_what_is_compiled_from_a_changed_text_is_kept_nowhere(cache):
    with compiled(replace(times, kept=False), ".txt", [], Path.touch) as path:
        assert path.exists() and not path.is_relative_to(cache.parent.parent)
    assert not path.parent.exists() and not cache.exists()


def test_a_cache_that_can_not_hold_a_folder_is_named(cache):
    """A file where a folder should be: refused to everybody, to root too."""
    cache.parent.mkdir(parents=True)
    cache.write_text("in the way")
    sentence = r"can't be kept in .*XDG_CACHE_HOME.*or use your fingers"
    with (
        pytest.raises(RuntimeError, match=sentence),
        compiled(times, ".txt", [], Path.touch),
    ):
        pass


@needs_compiler
def test_without_a_cache_a_temporary_folder_serves(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for _ in range(2):
        said, complaint = start(BUILD).communicate()
        assert said == "built\n" and "can't be written" in complaint
    assert len(list(tmp_path.glob("rwkv-book-*/compiled/*.so"))) == 1


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users")
def test_a_cache_to_read_from_serves_if_it_has_the_file(monkeypatch):
    """Somebody else's, who has built it before; root is nobody for that."""
    without_rights = (
        "import os; os.getuid() or os.setuid(65534)\n"
        "import tempfile; tempfile.tempdir = '/nowhere'\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        build()
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o555)
        imports, rest = BUILD.split("cpu.library")
        code = f"{imports}{without_rights}cpu.library{rest}"
        found = start(code).communicate()
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o755)
        assert found == ("built\n", "")


@needs_compiler
def test_two_processes_may_build_at_once(cache):
    processes = [start(BUILD) for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == ["built\n"] * 2
    assert all(process.returncode == 0 for process in processes)
    assert [path.suffix for path in cache.iterdir()] == [".so"]


def test_two_threads_may_build_at_once(cache):
    def slowly(path):
        path.write_text("begun")
        time.sleep(0.2)
        path.write_text("whole")

    def read(_):
        with compiled(times, ".txt", [], slowly) as path:
            return path.read_text()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(read, range(4))) == {"whole"}
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_a_process_that_is_killed_half_way_leaves_nothing_that_counts(
    cache, tmp_path, monkeypatch
):
    """A compiler writes half of a file and waits; it is killed with its caller."""
    path = os.environ["PATH"]
    script = """
    while [ $# -gt 0 ]; do
      [ "$1" = -o ] && { echo half > "$2"; touch half_way; exec sleep 60; }
      shift
    done"""
    put_first(tmp_path / "bin", script, monkeypatch)
    process = start(BUILD, cwd=tmp_path, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "half_way").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list(cache.glob("*.so"))
    monkeypatch.setenv("PATH", path)
    build()
    assert len(list(cache.glob("*.so"))) == 1
