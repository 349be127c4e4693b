"""What the record says of large models is what their configurations say today."""

import in_production
import pytest

from rwkv_book import results
from rwkv_book.family import portraits


def test_the_record_is_what_the_installed_configurations_say():
    (record,) = results.of("in-production")
    if record["transformers"] != in_production.version("transformers"):
        pytest.fail("run benchmarks/in_production.py again: transformers is another")
    assert record["rows"] == in_production.rows()


def test_all_that_they_use_are_members_of_the_family():
    known = {member.name for member in portraits.MEMBERS}
    assert {row["member"] for row in in_production.rows()} <= known


def test_layers_with_a_table_and_with_attention_are_all_layers():
    for row in in_production.rows():
        both = row["with a table"] + row["with attention"]
        assert both >= row["layers"] >= max(row["with a table"], row["with attention"])
        assert row["with a table"] > 0


def test_what_the_chapter_says_of_them():
    """Six of thirteen take something out, none without attention; Olmo doubles."""
    rows = in_production.rows()
    deltas = [row for row in rows if "Delta" in row["member"]]
    assert (len(deltas), len(rows)) == (6, 13)
    assert all(row["with attention"] for row in deltas)
    assert [row["model"] for row in rows if row["double rate"]] == ["Olmo Hybrid"]
