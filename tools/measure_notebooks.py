"""Run every notebook of the book within a limit of memory; record what each takes.

    python tools/measure_notebooks.py [notebook ...]
    python tools/measure_notebooks.py --record [notebook ...]
    python tools/measure_notebooks.py --tables

The second keeps the numbers in benchmarks/results/notebooks.json and writes them into
the pages; the third writes the pages from the record alone.

A notebook gets a fresh kernel on two cores and an empty cache. Twenty times a second
the memory of the kernel and of all that it started is added up, and when that is over
the limit all of it is killed. Peaks between two looks count as well: the system keeps
the highest that a process ever held. Nothing is stored in the notebooks.

The tables are the parts of pages between `<!-- measured: name -->` and `<!-- end -->`.
"""

import argparse
import json
import math
import os
import platform
import re
import socket
import statistics
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

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "results" / "notebooks.json"
PAGES = ("book/appendix/notebooks.md", "book/workshop/jupyterhub.md")
LIMIT = 1024  # MiB
CORES = 2
PEOPLE = 30
# The system's own record of a process's peak (ru_maxrss would count its parent's too).
SPENT = """
import json, pathlib, resource
status = pathlib.Path("/proc/self/status")
if status.exists():
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    peak = int(lines["VmHWM"].split()[0]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
times = [resource.getrusage(one) for one in who]
print(json.dumps([peak, sum(one.ru_utime + one.ru_stime for one in times)]))
"""


def listed_notebooks():
    """The notebooks in _toc.yml, in the order of the book."""
    entries = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text())
    paths = [ROOT / f"{entry}.ipynb" for entry in entries]
    return [path for path in paths if path.exists()]


# --- what a notebook takes --------------------------------------------------------


def memory_of(processes):
    """Bytes that they hold together; pages that several share are counted once.

    That is Linux's "proportional set size"; elsewhere shared pages count for each.
    """
    import psutil

    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            held = process.memory_full_info()
            total += getattr(held, "pss", held.rss)
    return total


@contextmanager
def watching(limit):
    """Kills what is started meanwhile when it holds more than `limit` bytes together.

    Gives {"peak": bytes}, the highest that was seen.
    """
    import psutil

    seen, done = {"peak": 0}, threading.Event()
    before = set(psutil.Process().children(recursive=True))

    def watch():
        while not done.wait(0.05):
            running = psutil.Process().children(recursive=True)
            started = [process for process in running if process not in before]
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
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(SPENT))
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    name, start = path.name, time.perf_counter()
    with watching(limit << 20) as seen:
        try:
            client.execute()
        except Exception as error:
            if seen["peak"] <= limit << 20:
                raise SystemExit(f"{name}: {error}") from error
            raise SystemExit(f"{name}: stopped, it took over {limit} MiB") from None
        finally:
            seconds = time.perf_counter() - start
    peak, core_seconds = json.loads(notebook.cells[-1].outputs[0].text)
    peak = max(peak, seen["peak"])
    if peak > limit << 20:
        raise SystemExit(f"{name}: {peak >> 20} MiB at its peak, over {limit} MiB")
    return {
        "notebook": str(path.relative_to(ROOT)),
        "seconds": round(seconds, 1),
        "core_seconds": round(core_seconds, 1),
        "peak_mib": math.ceil(peak / (1 << 20)),
    }


def server_memory():
    """MiB that JupyterLab itself holds when its page has been opened."""
    import psutil

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
    listed = [str(path.relative_to(ROOT)) for path in listed_notebooks()]
    content["rows"] = [rows[name] for name in listed if name in rows]
    RECORD.write_text(json.dumps(content, indent=1) + "\n")


