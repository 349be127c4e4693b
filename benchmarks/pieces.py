"""Rows of an experiment that takes minutes: each is kept when it is made."""

import hashlib
import json

import measure

RUNS = measure.ROOT / "runs"


def rows_of(question, settings, jobs, make):
    """[make(job) for job in jobs], where those made before under `settings` are read.

    A job is a dictionary, and so is its row. Rows are lines of a file in runs/, whose
    name follows from the settings: to begin again, delete it.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    path = RUNS / f"{question}-{digest[:12]}.jsonl"
    path.parent.mkdir(exist_ok=True)
    kept = path.read_text().splitlines(keepends=True) if path.exists() else []
    made = [json.loads(line) for line in kept if line.endswith("\n")]
    done = [row["job"] for row in made]
    with path.open("a") as file:
        if kept and not kept[-1].endswith("\n"):  # cut off while it was written
            file.write("\n")
        for job in jobs:
            if job in done:
                continue
            made.append({"job": job, "row": make(job)})
            file.write(json.dumps(made[-1]) + "\n")
            file.flush()
            print(job, made[-1]["row"], flush=True)
    found = {json.dumps(one["job"]): {**one["job"], **one["row"]} for one in made}
    return [found[json.dumps(job)] for job in jobs]
