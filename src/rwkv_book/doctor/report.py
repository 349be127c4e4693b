"""Saying what the doctor found: in lines, as a file for others, as a table of those."""

import json
import textwrap
from pathlib import Path

from rwkv_book import folders
from rwkv_book.doctor.diagnosis import Finding


def say(facts, findings, as_json=False):
    """Print the findings: a line and the advice for each, or what a program can read"""
    if as_json:
        print(as_text(facts, findings))
        return
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


def write(facts, findings, path):
    """Write the report that `print_reports` reads."""
    folders.write_text(path, as_text(facts, findings) + "\n")


def as_text(facts, findings):
    """A report as JSON, in ASCII: whether all is ready, what Python, every finding."""
    report = {
        "ready": not any(finding.status == "problem" for finding in findings),
        "python": facts.python,
        "system": facts.system,
        "findings": [finding._asdict() for finding in findings],
    }
    return json.dumps(report, indent=2)


def print_reports(paths):
    """A line for each report, those that are not ready first; 1 if there are any."""
    rows = sorted(row(Path(path)) for path in paths)
    for ready, name, said in rows:
        print(f"{'ready' if ready else 'NOT READY':10} {name}  {said}".rstrip())
    return int(not all(ready for ready, *_ in rows))


def row(path):
    """(ready, whose report it is, what it says), or why it can't be read."""
    try:
        ready, findings = read(path)
    except (OSError, ValueError) as error:
        return False, path.stem, f"can't be read: {error}"
    said = []
    for status in ("problem", "note"):
        found = [f"{f.subject} ({f.found})" for f in findings if f.status == status]
        said += [f"{status}: {'; '.join(found)}"] if found else []
    return ready, path.stem, ". ".join(said)


def read(path):
    """(ready, Findings) of a report; ValueError where a file is something else.

    UTF-8, with or without a byte order mark, or UTF-16, which is what `>` writes in
    Windows PowerShell 5.1.
    """
    try:
        report = json.loads(path.read_bytes())  # which finds out the encoding
        findings = [Finding(**finding) for finding in report["findings"]]
        ready = report["ready"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("this is no report of the doctor") from error
    if not isinstance(ready, bool) or not all(
        isinstance(part, str) for finding in findings for part in finding
    ):
        raise ValueError("this is no report of the doctor")
    return ready, findings
