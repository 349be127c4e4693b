"""Recurrent networks, held to PyTorch's own: outputs, states and gradients."""

import math

import pytest
import torch
from helpers.comparison import TOLERANCE, every_dtype, every_length, near
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence

from rwkv_book.rnn import (
    LSTM,
    Classifier,
    Config,
    LstmState,
    Params,
    Trunk,
    elman,
    elman_step,
    from_torch,
    lstm,
    lstm_step,
)

NETWORKS = {"elman": (elman, nn.RNN), "lstm": (lstm, nn.LSTM)}
every_network = pytest.mark.parametrize("name", NETWORKS)
both_starts = pytest.mark.parametrize("with_state", [False, True])


def network(name, dtype=torch.float64, **arguments):
    """One of our functions and a module of PyTorch with random weights."""
    function, kind = NETWORKS[name]
    torch.manual_seed(0)
    return function, kind(5, 7, batch_first=True, dtype=dtype, **arguments)


def inputs(name, length, with_state, dtype=torch.float64, scale=1):
    """x (2,T,5) and a state (2,7) or two, as a list of tensors with gradients."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(2, length, 5)] + [(2, 7)] * with_state * (1 + (name == "lstm"))
    tensors = [scale * torch.randn(shape, generator=generator) for shape in shapes]
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def state_of(fields):
    """What our functions take as a state: None, a tensor, or an LstmState."""
    return LstmState(*fields) if len(fields) == 2 else next(iter(fields), None)


def ours(function, params, x, *fields):
    out, state = function(x, params, state_of(fields))
    return out, *(state if isinstance(state, tuple) else (state,))


def theirs(module, x, *fields):
    state = tuple(field[None] for field in fields)  # PyTorch wants (L,B,C)
    out, state = module(x, state if len(state) == 2 else next(iter(state), None))
    state = state if isinstance(state, tuple) else (state,)
    return out, *(field[0] for field in state)


def gradients(results, tensors):
    """Of a sum that weighs every number of the results differently."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(result.shape, generator=generator) for result in results]
    total = sum((w * r).sum() for w, r in zip(weights, results, strict=True))
    return torch.autograd.grad(total, tensors)


@every_network
@every_length
@both_starts
@every_dtype
def test_outputs_states_and_gradients_are_those_of_pytorch(
    name, length, with_state, dtype
):
    function, module = network(name, dtype)
    tensors = inputs(name, length, with_state, dtype)
    found, expected = (
        ours(function, from_torch(module), *tensors),
        theirs(module, *tensors),
    )
    assert len(found) == len(expected) == 2 + (name == "lstm")
    wanted = [*tensors, *module.parameters()]
    pairs = [*zip(found, expected, strict=True)]
    pairs += zip(gradients(found, wanted), gradients(expected, wanted), strict=True)
    for one, other in pairs:
        assert one.dtype == dtype
        near(one, other, TOLERANCE[dtype])


@every_network
@pytest.mark.parametrize("scale", [30, 300])
def test_saturated_gates_are_no_exception(name, scale):
    function, module = network(name)
    tensors = inputs(name, 17, True, scale=scale)
    for found, expected in zip(
        ours(function, from_torch(module), *tensors),
        theirs(module, *tensors),
        strict=True,
    ):
        near(found, expected)


@every_network
def test_layers_are_stacked_by_hand(name):
    function, module = network(name, num_layers=2)
    (x,) = inputs(name, 17, False)
    middle, first = function(x, from_torch(module, layer=0))
    out, second = function(middle, from_torch(module, layer=1))
    expected, state = module(x)
    near(out, expected)
    last = (torch.stack(pair) for pair in zip(first, second, strict=True))
    if name == "lstm":
        for found, wanted in zip(last, state, strict=True):
            near(found, wanted)
    else:
        near(torch.stack([first, second]), state)


@every_network
def test_a_module_without_bias_has_a_bias_of_zero(name):
    function, module = network(name, bias=False)
    (x,) = inputs(name, 17, False)
    near(function(x, from_torch(module))[0], module(x)[0])


@every_network
def test_a_sequence_is_a_step_for_each_token(name):
    function, module = network(name)
    params, step = from_torch(module), {"elman": elman_step, "lstm": lstm_step}[name]
    x, *fields = inputs(name, 17, True)
    state = state_of(fields)
    expected, _ = function(x, params, state)
    for t in range(17):
        output, state = step(x[:, t], state, params)
        assert torch.equal(output, expected[:, t])


