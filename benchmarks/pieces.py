"""Fair comparisons that take minutes: each row is kept when it is made.

Every contender, an arm, is tried at several learning rates with seed 0. At the best of
them it is then made with other seeds as well, and compared over all.
"""

import hashlib
import json

import measure

RUNS = measure.ROOT / "runs"
TUNING_SEED = 0  # chooses a learning rate


class Pieces:
    """What `make(job)` gives for jobs, {name: value}: made once, then read.

    They are lines of a file in a folder, whose name follows from the settings and from
    the processor, so that an interrupted experiment goes on after the last of them, and
    no row of another machine gets among them; to begin again, delete it.
    """

    def __init__(self, question, settings, make, folder=RUNS, processor=None):
        where = {"device": processor or measure.device_name("cpu")}
        told = json.dumps({**settings, **where}, sort_keys=True).encode()
        digest = hashlib.sha256(told).hexdigest()[:12]
        self.path = folder / f"{question}-{digest}.jsonl"
        self.path.parent.mkdir(exist_ok=True)
        self.make, self.rows = make, {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                one = json.loads(line)
                self.rows[json.dumps(one["job"])] = one["row"]

    def row(self, job):
        """The job and what came of it, as one dictionary."""
        name = json.dumps(job)
        if name not in self.rows:
            self.rows[name] = self.make(job)
            with self.path.open("a") as file:
                file.write(json.dumps({"job": job, "row": self.rows[name]}) + "\n")
            print(job, self.rows[name], flush=True)
        return {**job, **self.rows[name]}

    def compare(self, arms, rates, seeds, loss, most=None):
        """Rows of all arms: at several learning rates with TUNING_SEED, and at the best
        with each of so many `seeds`, of which that is one.

        `loss` is the name of what should be small; `most` as in `tune`.
        """
        rows = []
        for arm in arms:
            tried = self.tune(arm, rates, loss, most)
            best = min(tried, key=lambda row: row[loss])["learning_rate"]
            rows += tried
            rows += [
                self.row({**arm, "learning_rate": best, "seed": seed})
                for seed in range(1, seeds)
            ]
        return rows

    def tune(self, arm, rates, loss, most=None):
        """Rows at rising learning rates; on each side of the best is one no better.

        Where the best is the first or the last of `rates`, more are tried beyond it; up
        to `most` in all, since an arm that learns nothing has no best.
        """
        step, tried = rates[1] / rates[0], {}
        while True:
            for rate in rates:
                job = {**arm, "learning_rate": rate, "seed": TUNING_SEED}
                tried[rate] = self.row(job)
            best = min(tried, key=lambda rate: tried[rate][loss])
            if min(tried) < best < max(tried) or len(tried) == most:
                return [tried[rate] for rate in sorted(tried)]
            rates = [round(best * (step if best == max(tried) else 1 / step), 6)]


def marked(rows, loss):
    """Rows of one arm, each with whether its learning rate is the `best`, and whether
    others, none better, were tried on both sides of that, which makes it `interior`."""
    tried = {
        row["learning_rate"]: row[loss] for row in rows if row["seed"] == TUNING_SEED
    }
    best = min(tried, key=tried.get)
    interior = min(tried) < best < max(tried)
    return [
        {**row, "best": row["learning_rate"] == best, "interior": interior}
        for row in rows
    ]
