"""What one process of two hears when the other is lost."""

import pytest

from rwkv_book.parallel import lose_a_rank


def test_a_rank_that_dies_is_noticed_long_before_patience_ends():
    found = lose_a_rank("dies", patience=30)
    assert found.seconds < 10 and "another process was lost" in found.said
    assert "they go on from the last checkpoint" in found.said


def test_a_rank_that_hangs_is_noticed_when_patience_ends():
    found = lose_a_rank("hangs", patience=2)
    assert 2 <= found.seconds < 10 and "Timed out" in found.said


def test_another_way_to_be_lost_is_refused():
    with pytest.raises(ValueError, match="how must be 'dies' or 'hangs', got 'sulks'"):
        lose_a_rank("sulks")