@every_network
@given(length=st.integers(2, 24), cut=st.floats(0, 1), with_state=st.booleans())
@settings(deadline=None, max_examples=25)
def test_split_anywhere_equals_whole(name, length, cut, with_state):
    function, module = network(name)
    params = from_torch(module)
    x, *fields = inputs(name, length, with_state)
    cut = 1 + int(cut * (length - 2))
    whole = ours(function, params, x, *fields)
    first, *between = ours(function, params, x[:, :cut], *fields)
    second, *after = ours(function, params, x[:, cut:], *between)
    near(torch.cat([first, second], dim=1), whole[0])
    for found, expected in zip(after, whole[1:], strict=True):
        near(found, expected)


@every_network
def test_a_token_changes_nothing_before_it(name):
    function, module = network(name)
    (x,) = inputs(name, 17, False)
    before, _ = function(x, from_torch(module))
    after, _ = function(x + 5 * (torch.arange(17) == 9)[:, None], from_torch(module))
    assert torch.equal(before[:, :9], after[:, :9])
    assert (before[:, 9:] != after[:, 9:]).any(dim=2).all()


def test_three_tokens_of_an_elman_cell_by_hand():
    params = Params(*(torch.tensor(x) for x in ([[1.0]], [[0.5]], [0.0])))
    out, state = elman(torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1), params)
    first = math.tanh(1)
    second = math.tanh(0.5 * first)
    third = math.tanh(-1 + 0.5 * second)
    torch.testing.assert_close(out.flatten().tolist(), [first, second, third])
    assert state == out[:, -1]


def test_an_open_forget_gate_keeps_a_cell_and_its_gradient_for_200_steps():
    """Bias +50 holds the forget gate at 1, and -50 the input gate at 0."""
    bias = torch.tensor([-50.0, 50.0, 0.0, 50.0], dtype=torch.float64)
    zero = torch.zeros(4, 1, dtype=torch.float64)
    cell = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    state = LstmState(torch.zeros_like(cell), cell)
    x = torch.ones(1, 200, 1, dtype=torch.float64)
    _, after = lstm(x, Params(zero, zero, bias), state)
    (gradient,) = torch.autograd.grad(after.cell, cell)
    near(after.cell, cell)
    near(gradient, torch.ones_like(cell))


def test_an_elman_cell_with_small_weights_forgets_by_that_factor_a_step():
    """Near 0, where tanh is the identity, 200 steps of 0.9 leave 0.9²⁰⁰ = 7e-10."""
    weights = torch.tensor([[0.0]]), torch.tensor([[0.9]]), torch.tensor([0.0])
    state = torch.zeros(1, 1, requires_grad=True)
    _, after = elman(torch.zeros(1, 200, 1), Params(*weights), state)
    (gradient,) = torch.autograd.grad(after, state)
    assert gradient.item() == pytest.approx(0.9**200, rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (nn.RNN, {"nonlinearity": "relu"}),
        (nn.RNN, {"bidirectional": True}),
        (nn.LSTM, {"proj_size": 3}),
        (nn.GRU, {}),
    ],
)
def test_a_module_that_is_another_function_is_refused(kind, arguments):
    with pytest.raises(ValueError, match="one direction, tanh and no projection"):
        from_torch(kind(5, 7, **arguments))


@pytest.mark.parametrize(
    ("function", "kind", "x", "state", "sentence"),
    [
        (elman, nn.RNN, (2, 5), None, r"x must be \(B,T,D\) .* got \(2, 5\)"),
        (lstm, nn.LSTM, (2, 0, 5), None, r"at least one token, got \(2, 0, 5\)"),
        (lstm, nn.RNN, (2, 3, 5), None, r"input_weight must be \(28, 5\), got \(7, 5"),
        (elman, nn.LSTM, (2, 3, 5), None, r"state_weight must be \(7, 7\), got \(28"),
        (elman, nn.RNN, (2, 3, 4), None, r"input_weight must be \(7, 4\), got \(7, 5"),
        (elman, nn.RNN, (2, 3, 5), [(1, 7)], r"hidden must be \(2, 7\), got \(1, 7\)"),
        (
            lstm,
            nn.LSTM,
            (2, 3, 5),
            [(2, 6), (2, 1)],
            r"hidden must be \(2, 7\), got \(2, 6\); state cell must be \(2, 7\)",
        ),
    ],
)
def test_a_wrong_shape_is_named(function, kind, x, state, sentence):
    params = from_torch(kind(5, 7))
    state = state_of([torch.ones(shape) for shape in state or ()])
    with pytest.raises(ValueError, match=sentence):
        function(torch.ones(x), params, state)


# The networks to train.

CONFIG = Config(vocabulary=11, layers=2, width=6)


def model(kind=LSTM, *arguments, dtype=torch.float64):
    torch.manual_seed(3)
    return kind(CONFIG, *arguments).to(dtype)


