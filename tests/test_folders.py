"""Files are written whole or not at all, and there is always a cache to write to."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.disks import read_only
from helpers.limits import files_of_at_most, has_limits

from rwkv_book import checkpoint, folders


@pytest.fixture
def umask():
    """Sets the umask, and puts the old one back."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("mask", "wanted"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)]
)
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path, umask, mask, wanted):
    umask(mask)
    folders.write_text(tmp_path / "new", "text")
    assert mode(tmp_path / "new") == wanted


def test_also_when_a_library_makes_the_file_for_its_owner_alone(tmp_path, umask):
    umask(0o022)
    with folders.whole(tmp_path / "model") as part:
        part.unlink()
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
    assert mode(tmp_path / "model") == 0o644


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    path = tmp_path / "shared"
    path.write_text("old")
    path.chmod(0o640)
    folders.write_text(path, "new")
    assert path.read_text() == "new" and mode(path) == 0o640


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), folders.whole(path) as part:
        part.write_text("half")
        raise error("for some reason")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_called_so_and_nothing_stays_on_it(tmp_path, error):
    with pytest.raises(folders.DiskFull, match=r"no space left for .*Make room"):  # noqa: SIM117
        with folders.whole(tmp_path / "file") as part:
            part.write_bytes(b"half")
            raise error
    assert not list(tmp_path.iterdir())


def test_a_library_that_does_not_say_why_is_understood_by_the_disk(
    tmp_path, monkeypatch
):
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=0))
    with pytest.raises(folders.DiskFull):  # noqa: SIM117
        with folders.whole(tmp_path / "file"):
            raise RuntimeError("enforce fail at inline_container.cc")


@has_limits
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_that_may_not_be_as_large_says_so_whoever_writes_it(tmp_path, suffix):
    """As under `ulimit -f`: each library has another error for it."""
    params = checkpoint.load(checkpoint.shipped("generations/rwkv7"))
    path = tmp_path / f"model{suffix}"
    sentence = rf"model\{suffix} would be larger than a file may be .*ulimit -f"
    with files_of_at_most(10_000):
        with pytest.raises(folders.DiskFull, match=sentence):
            checkpoint.save(params, path)
        with pytest.raises(folders.DiskFull, match="larger than a file may be"):
            folders.write_text(tmp_path / "text", "a" * 10_001)
        with pytest.raises(RuntimeError, match="another"), folders.whole(path) as part:
            part.write_bytes(b"little")
            raise RuntimeError("another error is left as it is")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "nowhere" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        folders.write_text(path, "text")
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("path", [".", "", "/"])
def test_a_folder_is_no_place_for_a_file(path):
    with pytest.raises(IsADirectoryError) as caught:
        folders.write_text(path, "text")
    assert caught.value.filename == str(Path(path))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one_and_leads_to_what_was_written(tmp_path, there):
    link, target = tmp_path / "link", tmp_path / "other disk" / "file"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to(target)
    folders.write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none on Windows")
