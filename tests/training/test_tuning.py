"""What is trained in each way is what it says, and at first nothing is changed."""

import pytest
import torch
from helpers.later import random_later

from rwkv_book.training import Run, fit, tuning
from rwkv_book.training.versions import read_model

WAYS = {
    "first state": tuning.first_state,
    "low rank": lambda model: tuning.low_rank(model, 3),
    "whole": tuning.whole,
}
NUMBERS = {
    "first state": 2 * 2 * 16 * 16,
    "low rank": 2 * 3 * (4 * (32 + 32) + 2 * (32 + 128)),
}
RUN = Run(steps=4, warm_up=1, batch=2, length=16, learning_rate=1e-2, version="7")
TOKENS = torch.tensor([[1, 2, 3, 4, 5, 6]])
every_way = pytest.mark.parametrize("way", WAYS)
every_version = pytest.mark.parametrize("version", ["5.2", "6", "7"])


@pytest.fixture
def model(version, tmp_path):
    tensors = random_later(version, width=32, size=16, vocabulary=256)
    torch.save(tensors, tmp_path / "model.pth")
    return read_model(tmp_path / "model.pth")


@every_way
@every_version
def test_a_prepared_model_says_what_it_said(model, way):
    before, _ = model(TOKENS)
    after, _ = WAYS[way](model)(TOKENS)
    torch.testing.assert_close(after, before)


@every_way
@every_version
def test_fit_moves_what_it_says_and_nothing_else(model, way):
    prepared = WAYS[way](model)
    before = {name: x.clone() for name, x in prepared.state_dict().items()}
    data = torch.arange(200).remainder(11).to(torch.uint8).numpy()
    list(fit(prepared, RUN, data))
    moved = {
        name
        for name, x in prepared.state_dict().items()
        if not torch.equal(x, before[name])
    }
    assert moved == set(tuning.moved(prepared))


@pytest.mark.parametrize("version", ["7"])
@pytest.mark.parametrize("way", NUMBERS)
def test_the_numbers_are_those_of_the_formula(model, way):
    assert tuning.trained_numbers(WAYS[way](model)) == NUMBERS[way]


@pytest.mark.parametrize("version", ["7"])
def test_all_weights_are_all_weights(model):
    wanted = sum(x.numel() for x in model.parameters())
    assert tuning.trained_numbers(tuning.whole(model)) == wanted


@pytest.mark.parametrize("version", ["7"])
def test_a_low_rank_is_added_to_what_the_matrix_says(model):
    block = tuning.low_rank(model, 3).blocks[1]
    key = block.channel_mix.key
    torch.nn.init.normal_(key.down)
    x = torch.randn(5, 32)
    merged = key.matrix.weight + (key.down @ key.up).T
    torch.testing.assert_close(key(x), x @ merged.T, rtol=1e-4, atol=1e-4)
    assert torch.linalg.matrix_rank(key.down @ key.up) == 3
