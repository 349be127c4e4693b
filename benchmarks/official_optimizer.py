"""Does RWKV-6 lose by our optimizer? The same runs with that of the official scripts.

    python benchmarks/official_optimizer.py

The runs are those of version_comparison.py, at the rate and with the seeds that it
recorded; what differs is epsilon, 1e-18 where ours is 1e-8, and weight decay, 0.001
where ours is 0.1. Both optimizers run here, on one machine: another processor adds up
in another order, and that alone has moved such a loss by a hundredth. It takes ten
minutes of a core.
"""

from dataclasses import asdict

import measure
import torch
from version_comparison import RANKS, RUN, SEEDS, best_rows, job_of, kept

from rwkv_book import results

OFFICIAL = {"eps": 1e-18, "weight_decay": 1e-3}
OPTIMIZERS = {"ours": {}, "official": OFFICIAL}
VERSIONS = ("6",)


def rows():
    """A row for each seed and optimizer, at the best rate on record."""
    made, recorded = kept(RUN), results.of("version-comparison")[-1]["rows"]
    return [
        {
            "optimizer": name,
            **made.row({**job_of(row), "seed": seed, **settings}),
        }
        for row in best_rows(recorded)
        if row["version"] in VERSIONS
        for name, settings in OPTIMIZERS.items()
        for seed in range(SEEDS)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure.record("official-optimizer", "cpu", rows(), run=asdict(RUN), ranks=RANKS)
