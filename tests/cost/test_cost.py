"""Closed forms of cost: equal to real models, to the paper's table, and to the page.

What nobody here wrote are GPT-2 from `transformers` and PyTorch's counter of FLOPs.
"""

import ast
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

from rwkv_book import cost, rnn, transformer
from rwkv_book.cost import ACCELERATORS, RWKV4, Shape
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import FORMS
from rwkv_book.transformer import GPT

SHAPES = {
    "small": Shape(11, 2, 8, 32),
    "hidden not 4 C": Shape(29, 3, 10, 24),
    "wide vocabulary": Shape(300, 1, 16, 64),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def flops_of(run):
    """The FLOPs of the matrix products of forward and backward, as PyTorch counts."""
    with FlopCounterMode(display=False) as forward:
        out = run()
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


def gpt2(shape, positions=64):
    config = GPT2Config(
        vocab_size=shape.vocabulary,
        n_layer=shape.layers,
        n_embd=shape.width,
        n_inner=shape.hidden,
        n_head=2,
        n_positions=positions,
        attn_implementation="eager",
    )
    return GPT2LMHeadModel(config)


# Parameters


@every_shape
def test_parameters_are_those_of_the_model(shape):
    model = RWKV(Config(*shape))
    found = sum(parameter.numel() for parameter in model.parameters())
    assert found == cost.rwkv_parameters(shape) == cost.rwkv_parameters(model.config)
    matrices = {model.head, *(m for m in model.modules() if type(m) is torch.nn.Linear)}
    found = sum(matrix.weight.numel() for matrix in matrices)
    assert found == cost.rwkv_matrix_parameters(shape)
    assert model.embedding.weight.numel() == cost.embedding_parameters(shape)


@pytest.mark.parametrize("size", RWKV4)
def test_parameters_are_those_of_the_published_sizes(size):
    v, layers, c, f = RWKV4[size]
    assert f == 4 * c
    expected = 2 * v * c + 13 * c**2 * layers + c * (11 * layers + 4)
    assert cost.rwkv_parameters(RWKV4[size]) == expected
    with torch.device("meta"):
        model = RWKV(Config(v, layers, c))
    assert sum(p.numel() for p in model.parameters()) == expected


@every_shape
@pytest.mark.parametrize("positions", [8, 64])
def test_parameters_of_the_transformer_are_those_of_gpt2_and_ours(shape, positions):
    v, layers, c, f = shape
    models = {
        gpt2(shape, positions): positions,
        GPT(transformer.Config(v, layers, c, 1, positions, f)): positions,
        GPT(transformer.Config(v, layers, c, 1, None, f)): 0,
    }
    for model, learned in models.items():
        found = sum(parameter.numel() for parameter in model.parameters())
        assert found == cost.gpt_parameters(shape, learned)


# FLOPs


@every_shape
@pytest.mark.parametrize("form", FORMS)
def test_matrix_products_are_those_that_pytorch_counts(shape, form):
    """Exactly: the operator and everything else has no matrix product in any form."""
    model = RWKV(Config(*shape), wkv=FORMS[form])
    tokens = torch.randint(shape.vocabulary, (2, 17))
    forward, backward = flops_of(lambda: model(tokens)[0])
    per_token = cost.rwkv_forward_flops_per_token(shape)
    assert forward == per_token * tokens.numel()
    both = cost.training_flops_per_token(per_token)
    assert forward + backward == both * tokens.numel()


@every_shape
def test_matrix_products_of_the_transformer_are_those_that_pytorch_counts(shape):
    """GPT-2 computes all pairs and hides half of them: the context is the length."""
    model = gpt2(shape)
    tokens = torch.randint(shape.vocabulary, (2, 17))
    forward, backward = flops_of(lambda: model(tokens, use_cache=False).logits)
    per_token = cost.gpt_forward_flops_per_token(shape, context=17)
    assert forward == per_token * tokens.numel()
    both = cost.training_flops_per_token(per_token)
    assert forward + backward == both * tokens.numel()


class Counting(np.ndarray):
    """An array that counts the elements of every operation; scalars are free.

    Into `counts`, which its parts and what is computed from it count into as well.
    """

    def __array_finalize__(self, whole):
        self.counts = getattr(whole, "counts", None)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        plain = [np.asarray(x) if isinstance(x, Counting) else x for x in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            self.counts["products"] += 2 * np.size(plain[0])
        elif max(map(np.size, plain)) > 1:
            self.counts["pointwise"] += max(map(np.size, plain))
        return counting(result, self.counts)


def counting(values, counts):
    array = np.asarray(values).view(Counting)
    array.counts = counts
    return array


@every_shape
def test_everything_else_is_what_minimal_computes(shape):
    model, counts = RWKV(Config(*shape)), Counter()
    params = {
        name: counting(tensor.detach(), counts)
        for name, tensor in model.named_parameters()
    }
    state = counting(minimal.initial_state(params), counts)
    minimal.step(1, state, params)
    assert counts["products"] == cost.rwkv_forward_flops_per_token(shape)
    assert counts["pointwise"] == cost.rwkv_pointwise_flops_per_token(shape)


TABLE_2 = {  # arXiv 2305.13048: parameters, and forward FLOPs per token
    "169M": ("1.693e+08", "2.613e+08"),
    "430M": ("4.304e+08", "7.573e+08"),
    "1.5B": ("1.515e+09", "2.823e+09"),
    "3B": ("2.985e+09", "5.710e+09"),
    "7B": ("7.393e+09", "1.437e+10"),
    "14B": ("1.415e+10", "2.778e+10"),
}


@pytest.mark.parametrize("size", TABLE_2)
def test_table_2_of_the_paper_comes_out_to_its_printed_digits(size):
    shape = RWKV4[size]
    numbers = cost.rwkv_parameters(shape), cost.rwkv_forward_flops_per_token(shape)
    assert tuple(f"{number:.3e}" for number in numbers) == TABLE_2[size]


@pytest.mark.parametrize("size", RWKV4)
def test_what_is_no_matrix_product_is_less_than_half_a_percent(size):
    rest = cost.rwkv_pointwise_flops_per_token(RWKV4[size])
    assert 0 < rest < 0.005 * cost.rwkv_forward_flops_per_token(RWKV4[size])


# Hours and money


def test_the_article_of_2023_comes_out():
    flops = cost.training_flops(14e9, 300e9)
    peak = ACCELERATORS["A100"].flops_per_second
    ideal = cost.gpu_hours(flops, peak)
    assert f"{flops:.2e}" == "2.52e+22"
    assert round(ideal) == 22_436
    actual = 64 * 91.25 * 24
    assert actual == 140_160
    share = cost.utilisation(flops, peak, actual)
    assert f"{share:.1%}" == "16.0%"
    assert math.isclose(cost.gpu_hours(flops, peak, share), actual)
    for price, first, half in ((0.79, 110_726, 35_449), (4.096, 574_095, 183_795)):
        assert round(cost.dollars(actual, price)) == first
        assert round(cost.dollars(cost.gpu_hours(flops, peak, 0.5), price)) == half


# Memory


@every_shape
def test_state_bytes_are_those_of_the_model_and_of_minimal(shape):
    model = RWKV(Config(*shape))
    _, state = model(torch.randint(shape.vocabulary, (1, 5)))
    assert state.nbytes == cost.rwkv_state_bytes(shape)
    params = {name: t.detach().numpy() for name, t in model.named_parameters()}
    assert minimal.initial_state(params).nbytes == cost.rwkv_state_bytes(shape)


@every_shape
def test_cache_bytes_are_those_of_gpt2(shape):
    cache = gpt2(shape)(torch.ones(1, 7, dtype=torch.long)).past_key_values
    found = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert found == cost.kv_cache_bytes(shape, tokens=7, bytes_per_number=4)


@pytest.mark.parametrize("size", RWKV4)
def test_the_state_is_as_large_as_the_cache_of_five_tokens(size):
    shape = RWKV4[size]
    assert cost.rwkv_state_bytes(shape) == cost.kv_cache_bytes(shape, tokens=5)
    assert cost.break_even_tokens(shape) == 5
    assert cost.break_even_tokens(shape, cache_bytes_per_number=4) == 2.5


@every_shape
def test_state_bytes_of_an_lstm_are_those_of_the_model(shape):
    lstm = rnn.LSTM(rnn.Config(shape.vocabulary, shape.layers, shape.width))
    _, state = lstm(torch.randint(shape.vocabulary, (1, 5)))
    assert state.nbytes == cost.lstm_state_bytes(shape)


def test_a_step_reads_all_weights_but_a_table_without_arithmetic():
    shape = RWKV4["169M"]
    read = cost.rwkv_step(shape, bytes_per_number=4).weight_bytes
    assert f"{read / 1e6:.1f} MB" == "522.9 MB"
    assert read == 4 * (cost.rwkv_parameters(shape) - 50277 * 768)
    assert cost.gpt_step(shape, 1, 4).weight_bytes == 4 * cost.gpt_parameters(shape)


# Generating text


@pytest.mark.parametrize("accelerator", ACCELERATORS.values(), ids=ACCELERATORS)
@pytest.mark.parametrize("size", RWKV4)
def test_at_its_batch_a_step_turns_from_memory_to_compute(size, accelerator):
    step = cost.rwkv_step(RWKV4[size])
    batch = step.compute_bound_batch(accelerator)
    both = step.memory_seconds(batch, accelerator)
    assert math.isclose(step.compute_seconds(batch, accelerator), both)
    assert step.seconds(1, accelerator) == step.memory_seconds(1, accelerator)
    more = step.seconds(2 * batch, accelerator)
    assert more == step.compute_seconds(2 * batch, accelerator)


def test_without_a_state_the_batch_is_peak_over_bandwidth():
    """2 FLOPs for each 2-byte weight: FLOPs per byte that the hardware can do."""
    step = cost.Step(flops=2e9, weight_bytes=2e9, sequence_bytes=0)
    for peak, bandwidth, _ in ACCELERATORS.values():
        accelerator = cost.Accelerator(peak, bandwidth, 0)
        assert math.isclose(step.compute_bound_batch(accelerator), peak / bandwidth)


def test_with_a_long_cache_no_batch_is_large_enough():
    gpt, short = (cost.gpt_step(RWKV4["14B"], n) for n in (100_000, 10))
    assert gpt.compute_bound_batch(ACCELERATORS["H100"]) == math.inf
    assert math.isfinite(short.compute_bound_batch(ACCELERATORS["H100"]))
    batch = 10**6
    seconds = gpt.seconds(batch, ACCELERATORS["H100"])
    assert seconds == gpt.memory_seconds(batch, ACCELERATORS["H100"])


def test_a_million_tokens_at_a_thousand_a_second_take_a_thousand_seconds():
    assert math.isclose(cost.dollars_per_million_tokens(3.6, 1000), 1.0)


def test_cost_is_plain_python():
    """It imports itself and two modules of the standard library: no model, no torch."""
    for path in Path(cost.__file__).parent.glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        names |= {
            a.name for node in nodes if isinstance(node, ast.Import) for a in node.names
        }
        ours = {name for name in names if name.startswith("rwkv_book.cost.")}
        assert names - ours <= {"math", "typing"}, path.name


def test_a_room_tells_its_files_and_what_they_hold():
    for path in Path(cost.__file__).parent.glob("[!_]*.py"):
        assert f"\n    {path.stem} " in cost.__doc__
    for name in cost.__all__:
        assert hasattr(cost, name)
