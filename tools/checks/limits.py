"""Run every notebook of the book within a limit of memory; record what each takes.

    python -m tools.checks.limits [notebook ...]
    python -m tools.checks.limits --record [notebook ...]

The second keeps the numbers in benchmarks/results/notebooks.json and writes them into
the pages (see `tables.py`).

A notebook gets a fresh kernel on two cores and an empty cache. Twenty times a second
the memory of the kernel and of all that it started is added up, and when that is over
the limit all of it is killed. Peaks between two looks count as well: the system keeps
the highest that a process ever held. Nothing is stored in the notebooks.
"""

import argparse
import json
import math
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nbformat
import psutil

from rwkv_book import folders
from tools import contents
from tools.checks import tables
from tools.checks.tables import RECORD
from tools.contents import ROOT
from tools.notebooks import running

LIMIT = 1024  # MiB
CORES = 2


def memory_of(processes):
    """Bytes that they hold together; pages that several share are counted once.

    That is Linux's "proportional set size"; elsewhere shared pages count for each.
    """
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            held = process.memory_full_info()
            total += getattr(held, "pss", held.rss)
    return total


def has_begun(process):
    """Whether it runs a program of its own: before, it shows the memory of this one."""
    try:
        own = psutil.Process()
        return process.ppid() != own.pid or process.cmdline() != own.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@contextmanager
def watching(limit):
    """Kills what is started meanwhile when it holds more than `limit` bytes together.

    Gives {"peak": bytes}, the highest that was seen.
    """
    seen, done = {"peak": 0}, threading.Event()
    before = set(psutil.Process().children(recursive=True))

    def watch():
        while not done.wait(0.05):
            running = psutil.Process().children(recursive=True)
            started = [x for x in running if x not in before and has_begun(x)]
            seen["peak"] = max(seen["peak"], memory_of(started))
            if seen["peak"] > limit:
                for process in started:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def measure(path, limit=LIMIT):
    """{"seconds", "core_seconds", "peak_mib"} of one notebook.

    SystemExit if it takes more memory than `limit` MiB or a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    name, start = path.name, time.perf_counter()
    with watching(limit << 20) as seen:
        try:
            spent = running.run(notebook, path.parent)
        except Exception as error:
            if seen["peak"] <= limit << 20:
                raise SystemExit(f"{name}: {error}") from error
            raise SystemExit(f"{name}: stopped, it took over {limit} MiB") from None
        finally:
            seconds = time.perf_counter() - start
    peak = max(spent.peak, seen["peak"])
    if peak > limit << 20:
        raise SystemExit(f"{name}: {peak >> 20} MiB at its peak, over {limit} MiB")
    return {
        "seconds": round(seconds, 1),
        "core_seconds": round(spent.core_seconds, 1),
        "peak_mib": math.ceil(peak / (1 << 20)),
    }


def server_memory():
    """MiB that JupyterLab itself holds when its page has been opened."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=measured"]
    process = subprocess.Popen(
        [*command, f"--notebook-dir={ROOT / 'book'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 120
        for path in ("lab", "api/contents", "api/kernelspecs", "lab/api/settings"):
            url = f"http://127.0.0.1:{port}/{path}?token=measured"
            while not answers(url):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("JupyterLab did not start")
                time.sleep(0.2)
        held = memory_of([psutil.Process(process.pid)])
    finally:
        process.terminate()
        process.wait()
    return math.ceil(held / (1 << 20))


def answers(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return bool(answer.read())
    except urllib.error.URLError:
        return False


def size_of(folder):
    """MB on disk."""
    files = (path for path in folder.rglob("*") if not path.is_symlink())
    return math.ceil(sum(path.stat().st_size for path in files) / 1e6)


def record(row):
    """Keep a row in place of the notebook's last one, with where it comes from.

    Rows from another machine or of notebooks that are gone are dropped.
    """
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import measure as benchmark

    content = {
        "question": "notebooks",
        "device": benchmark.device_name("cpu"),
        "cores": CORES,
        "limit_mib": LIMIT,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "numpy", "jupyterlab")},
        "commit": benchmark.commit(),
        "date": date.today().isoformat(),
    }
    old = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if old.get("device") != content["device"]:
        old = {}
    content["environment_mb"] = old.get("environment_mb") or size_of(Path(sys.prefix))
    content["server_mib"] = old.get("server_mib") or server_memory()
    rows = {one["notebook"]: one for one in old.get("rows", [])}
    rows[row["notebook"]] = {
        **row,
        "commit": content["commit"],
        "date": content["date"],
    }
    listed = [str(path.relative_to(ROOT)) for path in contents.notebooks()]
    content["rows"] = [rows[name] for name in listed if name in rows]
    folders.write_text(RECORD, json.dumps(content, indent=1) + "\n")


def measure_all(paths, keep):
    """Measure one after the other; the messages of those that failed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    failures = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        for path in paths:
            try:
                row = {"notebook": str(path.relative_to(ROOT)), **measure(path)}
            except SystemExit as failure:
                failures.append(str(failure))
                print(failure, file=sys.stderr, flush=True)
                continue
            if keep:
                record(row)
                tables.write()
            print(
                f"{row['notebook']}: {row['seconds']:.0f} s, "
                f"{row['peak_mib']} MiB at its peak",
                flush=True,
            )
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "notebooks", nargs="*", type=Path, help="default: all in the toc"
    )
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    paths = [path.resolve() for path in options.notebooks] or contents.notebooks()
    sys.exit(bool(measure_all(paths, options.record)))


if __name__ == "__main__":
    main()
