"""Where the book keeps what it fetched or compiled, and how it writes a file.

Every file that somebody may want to keep is written through `whole`: beside its place
first, then renamed, so that nobody ever reads half of one, with the permissions that
the umask asks for, and without leftovers when something goes wrong. The cache is a
folder that can be written, whatever the machine's environment says.
"""

import errno
import glob
import os
import platform
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = "rwkv-book"
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
NEARLY_NOTHING = 2**16  # bytes free: with fewer, a disk is full


class DiskFull(OSError):
    """There is no room for a file, on its disk or under a limit; nothing was kept."""


@contextmanager
def whole(path):
    """A path to write to, which becomes `path` when the block has ended well.

    The file gets the permissions of the one that it replaces, or those of a new file
    under the umask. On any error, and on Ctrl-C, what was written is removed and `path`
    stays as it was. A link stays one: the file that it leads to is replaced. A pipe or
    a device stays one too, and is given what is written. DiskFull where no space is
    left, or where no file may be as large, OSError where `path` can't be. What an
    earlier process left of this file when it was killed is removed.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        yield path
        return
    asked, path = path, Path(os.path.realpath(path)) if path.is_symlink() else path
    part = path.with_name(f"{beginning(path)}{os.getpid()}.part")
    remove_left_behind(path)
    try:
        with open(part, "wb") as file:  # as the umask has it
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        with suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
        with held(part):
            yield part
        os.chmod(part, mode)
        os.replace(part, path)
    except BaseException as error:
        full, limited = is_full(error, path.parent), is_over_limit(error, part)
        with suppress(OSError):
            part.unlink()
        if limited:
            raise DiskFull(
                f"{path} would be larger than a file may be here: nothing of it was "
                "written. Raise the limit (ulimit -f), or name a place on another disk"
            ) from error
        if full:
            raise DiskFull(
                f"no space left for {path}: nothing of it was written. Make room on "
                "that disk, or name a place on another one"
            ) from error
        if isinstance(error, OSError) and error.filename == str(part):
            error.filename = str(asked)
        raise


def beginning(path):
    """How the files begin, by name, that this machine's processes write for a path."""
    return f"{path.name[:40]}.{platform.node()[:20]}."


@contextmanager
def held(part):
    """Hold a file while it is written, so that nobody takes it for left behind.

    A lock ends with its process, however that ends.
    """
    if fcntl is None:
        yield
        return
    with open(part, "r+b") as file:
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def remove_left_behind(path):
    """Remove what this machine's killed processes left of a file.

    A process is gone when it has no number any more and nobody holds its file: in
    another container the numbers are others, but the locks are the same.
    """
    if fcntl is None:
        return
    for part in path.parent.glob(f"{glob.escape(beginning(path))}*.part"):
        with suppress(OSError, ValueError, OverflowError):
            if not is_running(int(part.name.split(".")[-2])):
                with open(part, "r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()


def is_running(process):
    """Whether there is a process of that number."""
    try:
        os.kill(process, 0)  # 0 is no signal, only the question
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def is_over_limit(error, part):
    """Whether a file could not grow any more, which some libraries don't say."""
    if not isinstance(error, Exception):
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.EFBIG
    if "File too large" in str(error):
        return True
    with suppress(ImportError, OSError):
        import resource  # not there on Windows

        most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        return most != resource.RLIM_INFINITY and part.stat().st_size >= most
    return False


def is_full(error, folder):
    """Whether it failed for want of space, which some libraries don't say."""
    if not isinstance(error, Exception):
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    if "No space left" in str(error):
        return True
    with suppress(OSError):
        return shutil.disk_usage(folder).free < NEARLY_NOTHING
    return False


def write_text(path, text):
    """Write a text file in UTF-8, its lines as they are, by way of `whole`."""
    with whole(path) as part:
        part.write_bytes(text.encode())


def kept(*parts):
    """The path of something in the cache: where it is, or where it can be put.

    What lies in a cache that can only be read, a teacher's for instance, is found.
    """
    wanted = wanted_cache()
    if wanted is not None:
        with suppress(OSError):
            if wanted.joinpath(*parts).exists():
                return wanted.joinpath(*parts)
    return cache_folder().joinpath(*parts)


def cache_folder():
    """A folder for downloads and compiled code, which exists and can be written.

    It is $XDG_CACHE_HOME/rwkv-book or ~/.cache/rwkv-book. Where that can't be written,
    it is a temporary folder of this user alone, and a line on stderr says so, once.
    """
    wanted = wanted_cache()
    if wanted is None:
        return temporary_cache("there is no home folder")
    reason = why_not(wanted)
    return (
        temporary_cache(f"{wanted} can't be written ({reason})") if reason else wanted
    )


def wanted_cache():
    """What the environment asks for; None where it names nothing and there is no home.

    A relative XDG_CACHE_HOME counts as none: so the specification has it.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named) / NAME
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user whom the system doesn't know
        return None
    return home / ".cache" / NAME if home.is_absolute() else None


def why_not(folder):
    """Why nothing can be written to a folder, which is made if need be; "" if it can"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


@lru_cache(maxsize=None)
def temporary_cache(reason):
    """A temporary folder of this user, the same one as long as nobody else owns it."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = Path(tempfile.gettempdir()) / f"{NAME}-{user}"
    if not (is_own(folder) and not why_not(folder)):
        folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    print(
        f"{reason}: what is fetched or compiled goes to {folder} instead. Let "
        "XDG_CACHE_HOME name a folder of yours to keep it",
        file=sys.stderr,
    )
    return folder


def is_own(folder):
    """Whether a folder, made if need be, is this user's and closed to all others.

    Code that was compiled is run from it, so nobody else may put something there.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if not hasattr(os, "getuid"):  # Windows: temporary folders are a user's own
        return True
    return found.st_uid == os.getuid() and not found.st_mode & 0o022
