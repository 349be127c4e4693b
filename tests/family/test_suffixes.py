"""The automaton says what looking through the whole text says."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rwkv_book.family.suffixes import Automaton, followed, written_on


def by_looking(tokens):
    """The longest ending that was there before, and what followed it the last time."""
    found = []
    for place in range(1, len(tokens) + 1):
        said = None, 0
        for length in range(place - 1, 0, -1):
            ending = tokens[place - length : place]
            starts = [
                at for at in range(place - length) if tokens[at : at + length] == ending
            ]
            if starts:
                said = tokens[starts[-1] + length], length
                break
        found.append(said)
    return found


@given(some.lists(some.integers(0, 2), max_size=40))
def test_it_says_what_looking_through_the_text_says(tokens):
    assert followed(tokens) == by_looking(tokens)


@pytest.mark.parametrize("letters", ["a", "ab", "abcdefghijklmnop"])
def test_it_does_so_in_longer_texts(letters):
    draw = random.Random(0)
    text = "".join(draw.choice(letters) for _ in range(150))
    assert followed(text) == by_looking(text)


def test_it_has_at_most_two_places_for_each_token():
    """And of abbb... it has that many."""
    for text in ("a" * 50, "ab" * 25, "a" + "b" * 49):
        automaton = Automaton()
        for letter in text:
            automaton.read(letter)
        assert 50 < len(automaton.edges) <= 2 * 50


@pytest.mark.parametrize("count", [1, 64, 1000])
def test_pairs_are_all_recalled(count):
    """Keys and values never meet otherwise, so one token of a key is enough."""
    keys = random.Random(1).sample(range(10_000), count)
    text = [token for key in keys for token in (key, -key - 1)]
    automaton = Automaton()
    for token in text:
        automaton.read(token)
    for key in reversed(keys):
        assert automaton.read(key)[0] == -key - 1


def test_it_writes_on_until_it_has_nothing_to_say():
    assert written_on("abcab", 4) == list("cabc")
    assert written_on("abc", 4) == []
