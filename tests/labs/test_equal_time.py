"""In equal time: what is trained for it, and what chapter 8 says of the record."""

from dataclasses import replace

import equal_time
import numpy as np
from training_comparison import BUDGETS

from rwkv_book import results


def test_both_read_two_texts_at_their_own_rates_and_steps(tmp_path):
    budget = replace(BUDGETS["tiny"], held_out=20)
    steps = {"rwkv": 2, "lstm": 3}
    found = equal_time.rows(budget, "prose", steps, (3,), tmp_path)
    assert [(row["contender"], row["steps"]) for row in found] == [*steps.items()]
    assert [row["learning_rate"] for row in found] == [0.016, 0.064]
    assert all(row["held_out_loss"] != row["further_on_loss"] for row in found)


def test_the_record_says_what_chapter_8_says():
    (record,) = results.of("equal-time")
    known = next(
        each for each in results.of("training-comparison") if each["budget"] == "cpu"
    )
    first = {
        (row["contender"], row["length"]): np.array(row["held_out_loss"]["seeds"])
        for row in known["rows"]
    }
    more = {
        text: np.subtract(
            *(
                [row[text] for row in record["rows"] if row["contender"] == name]
                for name in ("lstm", "rwkv")
            )
        )
        for text in ("held_out_loss", "further_on_loss")
    }
    six = [*(first["lstm", "long"] - first["rwkv", "short"]), *more["held_out_loss"]]
    half = 2.57 * np.std(six, ddof=1) / 6**0.5
    assert -0.02 < np.mean(six) < -half
    further = more["further_on_loss"]
    assert abs(np.mean(further)) < 4.30 * np.std(further, ddof=1) / 3**0.5
