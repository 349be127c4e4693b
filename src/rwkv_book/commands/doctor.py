"""Say whether this machine can run the book, and what to do if not.

Fetches nothing; 1 is a problem.
"""

from pathlib import Path

from rwkv_book import doctor

FAILURES = ()
SMALLER = "close other programs"


def add_options(parser):
    """This machine, or the reports of others."""
    parser.add_argument(
        "--json", action="store_true", help="print a report that a program can read"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write that report to a file too, for whoever collects them",
    )
    parser.add_argument(
        "reports",
        nargs="*",
        metavar="REPORT",
        help="reports of other machines, from --output: who is ready, who is not",
    )


def run(chosen):
    """Print the doctor's findings, or a table of reports; 1 where there is a problem"""
    if not chosen.reports:
        return doctor.examine(chosen.json, chosen.output)
    if chosen.json or chosen.output:
        raise ValueError("--json and --output are about this machine: name no reports")
    return doctor.print_reports(chosen.reports)
