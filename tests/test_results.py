"""The records of what was measured, as a chapter asks for them."""

import pytest

from rwkv_book import results


def test_a_question_has_its_records():
    for record in results.of("ablations"):
        assert record["question"] == "ablations"
        assert {"device", "date", "commit", "versions", "rows"} <= set(record)


def test_the_beginning_of_a_question_is_enough():
    found = {record["question"] for record in results.of("operator-forms")}
    assert found and all(name.startswith("operator-forms-") for name in found)
    assert all("rows" in record for record in results.of(""))


def test_a_question_that_was_not_asked_is_refused_with_those_that_were():
    with pytest.raises(LookupError, match=r"begins with 'speed'; there are ablations,"):
        results.of("speed")


def test_chunks_gain_little_where_channels_are_few_and_lose_where_they_are_many():
    for record in results.of("chunks"):
        if not record["device"].endswith("threads"):
            continue
        for row in record["rows"]:
            few = row["(B,T,C)"] == "1,4096,16"
            if row["chunks"] in ("2", "4", "16"):
                ratio = row["× one chunk"]
                assert 0.9 < ratio < 1 if few else 1.15 < ratio < 1.45
