"""Can this machine run the book? `python -m rwkv_book doctor` says what to do if not.

    machine     asking the machine: `gather` gives Facts
    diagnosis   what follows from them: `diagnose` turns Facts into Findings
    report      saying it: in lines, as a file for others, as a table of such files

A Finding is ok, a note or a problem. A problem makes notebooks impossible, a note makes
something slower or leaves something out. All of this runs on Python 3.8 with nothing
installed: otherwise those who need the doctor most would get a traceback.
"""

from rwkv_book.doctor.diagnosis import OLDEST_PYTHON, Finding, diagnose
from rwkv_book.doctor.machine import Facts, gather
from rwkv_book.doctor.report import print_reports, say, write

__all__ = [
    "OLDEST_PYTHON",
    "Facts",
    "Finding",
    "diagnose",
    "examine",
    "gather",
    "print_reports",
]


def examine(as_json=False, output=None):
    """Print the findings about this machine; 1 where there is a problem, else 0.

    With a path in `output`, a report for `print_reports` is written there.
    """
    facts = gather()
    findings = diagnose(facts)
    say(facts, findings, as_json)
    if output:
        write(facts, findings, output)
    return int(any(finding.status == "problem" for finding in findings))