def measure_all(paths, keep):
    """Measure one after the other; the messages of those that failed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    failures = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        for path in paths:
            try:
                row = measure(path)
            except SystemExit as failure:
                failures.append(str(failure))
                print(failure, file=sys.stderr, flush=True)
                continue
            if keep:
                record(row)
                write_tables()
            print(
                f"{row['notebook']}: {row['seconds']:.0f} s, "
                f"{row['peak_mib']} MiB at its peak",
                flush=True,
            )
    return failures


# --- what a class takes -----------------------------------------------------------


def half_gib(mib):
    """Rounded up to half a GiB, in MiB."""
    return math.ceil(mib / 512) * 512


def needs(content, people=PEOPLE):
    """What a hub needs for so many people, from the record of the notebooks.

    Everybody may hold JupyterLab, the largest notebook and, because people forget to
    shut a kernel down, a middling second one. 2 GiB are for the system and the hub.
    """
    peaks = [row["peak_mib"] for row in content["rows"]]
    middle = statistics.median(peaks)
    limit = half_gib(content["server_mib"] + max(peaks) + middle)
    usual = people * (content["server_mib"] + middle) / 1024 + 2
    return {
        "limit_mib": limit,
        "usual_gib": math.ceil(usual),
        "most_gib": math.ceil(people * limit / 1024 + 2),
        "middle_core_seconds": statistics.median(
            row["core_seconds"] for row in content["rows"]
        ),
        "most_core_seconds": max(row["core_seconds"] for row in content["rows"]),
    }


def tables(content):
    """{name: Markdown} of what the pages show."""
    versions = ", ".join(f"{name} {one}" for name, one in content["versions"].items())
    notebooks = [
        "| notebook | seconds | core-seconds | peak, MiB |",
        "|---|--:|--:|--:|",
        *(
            f"| [{Path(row['notebook']).stem}](/{row['notebook']}) "
            f"| {row['seconds']:.0f} | {row['core_seconds']:.0f} | {row['peak_mib']} |"
            for row in content["rows"]
        ),
        "",
        f"{content['cores']} cores ({content['device']}), {content['date']}, commit "
        f"`{content['commit']}`, Python {content['python']}, {versions}; the limit was "
        f"{content['limit_mib']} MiB. JupyterLab itself holds "
        f"{content['server_mib']} MiB, and the environment takes "
        f"{content['environment_mb'] / 1000:.1f} GB on disk.",
    ]
    need = needs(content)
    hub = [
        f"| for {PEOPLE} people | sum | |",
        "|---|---|--:|",
        f"| memory, everybody in a middling notebook | {PEOPLE} × (JupyterLab + median "
        f"peak) + 2 GiB | {need['usual_gib']} GiB |",
        f"| memory, everybody at the limit | {PEOPLE} × {need['limit_mib']} MiB + "
        f"2 GiB | {need['most_gib']} GiB |",
        *(
            f"| all run the {name} notebook at once, on {cores} cores | {PEOPLE} × "
            f"{need[key]:.0f} core-seconds / {cores} | "
            f"{PEOPLE * need[key] / cores:.0f} s |"
            for name, key in (
                ("middling", "middle_core_seconds"),
                ("longest", "most_core_seconds"),
            )
            for cores in (8, 16)
        ),
        f"| disk | the environment once + {PEOPLE} × 0.1 GB + 10 GB for the system | "
        f"{content['environment_mb'] / 1000 + PEOPLE * 0.1 + 10:.0f} GB |",
    ]
    limits = [
        "```bash",
        f"sudo tljh-config set limits.memory {need['limit_mib']}M",
        f"sudo tljh-config set limits.cpu {content['cores']}",
        "sudo tljh-config set services.cull.timeout 3600",
        "sudo tljh-config set user_environment.default_app jupyterlab",
        "sudo tljh-config reload",
        "```",
    ]
    blocks = {"notebooks": notebooks, "hub": hub, "limits": limits}
    return {name: "\n".join(lines) for name, lines in blocks.items()}


def with_tables(text, content):
    """A page with its measured parts as the record has them now."""
    found = tables(content)
    return re.sub(
        r"(<!-- measured: (\w+) -->\n).*?(\n<!-- end -->)",
        lambda match: match[1] + "\n" + found[match[2]] + "\n" + match[3],
        text,
        flags=re.DOTALL,
    )


def write_tables():
    content = json.loads(RECORD.read_text("utf-8"))
    for page in PAGES:
        path = ROOT / page
        path.write_text(with_tables(path.read_text("utf-8"), content), "utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "notebooks", nargs="*", type=Path, help="default: all in the toc"
    )
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    failures = []
    if not options.tables:
        paths = [path.resolve() for path in options.notebooks] or listed_notebooks()
        failures = measure_all(paths, options.record)
    if options.tables:
        write_tables()
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
