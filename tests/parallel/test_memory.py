"""What a training step keeps, in closed form and counted; and what is recomputed."""

import copy
import weakref

import pytest
import torch
from helpers.comparison import near
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from rwkv_book.parallel import Recomputed, activation_bytes, zero_bytes
from rwkv_book.rwkv4.model import RWKV, Config


def network(layers=3, width=8, recomputed=False):
    """In double precision, with random weights everywhere: zeros hide what is wrong."""
    torch.manual_seed(0)
    found = RWKV(Config(66, layers, width)).double()
    for weights in found.parameters():
        weights.data += 0.3 * torch.randn_like(weights)
    if recomputed:
        found.blocks = torch.nn.ModuleList(map(Recomputed, found.blocks))
    return found


def tokens(batch=2, length=16):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(66, (batch, length + 1), generator=generator)


def gradients(model, inputs):
    """Of two stretches of a text, the second from the state of the first."""
    nats, state = 0.0, None
    for part in (inputs[:, :9], inputs[:, 8:]):
        logits, state = model(part[:, :-1], state)
        nats = nats + cross_entropy(logits.mT, part[:, 1:], reduction="sum")
    nats.backward()
    return [weights.grad for weights in model.parameters()]


def test_recomputed_blocks_have_the_gradients_of_those_that_keep_everything():
    """Also of a state, through which the first stretch learns from the second."""
    pairs = zip(
        gradients(network(recomputed=True), tokens()),
        gradients(network(), tokens()),
        strict=True,
    )
    for ours, theirs in pairs:
        near(ours, theirs)


class TheirRecomputed(Recomputed):
    """The same by PyTorch's own function."""

    def forward(self, x, state):
        return checkpoint(self.block, x, state, use_reentrant=False)


def test_recomputing_does_what_the_function_of_pytorch_does():
    theirs = network()
    theirs.blocks = torch.nn.ModuleList(map(TheirRecomputed, theirs.blocks))
    for one, other in zip(
        gradients(network(recomputed=True), tokens()),
        gradients(theirs, tokens()),
        strict=True,
    ):
        near(one, other)


def test_recomputing_keeps_little_more_than_what_goes_into_each_block():
    kept = activation_bytes(network(width=32, recomputed=True), tokens())
    inputs = 2 * 16 * 32 * 3 * 8  # B T C L, 8 bytes each
    assert inputs < kept < activation_bytes(network(width=32), tokens()) / 5


def test_activations_grow_with_the_batch_the_length_and_the_layers():
    one = activation_bytes(network(), tokens())
    assert activation_bytes(network(), tokens(batch=4)) == pytest.approx(2 * one, 0.02)
    assert activation_bytes(network(), tokens(length=32)) == pytest.approx(
        2 * one, 0.05
    )
    more = [activation_bytes(network(layers), tokens()) for layers in (3, 4, 5)]
    assert more[2] - more[1] == more[1] - more[0] > 0


def test_counting_leaves_no_gradient_and_changes_no_weight():
    model = network()
    before = copy.deepcopy(model.state_dict())
    activation_bytes(model, tokens())
    assert all(weights.grad is None for weights in model.parameters())
    assert all(map(torch.equal, before.values(), model.state_dict().values()))


def test_the_stages_of_zero_share_averages_then_gradients_then_weights():
    assert [zero_bytes(100, 4, stage) for stage in range(4)] == [1600, 700, 550, 400]
    assert zero_bytes(100, 1, 3) == 1600


def test_a_stage_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="stage must be 0, 1, 2 or 3, got 4"):
        zero_bytes(100, 4, 4)


def test_nothing_is_kept_when_it_has_been_counted():
    """A graph whose tensors were handed back as they are would hold itself."""
    counted = network()
    weight = weakref.ref(counted.head.weight)
    activation_bytes(counted, tokens())
    del counted
    assert weight() is None
