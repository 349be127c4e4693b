"""What the benchmarks have measured: a file for each question and device.

This folder is installed with the package, so that a chapter can show it anywhere.
"""

import json
from pathlib import Path


def of(question):
    """The records of a question, or of all that begin so, in the order of their files.

    As benchmarks/measure.py writes them. LookupError when there is none.
    """
    paths = sorted(Path(__file__).parent.glob("*.json"))
    records = [json.loads(path.read_text("utf-8")) for path in paths]
    found = [record for record in records if record["question"].startswith(question)]
    if not found:
        known = ", ".join(record["question"] for record in records)
        raise LookupError(f"no record begins with {question!r}; there are {known}")
    return found