def test_a_pipe_stays_one_and_is_given_what_is_written(tmp_path):
    """As a device does: `--output /dev/null` may not put a file in its place."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        folders.write_text(pipe, "text")
        assert os.read(reader, 99) == b"text"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and list(tmp_path.iterdir()) == [pipe]


WRITER = """
import sys, time
from pathlib import Path
from rwkv_book import folders
with folders.whole(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    print(part, flush=True)
    sys.stdin.read()
    part.write_bytes(b"whole")
"""


@pytest.fixture
def writer():
    """Starts processes that write to a path until their input ends."""
    started = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env=os.environ | {"PYTHONPATH": str(Path(folders.__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, Path(process.stdout.readline().rstrip("\n"))

    yield start
    for process in started:
        process.kill()
        process.communicate()


has_locks = pytest.mark.skipif(folders.fcntl is None, reason="Windows has none")


@has_locks
def test_what_killed_processes_left_goes_when_the_file_is_written(tmp_path, writer):
    path = tmp_path / "model[1].safetensors"
    for _ in range(3):
        process, part = writer(path)
        process.kill()
        process.wait()
        assert list(tmp_path.iterdir()) == [part] and part.read_bytes() == b"half"
    folders.write_text(path, "whole")
    assert list(tmp_path.iterdir()) == [path]


@has_locks
def test_what_another_process_still_writes_stays(tmp_path, writer):
    path = tmp_path / "file"
    process, part = writer(path)
    folders.write_text(path, "mine")
    assert set(tmp_path.iterdir()) == {path, part}
    process.communicate()
    assert process.returncode == 0 and path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@has_locks
def test_what_is_written_in_another_container_stays(tmp_path, writer):
    """There the process has another number, which here may be nobody's."""
    path = tmp_path / "file"
    gone, part_of_gone = writer(path)
    gone.kill()
    gone.wait()
    process, part = writer(path)
    assert not part_of_gone.exists()
    part.rename(part_of_gone)
    folders.write_text(path, "mine")
    assert part_of_gone.read_bytes() == b"half"
    process.kill()
    process.wait()
    folders.write_text(path, "mine")
    assert list(tmp_path.iterdir()) == [path]


@has_locks
def test_files_of_others_stay(tmp_path):
    names = ["file.1.part", "file.x.part", "file.elsewhere.99999999.part"]
    names += [f"{folders.beginning(tmp_path / 'file')}{x}.part" for x in ("x", 9**99)]
    for name in names:
        (tmp_path / name).write_text("kept")
    folders.write_text(tmp_path / "file", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", *names}


def test_a_name_as_long_as_a_name_can_be(tmp_path):
    path = tmp_path / ("ü" * 127)
    folders.write_text(path, "text")
    assert path.read_text() == "text"


# The cache.


def ask(code, **environment):
    """What a fresh process prints, and says on stderr, with only these variables."""
    source = str(Path(folders.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"from rwkv_book import folders; {code}"],
        env={"PYTHONPATH": source, "PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr


TWICE = "print(folders.cache_folder()); assert folders.cache_folder().is_dir()"


def test_the_cache_is_where_the_environment_says(tmp_path):
    named = ask(TWICE, XDG_CACHE_HOME=str(tmp_path / "deep" / "er"))
    assert named == (str(tmp_path / "deep" / "er" / "rwkv-book"), "")
    at_home = ask(TWICE, HOME=str(tmp_path))
    assert at_home == (str(tmp_path / ".cache" / "rwkv-book"), "")
    relative = ask(TWICE, HOME=str(tmp_path), XDG_CACHE_HOME="here")
    assert relative == at_home


@pytest.mark.parametrize(
    "absurd", ["/proc/nothing", "/dev/null/cache", "/" + 300 * "x", "/sys/cache"]
)
def test_where_it_cannot_be_written_a_temporary_folder_serves(tmp_path, absurd):
    found, said = ask(TWICE, XDG_CACHE_HOME=absurd, TMPDIR=str(tmp_path))
    assert Path(found).parent == tmp_path and mode(Path(found)) == 0o700
    assert said.count("\n") == 1 and "can't be written" in said and found in said
    assert ask(TWICE, XDG_CACHE_HOME=absurd, TMPDIR=str(tmp_path))[0] == found


def test_a_temporary_folder_that_others_can_write_is_not_taken(tmp_path):
    taken = tmp_path / f"rwkv-book-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    found, _ = ask(TWICE, XDG_CACHE_HOME="/dev/null", TMPDIR=str(tmp_path))
    assert Path(found) != taken and Path(found).parent == tmp_path


def test_without_home_and_without_an_entry_for_the_user(tmp_path):
    unknown = (
        "import os, pwd; pwd.getpwuid = lambda uid: {}[uid]; "
        "os.path.expanduser = lambda path: path; " + TWICE
    )
    found, said = ask(unknown, TMPDIR=str(tmp_path))
    assert Path(found).parent == tmp_path and "no home folder" in said


def test_what_a_cache_to_read_from_holds_is_found(tmp_path):
    shared = tmp_path / "shared"
    (shared / "rwkv-book").mkdir(parents=True)
    (shared / "rwkv-book" / "there").write_text("text")
    both = 'print(folders.kept("there"), folders.kept("not", "there"), sep="\\n")'
    with read_only(shared):
        found, _ = ask(both, XDG_CACHE_HOME=str(shared), TMPDIR=str(tmp_path))
    there, elsewhere = map(Path, found.splitlines())
    assert there == shared / "rwkv-book" / "there"
    assert elsewhere.parents[2] == tmp_path and elsewhere.parts[-2:] == ("not", "there")
