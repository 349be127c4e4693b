"""Recurrent networks: a state of fixed size, and one function that reads one token.

`elman_step` and `lstm_step` are that function; `elman` and `lstm` call it token after
token, (B,T,C) -> (B,T,C), from any state. Reading T tokens takes O(T·C²) time in T
steps that wait for each other, and the state is all that is kept between them. The
networks to train are below: `LSTM` predicts the next token, with the interface of
`model.RWKV`, and `Classifier` judges a whole text. They call PyTorch's compiled LSTM,
which computes the same function.
Sources: Elman 1990, Cognitive Science 14(2); Hochreiter and Schmidhuber 1997, with the
forget gate of Gers, Schmidhuber and Cummins 2000.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rwkv_book.layers import LanguageModel, check_state, check_tokens, sizes_at_least


class Params(NamedTuple):
    """A cell's weights: for x (B,D) and a state (B,C), G rows of C outputs each.

    G is 1 for Elman's cell and 4 for the LSTM, in PyTorch's order: input gate, forget
    gate, candidate, output gate.
    """

    input_weight: Tensor  # (G·C,D)
    state_weight: Tensor  # (G·C,C)
    bias: Tensor  # (G·C,)

    def from_both(self, x, state):
        """What the token says plus what the state says, (B,G·C)."""
        return x @ self.input_weight.T + state @ self.state_weight.T + self.bias


class LstmState(NamedTuple):
    """`cell` is the memory; `hidden` is what was shown of it. Each is (B,C)."""

    hidden: Tensor
    cell: Tensor


def elman_step(x, state, params):
    """state' = tanh(W x + U state + b), which is also the output: O(C²) time."""
    state = torch.tanh(params.from_both(x, state))
    return state, state


def lstm_step(x, state, params):
    """cell' = forget · cell + input · candidate; the output is output · tanh(cell').

    A cell is added to, not overwritten: where `forget` is 1, its gradient passes
    through a step unchanged. Four times the work of `elman_step`.
    """
    gates = params.from_both(x, state.hidden).chunk(4, dim=-1)  # (B,C) each
    input_gate, forget_gate, candidate, output_gate = gates
    cell = forget_gate.sigmoid() * state.cell + input_gate.sigmoid() * candidate.tanh()
    hidden = output_gate.sigmoid() * cell.tanh()
    return hidden, LstmState(hidden, cell)


def elman(x, params, state=None):
    """Elman's network: (B,T,D) -> outputs (B,T,C) and the state (B,C) after them."""
    check_arguments(x, params, 1, () if state is None else (state,))
    if state is None:
        state = empty(x, params)
    return unroll(elman_step, x, state, params)


def lstm(x, params, state=None):
    """The LSTM: (B,T,D) -> outputs (B,T,C) and the LstmState after them."""
    check_arguments(x, params, 4, state or ())
    state = state or LstmState(empty(x, params), empty(x, params))
    return unroll(lstm_step, x, state, params)


def unroll(step, x, state, params):
    """A step for each token: the state that one returns is what the next one takes."""
    outputs = []
    for token in x.unbind(1):  # (B,D)
        output, state = step(token, state, params)
        outputs.append(output)
    return torch.stack(outputs, dim=1), state


def empty(x, params):
    """The state before the first token: zeros (B,C)."""
    return x.new_zeros(len(x), params.state_weight.shape[1])


def from_torch(module, layer=0):
    """One layer of a torch.nn.RNN or LSTM as Params; gradients flow to the module.

    ValueError for what a cell here can't do: two directions, ReLU, projections.
    """
    plain = module.mode in ("RNN_TANH", "LSTM") and not module.proj_size
    if not plain or module.bidirectional:
        raise ValueError(f"need one direction, tanh and no projection, got {module}")
    input_weight = getattr(module, f"weight_ih_l{layer}")
    state_weight = getattr(module, f"weight_hh_l{layer}")
    bias = input_weight.new_zeros(len(input_weight))
    if module.bias:  # two vectors, which are only ever added
        bias = getattr(module, f"bias_ih_l{layer}") + getattr(
            module, f"bias_hh_l{layer}"
        )
    return Params(input_weight, state_weight, bias)


def check_arguments(x, params, gates, state):
    """Raise one ValueError that names every argument of a wrong shape."""
    if x.ndim != 3 or x.shape[1] == 0:
        shape = tuple(x.shape)
        raise ValueError(f"x must be (B,T,D) with at least one token, got {shape}")
    width = params.state_weight.shape[1]
    expected = {
        "input_weight": (params.input_weight, (gates * width, x.shape[2])),
        "state_weight": (params.state_weight, (gates * width, width)),
        "bias": (params.bias, (gates * width,)),
    }
    for name, field in zip(LstmState._fields, state, strict=False):
        expected[f"state {name}"] = (field, (len(x), width))
    problems = [
        f"{name} must be {shape}, got {tuple(tensor.shape)}"
        for name, (tensor, shape) in expected.items()
        if tuple(tensor.shape) != shape
    ]
    if problems:
        raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Config:
    """A model's shape: vocabulary V, layers L, width C."""

    vocabulary: int
    layers: int
    width: int

    def __post_init__(self):
        sizes_at_least(self, vocabulary=1, layers=1, width=1)


class Trunk(nn.Module):
    """An embedding and L layers of LSTM: tokens to what the last layer shows."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.lstm = nn.LSTM(config.width, config.width, config.layers, batch_first=True)
        for layer in range(config.layers):  # remember, until taught to forget
            bias = getattr(self.lstm, f"bias_ih_l{layer}")
            nn.init.ones_(bias.data[config.width : 2 * config.width])

    def initial_state(self, batch=1):
        """The state before the first token: zeros (B,L,2,C)."""
        shape = (batch, self.config.layers, 2, self.config.width)
        return self.embedding.weight.new_zeros(shape)

    def forward(self, tokens, state=None):
        """(B,T) -> (B,T,C) and the state (B,L,2,C): hidden and cell of each layer.

        ValueError where a shape is wrong.
        """
        check_tokens(tokens)
        initial = self.initial_state(len(tokens))
        state = initial if state is None else state
        check_state(state, initial.shape, "(B,L,2,C)")
        hidden, cell = state.permute(2, 1, 0, 3).contiguous()  # (L,B,C) each
        outputs, state = self.lstm(self.embedding(tokens), (hidden, cell))
        return outputs, torch.stack(state).permute(2, 1, 0, 3)


class LSTM(LanguageModel):
    """A language model in the interface of `model.RWKV`, at 8 L C² + 2 V C weights."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, tokens, state=None):
        """(B,T) -> logits (B,T,V), those at t predict token t + 1, and a state."""
        outputs, state = self.trunk(tokens, state)
        return self.head(outputs), state


class Classifier(nn.Module):
    """A verdict on a whole text from the state that its last token leaves behind."""

    def __init__(self, config, classes):
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.head = nn.Linear(config.width, classes)

    def forward(self, tokens, lengths=None):
        """(B,T) -> logits (B,classes); text b is its first lengths[b] tokens.

        What fills the rest of a row is read, at a cost, but after the verdict: it
        changes nothing. ValueError unless every length is from 1 to T.
        """
        outputs, _ = self.trunk(tokens)
        if lengths is None:
            return self.head(outputs[:, -1])
        if lengths.min() < 1 or lengths.max() > tokens.shape[1]:
            raise ValueError(f"lengths must be from 1 to {tokens.shape[1]}: {lengths}")
        rows = torch.arange(len(tokens), device=tokens.device)
        return self.head(outputs[rows, lengths - 1])
