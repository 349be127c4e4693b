"""Readers side by side are readers alone, whatever the others read, in any order."""

import numpy as np
import pytest
import torch
from helpers.later import random_later
from helpers.random_model import random_model

from rwkv_book import readers
from rwkv_book.training.versions import read_model

every_version = pytest.mark.parametrize("version", ["4", "5.2", "6", "7"])
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def network(version, tmp_path):
    if version == "4":
        return random_model()
    path = tmp_path / "model.pth"
    torch.save(random_later(version, width=32, size=16), path)
    return read_model(path).requires_grad_(False)


def texts(count, longest=9):
    random = np.random.default_rng(0)
    return [random.integers(0, 11, random.integers(1, longest)).tolist()
            for _ in range(count)]  # fmt: skip


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@every_version
def test_each_text_is_read_to_its_own_end(network):
    some = [*texts(7), [3], [3, 4, 5]]
    _, beginning = network(torch.tensor([[1, 2]]))
    for state in (None, beginning):
        for batch in (2, 64):
            logits, states = readers.read_each(network, some, state, batch)
            for n, text in enumerate(some):
                alone, after = network(torch.tensor([text]), state)
                assert_same((logits[n], states[n]), (alone[0, -1], after[0]))


@every_version
def test_each_goes_on_from_a_state_of_its_own(network):
    first = texts(5)
    _, states = readers.read_each(network, first)
    logits, after = readers.read_each(
        network, [[7, 8], [9], [1], [2, 3, 4], [5]], states
    )
    for n, rest in enumerate([[7, 8], [9], [1], [2, 3, 4], [5]]):
        alone, state = network(torch.tensor([first[n] + rest]))
        assert_same((logits[n], after[n]), (alone[0, -1], state[0]))


@every_version
def test_thirty_who_share_a_prompt_never_hear_each_other(network):
    """They answer in turns, in groups that change with every token."""
    _, prompt = network(torch.tensor([[1, 2, 3, 4, 5]]))
    before, some = prompt.clone(), [text + [6] * 9 for text in texts(30)]
    states, random = readers.fork(prompt, 30), np.random.default_rng(1)
    said, at = [[] for _ in some], [0] * 30
    while min(at) < 5:
        group = random.permutation(30)[: random.integers(1, 30)]
        tokens = torch.tensor([[some[n][at[n]]] for n in group])
        logits, states[group] = network(tokens, states[group])
        for row, n in enumerate(group):
            said[n].append(logits[row, 0])
            at[n] += 1
            if at[n] == len(some[n]):
                some[n] = some[n] + [0]
    for n in range(30):
        alone, _ = network(torch.tensor([some[n][: at[n]]]), prompt)
        torch.testing.assert_close(torch.stack(said[n]), alone[0], **CLOSE)
    assert torch.equal(prompt, before)


def test_writing_into_one_copy_leaves_the_others():
    state = torch.ones(1, 2, 3)
    copies = readers.fork(state, 3)
    copies[1] += 1
    assert state.sum() == 6 and copies.sum() == 18 + 6
    assert not torch.equal(copies[0], copies[1])


@pytest.mark.parametrize("version", ["7"])
def test_an_empty_text_is_refused(network):
    with pytest.raises(ValueError, match="a text is empty"):
        readers.read_each(network, [[1], []])
