"""Closed forms of cost for RWKV-5.2, 6 and 7: equal to the models that can be trained.

What nobody here wrote is PyTorch's counter of FLOPs.
"""

import math
from importlib import import_module

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from rwkv_book import cost
from rwkv_book.cost import ACCELERATORS, RWKV4, RWKV7, Shape5, Shape6, Shape7
from rwkv_book.family.equation import table_recurrent

MODEL = {v: import_module(f"rwkv_book.rwkv{v}.model") for v in "567"}
PARAMETERS = {
    "5": cost.rwkv5_parameters,
    "6": cost.rwkv6_parameters,
    "7": cost.rwkv7_parameters,
}
MATRICES = {
    "5": cost.rwkv5_matrix_parameters,
    "6": cost.rwkv6_matrix_parameters,
    "7": cost.rwkv7_matrix_parameters,
}
FLOPS = {
    "5": cost.rwkv5_forward_flops_per_token,
    "6": cost.rwkv6_forward_flops_per_token,
    "7": cost.rwkv7_forward_flops_per_token,
}
SHAPES = [
    ("5", Shape5(11, 2, 16, 56, 8)),
    ("5", Shape5(29, 3, 24, 40, 4)),
    ("5", Shape5(300, 1, 64, 224)),
    ("6", Shape6(11, 2, 16, 56, 8, 4, 6)),
    ("6", Shape6(29, 3, 24, 40, 4, 7, 3)),
    ("6", Shape6(300, 1, 64, 224)),
    ("7", Shape7(11, 2, 16, 64, 8, 3, 4, 5, 6)),
    ("7", Shape7(29, 3, 24, 40, 4, 9, 7, 2, 5)),
    ("7", Shape7(300, 1, 64, 256, 16, 2, 3, 4, 5)),
]
every_shape = pytest.mark.parametrize(("version", "shape"), SHAPES)


def model_of(version, shape, wkv=None, device="cpu"):
    with torch.device(device):
        return MODEL[version].RWKV(MODEL[version].Config(*shape), wkv)


def numbers(model):
    return sum(parameter.numel() for parameter in model.parameters())


@every_shape
def test_parameters_are_those_of_the_model(version, shape):
    model = model_of(version, shape, device="meta")
    assert numbers(model) == PARAMETERS[version](shape)
    assert PARAMETERS[version](model.config) == PARAMETERS[version](shape)
    by_head = ("bonus", "log_decay_rate")  # vectors, with an axis for heads
    matrices = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1 and not name.endswith((*by_head, "embedding.weight"))
    ]
    assert sum(p.numel() for p in matrices) == MATRICES[version](shape)


@pytest.mark.parametrize("size", RWKV7)
def test_parameters_are_those_of_the_published_sizes(size):
    shape = RWKV7[size]
    found = numbers(model_of("7", shape, device="meta"))
    assert found == cost.rwkv7_parameters(shape)
    named = {"0.1B": 191.08, "0.4B": 450.83, "1.5B": 1527.7, "2.9B": 2948}
    unread = shape.width * (2 * shape.value_rank + 1)  # in the files of some
    assert (found + unread) / 1e6 == pytest.approx(named[size], abs=0.05, rel=1e-4)


class Pointwise(TorchDispatchMode):
    """Counts what adds or multiplies numbers one by one, if the result is a table."""

    def __init__(self, table):
        super().__init__()
        self.table, self.flops = table, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in ("add", "mul", "sub") and out.shape[-2:] == self.table:
            self.flops += out.numel()
        return out


@every_shape
def test_a_table_takes_what_a_step_of_the_recurrence_takes(version, shape):
    heads, size = shape.width // shape.head_size, shape.head_size
    parts = [torch.rand(1, 1, heads, size) for _ in range(6)]
    state = torch.zeros(1, heads, size, size)
    arguments = parts if version == "7" else parts[:4]
    with Pointwise((size, size)) as pointwise, FlopCounterMode(display=False) as read:
        table_recurrent(-arguments[0], *arguments[1:], state=state)
    counted = shape.layers * (pointwise.flops + read.get_total_flops())
    assert counted == cost.table_flops_per_token(shape, corrects=version == "7")


@every_shape
def test_matrix_products_are_those_that_pytorch_counts(version, shape):
    """Exactly: what it can't see are the decay, the writing and the erasing."""
    model = model_of(version, shape, table_recurrent)
    tokens = torch.randint(shape.vocabulary, (2, 17))
    with FlopCounterMode(display=False) as forward:
        model(tokens)
    counted = forward.get_total_flops() / tokens.numel()
    unseen = (5 if version == "7" else 3) * shape.head_size
    unseen *= shape.width * shape.layers
    assert counted + unseen == FLOPS[version](shape) == FLOPS[version](model.config)


@every_shape
def test_state_bytes_are_those_of_the_model(version, shape):
    state = model_of(version, shape).initial_state()
    assert state.nbytes == cost.table_state_bytes(shape)


@pytest.mark.parametrize("size", RWKV7)
def test_the_state_is_as_large_as_the_cache_of_66_tokens(size):
    shape = RWKV7[size]
    assert cost.table_state_bytes(shape) == cost.kv_cache_bytes(shape, tokens=66)
    assert cost.table_break_even_tokens(shape) == 66
    assert cost.table_break_even_tokens(shape, cache_bytes_per_number=4) == 33
    assert cost.table_break_even_tokens(shape._replace(head_size=128)) == 130


def test_published_sizes_have_states_of_two_to_twenty_mebibytes():
    kib = {size: cost.table_state_bytes(RWKV7[size]) / 1024 for size in RWKV7}
    assert kib == {"0.1B": 2376, "0.4B": 6336, "1.5B": 12_672, "2.9B": 21_120}


def test_moving_tables_in_and_out_takes_longer_than_the_arithmetic():
    """On an H100, in all published sizes; RWKV-4 turns to compute at some batch."""
    h100 = ACCELERATORS["H100"]
    for shape in RWKV7.values():
        step = cost.rwkv7_step(shape)
        assert step.compute_bound_batch(h100) == math.inf
        assert step.seconds(10**5, h100) == step.memory_seconds(10**5, h100)
    assert cost.rwkv_step(RWKV4["3B"]).compute_bound_batch(h100) < 1000
    step = cost.rwkv7_step(RWKV7["0.1B"], bytes_per_number=4)
    assert step.weight_bytes == 4 * (PARAMETERS["7"](RWKV7["0.1B"]) - 65536 * 768)