def tokens(batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(CONFIG.vocabulary, (batch, length), generator=generator)


@every_length
def test_the_language_model_is_our_lstm_layer_by_layer(length):
    network, text = model(), tokens(2, length)
    x, states = network.trunk.embedding(text), []
    for layer in range(CONFIG.layers):
        x, state = lstm(x, from_torch(network.trunk.lstm, layer))
        states.append(torch.stack(state, dim=1))  # (B,2,C)
    logits, after = network(text)
    assert logits.shape == (2, length, CONFIG.vocabulary)
    near(logits, network.head(x))
    near(after, torch.stack(states, dim=1))


def test_forward_equals_step():
    network, text, state = model(), tokens(2, 17), None
    logits, after = network(text)
    for t in range(17):
        predicted, state = network.step(text[:, t], state)
        near(predicted, logits[:, t])
    near(state, after)


@given(cut=st.integers(1, 16), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_prefix_then_suffix_equals_whole_with_gradients(cut, seed):
    network, text = model(), tokens(2, 17, seed)
    whole = network(text)
    first, between = network(text[:, :cut])
    second, after = network(text[:, cut:], between)
    parts = torch.cat([first, second], dim=1), after
    weights = [*network.parameters()]
    pairs = [*zip(parts, whole, strict=True)]
    pairs += zip(gradients(parts, weights), gradients(whole, weights), strict=True)
    for found, expected in pairs:
        near(found, expected)


def test_the_number_of_weights_is_the_closed_form():
    """8 L C² + 2 V C, and 8 L C biases, as PyTorch keeps two vectors of them."""
    count = sum(p.numel() for p in model().parameters())
    layers, width, vocabulary = CONFIG.layers, CONFIG.width, CONFIG.vocabulary
    assert count == 8 * layers * width * (width + 1) + 2 * vocabulary * width


def test_a_new_network_remembers():
    """Forget gates open before training: sigmoid(1 + a little), not sigmoid(0)."""
    trunk = Trunk(Config(11, 2, 64))
    for layer in range(2):
        gates = from_torch(trunk.lstm, layer).bias.view(4, 64)
        assert (gates[1] >= 1 - 64**-0.5).all()
        assert (gates[[0, 2, 3]].abs() <= 2 * 64**-0.5).all()


def test_padding_changes_neither_the_verdict_nor_the_gradients():
    network, text = model(Classifier, 3), tokens(4, 17)
    lengths = torch.tensor([1, 17, 5, 16])
    padding = torch.arange(17) >= lengths[:, None]
    weights = [*network.parameters()]
    results = []
    for filler in (0, 7):
        verdict = network(text.masked_fill(padding, filler), lengths)
        results.append((verdict, *gradients([verdict], weights)))
    for found, expected in zip(*results, strict=True):
        near(found, expected)
    for row, length in enumerate(lengths):
        near(results[0][0][row], network(text[row : row + 1, :length])[0])


def test_the_verdict_is_that_of_pytorchs_packed_sequences():
    network, text = model(Classifier, 3), tokens(4, 17)
    lengths = torch.tensor([1, 17, 5, 16])
    packed = pack_padded_sequence(
        network.trunk.embedding(text), lengths, batch_first=True, enforce_sorted=False
    )
    _, (hidden, _) = network.trunk.lstm(packed)
    near(network(text, lengths), network.head(hidden[-1]))


def test_a_classifier_learns_what_the_first_of_ten_tokens_was():
    network = model(Classifier, 2, dtype=torch.float32)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(150):
        text = tokens(64, 10, seed=step)
        loss = cross_entropy(network(text), text[:, 0] % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = tokens(500, 10, seed=10**6)
    right = network(unseen).argmax(1) == unseen[:, 0] % 2
    assert right.float().mean() > 0.95


@pytest.mark.parametrize("lengths", [[0, 3], [3, 18]])
def test_a_length_outside_of_the_text_is_refused(lengths):
    with pytest.raises(ValueError, match="lengths must be from 1 to 17"):
        model(Classifier, 3)(tokens(2, 17), torch.tensor(lengths))


def test_wrong_shapes_of_tokens_and_states_are_named():
    network = model()
    with pytest.raises(ValueError, match=r"tokens must be \(B,T\).*got \(3,\)"):
        network(tokens(1, 3)[0])
    with pytest.raises(ValueError, match=r"T at least 1, got \(2, 0\)"):
        network(tokens(2, 3)[:, :0])
    with pytest.raises(ValueError, match=r"\(B,L,2,C\) = \(2, 2, 2, 6\), got \(1, 2"):
        network(tokens(2, 3), network.trunk.initial_state(1))


def test_a_shape_that_makes_no_network_is_refused():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0; width"):
        Config(vocabulary=11, layers=0, width=0)
