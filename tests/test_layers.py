"""What networks share: the same step, the same refusals, states layer by layer."""

from types import SimpleNamespace

import pytest
import torch

from rwkv_book import layers, rnn, transformer
from rwkv_book.labs import contenders
from rwkv_book.rwkv4 import model

NETWORKS = {
    "RWKV": model.RWKV(model.Config(11, 2, 8)),
    "LSTM": rnn.LSTM(rnn.Config(11, 2, 8)),
    "GPT": transformer.GPT(transformer.Config(11, 2, 8, 2)),
    "AFT": contenders.AFT(transformer.Config(11, 2, 8, 1)),
}
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


@every_network
@pytest.mark.parametrize("shape", [(3,), (2, 0), (1, 2, 3)])
def test_tokens_of_a_wrong_shape_are_refused_in_the_same_words_by_all(network, shape):
    with pytest.raises(ValueError) as caught:
        network(torch.zeros(shape, dtype=torch.long))
    expected = f"tokens must be (B,T) with T at least 1, got {shape}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["RWKV", "LSTM", "AFT"])
def test_a_state_of_a_wrong_shape_is_refused_in_the_same_words_by_all(name):
    network, tokens = NETWORKS[name], torch.zeros(2, 3, dtype=torch.long)
    _, state = network(tokens)
    for wrong in (state[:1], state[:, :1], state[..., :5], state.flatten()):
        with pytest.raises(
            ValueError, match=r"^state must be \(B,L,.*\) = \(2, 2, .*got"
        ):
            network(tokens, wrong)


def test_all_sizes_that_are_too_small_are_named_at_once():
    config = SimpleNamespace(layers=0, width=1, heads=3)
    sentence = "layers must be at least 1, got 0; width must be at least 2, got 1"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        layers.sizes_at_least(config, layers=1, width=2, heads=3)
    layers.sizes_at_least(config, layers=0, width=1, heads=3)


def test_each_block_gets_its_own_part_of_the_state():
    def block(x, state):
        assert state is None or state.shape == (2, 4)
        return x + 1, (0 if state is None else state) + x[:, 0]

    blocks, x = [block] * 3, torch.zeros(2, 5, 4)
    out, state = layers.through(blocks, x, None)
    assert torch.equal(out, x + 3)
    assert state.shape == (2, 3, 4) and state[1, :, 0].tolist() == [0, 1, 2]
    _, state = layers.through(blocks, x, 10 * state)
    assert state[1, :, 0].tolist() == [0, 11, 22]


def test_a_shift_gives_each_token_the_one_before_it():
    x, first = torch.arange(6.0).view(1, 3, 2), torch.tensor([[7.0, 8.0]]).double()
    shifted = layers.shift(x, first)
    assert shifted.dtype == x.dtype
    assert shifted.tolist() == [[[7, 8], [0, 1], [2, 3]]]


def test_sums_get_the_digits_of_float32_at_least():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert (
            layers.at_least_float32(torch.ones(1, dtype=dtype)).dtype == torch.float32
        )
    exact = torch.ones(1, dtype=torch.float64)
    assert layers.at_least_float32(exact).dtype == torch.float64
