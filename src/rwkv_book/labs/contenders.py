"""What RWKV is compared with: language models at one number of parameters.

    name           how tokens meet                                 numbers kept
    rwkv           averages that fade at a rate of their channel   5·L·C
    lstm           gates over a memory that is added to            2·C, in one layer
    gpt-learned    softmax attention, a vector for each position   2·L·C·T, T <= context
    gpt-rotary     softmax attention, positions by rotation        2·L·C·T
    aft            averages with a weight for each distance        66·L·C
    gpt-shift      gpt-rotary, with the token shift of RWKV        2·L·C·(T + 1)
    rwkv-no-shift  rwkv, without it                                3·L·C
    gpt-usual      gpt-rotary, with initial values for 768 channels, not for its own

The last three say what a part is worth. All read bytes, `forward(tokens, state=None)`
gives logits and the next state, and `step` is the same function for one token. `build`
makes one of the size of an RWKV, `load` one of the first five, which were trained
beside the others by benchmarks/training_comparison.py. How they are judged is in
`evaluation`.
"""

import json
import math
from bisect import bisect_left
from dataclasses import asdict
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import gelu

from rwkv_book import checkpoint, folders, rnn, transformer
from rwkv_book.attention import fused_attention
from rwkv_book.attention.aft import WINDOW, LocalMixing
from rwkv_book.labs.evaluation import CONTEXT
from rwkv_book.layers import (
    LanguageModel,
    check_state,
    check_tokens,
    shift,
    through,
    token_shift,
)
from rwkv_book.rnn import LSTM
from rwkv_book.rwkv4 import model
from rwkv_book.rwkv4.model import RWKV
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.transformer import GPT

HEADS = 4  # of a GPT, in each layer
GPT2_WIDTH = 768  # for which a standard deviation of 0.02 was chosen
LSTM_LAYERS = 1  # how deep it should be was not searched


class AFT(LanguageModel):
    """A GPT in which no query meets a key, with a state of a fixed size."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        gpt = GPT(config)
        self.embedding, self.blocks = gpt.embedding, gpt.blocks
        self.norm_out = gpt.norm_out
        for block in self.blocks:
            block.attention = LocalMixing(block.attention)

    def forward(self, tokens, state=None):
        """(B,T) -> logits (B,T,V), those at t predict token t + 1, and a state.

        The state is (B,L,W+1,2C), None before the first token. ValueError where a shape
        is wrong.
        """
        check_tokens(tokens)
        wanted = (len(tokens), len(self.blocks), WINDOW + 1, 2 * self.config.width)
        if state is not None:
            check_state(state, wanted, "(B,L,W+1,2C)")
        blocks = [partial(block, attention=None) for block in self.blocks]
        x, state = through(blocks, self.embedding(tokens), state)
        return self.norm_out(x) @ self.embedding.weight.T, state


class ShiftedBlock(nn.Module):
    """A block of a GPT whose two parts read a mixture of this token and the last one.

    The mixtures are trained, and begin as in RWKV.
    """

    def __init__(self, block, mix):
        super().__init__()
        self.block = block
        self.mix_attention = nn.Parameter(mix.clone())
        self.mix_hidden = nn.Parameter(mix.clone())

    def forward(self, x, state):
        """(B,T,C), a state or None -> the same: KvCache and two rows (B,C)."""
        nothing = x.new_zeros(len(x), x.shape[-1])
        cache, *rows = state or (None, nothing, nothing)
        block, normed = self.block, self.block.norm_attention(x)
        mixed = token_shift(normed, shift(normed, rows[0]), self.mix_attention)
        mixed, cache = block.attention(mixed, cache, fused_attention)
        x, last = x + mixed, normed[:, -1]
        normed = block.norm_hidden(x)
        mixed = token_shift(normed, shift(normed, rows[1]), self.mix_hidden)
        hidden = gelu(block.hidden(mixed), approximate="tanh")
        return x + block.output(hidden), (cache, last, normed[:, -1])


class ShiftedGPT(LanguageModel):
    """A GPT with rotary positions that is given token shift, as RWKV has it."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        gpt, ramp = GPT(config), torch.arange(config.width) / config.width
        self.embedding, self.norm_out = gpt.embedding, gpt.norm_out
        self.blocks = nn.ModuleList(
            ShiftedBlock(block, ramp ** (1 - layer / config.layers))
            for layer, block in enumerate(gpt.blocks)
        )

    def forward(self, tokens, state=None):
        """(B,T) -> logits (B,T,V), those at t predict token t + 1, and a state.

        The state is a tuple for each layer, None before the first token.
        """
        check_tokens(tokens)
        x, after = self.embedding(tokens), []
        for block, before in zip(
            self.blocks, state or [None] * len(self.blocks), strict=True
        ):
            x, kept = block(x, before)
            after.append(kept)
        return self.norm_out(x) @ self.embedding.weight.T, tuple(after)


def unshifted(config, wkv):
    """An RWKV in which "the previous token" is this one, so that no mixture matters."""
    return RWKV(config, wkv, shift=lambda x, first: x)


NETWORKS = {
    "rwkv": (RWKV, model.Config),
    "lstm": (LSTM, rnn.Config),
    "gpt-learned": (GPT, transformer.Config),
    "gpt-rotary": (GPT, transformer.Config),
    "aft": (AFT, transformer.Config),
    "gpt-shift": (ShiftedGPT, transformer.Config),
    "rwkv-no-shift": (unshifted, model.Config),
    "gpt-usual": (GPT, transformer.Config),
}
NAMES = tuple(NETWORKS)
SHIPPED = NAMES[:5]  # with the book, trained


def kind_of(name):
    """The network of a contender and its Config; ValueError where none is called so."""
    if name not in NETWORKS:
        raise ValueError(f"no contender is called {name!r}: there are {NAMES}")
    return NETWORKS[name]


def build(name, size, context=CONTEXT, wkv=wkv_chunked):
    """The contender `name` with as many parameters as an RWKV of the Config `size`."""
    network = make(name, shape(name, size, context), wkv)
    if name == "lstm":
        orthogonal_gates(network)
    elif name in ("gpt-learned", "gpt-rotary", "gpt-shift", "aft"):
        scale_to_width(network)
    return network


def scale_to_width(gpt):
    """GPT-2's initial values, as they would be at this width.

    What a matrix adds up grows with the root of its width. A standard deviation of 0.02
    goes with 768 channels, and at 64 it makes a network that hardly tells tokens apart
    for hundreds of steps.
    """
    scale = math.sqrt(GPT2_WIDTH / gpt.config.width)
    for key, weights in gpt.named_parameters():
        if weights.ndim == 2 and "bias" not in key:  # AFT's biases are no matrices
            weights.data *= scale


def orthogonal_gates(lstm):
    """Orthogonal weights for each gate: a token is heard at the first step.

    With PyTorch's own initial values, which are small, what comes out hardly depends on
    the token, and hundreds of steps pass before it does.
    """
    for key, weights in lstm.trunk.lstm.named_parameters():
        if key.startswith("weight"):
            for gate in weights.data.chunk(4):
                nn.init.orthogonal_(gate, gain=2.0 if "_ih_" in key else 1.0)


def make(name, config, wkv=wkv_chunked):
    """A network of a given shape; `wkv` is a form of RWKV's operator."""
    network, _ = kind_of(name)
    return network(config, wkv) if name.startswith("rwkv") else network(config)


@cache
def shape(name, size, context=CONTEXT):
    """The Config that gives `name` the parameters of an RWKV of the Config `size`.

    An LSTM has LSTM_LAYERS layers and is as wide as need be. The others have as many
    layers as the RWKV; a width that makes HEADS heads comes near, and the number of
    hidden channels nearer. `context` is what learned positions can count.
    """
    if name.startswith("rwkv"):
        return size
    budget, count = parameters_of("rwkv", size), partial(parameters_of, name)
    if name == "lstm":
        config_of = partial(rnn.Config, size.vocabulary, LSTM_LAYERS)
        return nearest(budget, count, config_of)
    config_of = partial(
        transformer.Config,
        size.vocabulary,
        size.layers,
        heads=1 if name == "aft" else HEADS,
        context=context if name == "gpt-learned" else None,
    )
    width = nearest(budget, count, config_of, step=2 * HEADS).width
    return nearest(budget, count, lambda hidden: config_of(width, hidden=hidden))


def nearest(budget, count, config_of, step=1):
    """Of config_of(step), config_of(2·step) ... the one whose count is nearest."""
    sizes = range(step, 2 * math.isqrt(budget), step)  # of a matrix with others
    above = bisect_left(sizes, budget, key=lambda n: count(config_of(n)))
    near = [config_of(n) for n in sizes[max(0, above - 1) : above + 1]]
    return min(near, key=lambda config: abs(count(config) - budget))


def parameters_of(name, config):
    """How many numbers would be trained; the network itself is not made."""
    with torch.device("meta"):
        return parameters(make(name, config))


def parameters(network):
    """How many numbers are trained."""
    return sum(weights.numel() for weights in network.parameters())


def file_of(name):
    """Where the file of a trained contender lies, at the larger size; ValueError."""
    kind_of(name)
    return Path(files("rwkv_book") / "models" / "comparison" / f"{name}.safetensors")


def load(name, wkv=wkv_chunked):
    """A trained contender in float32; its file is in float16."""
    return read(file_of(name), wkv)


def metadata(name):
    """What is known of a trained contender: text by name."""
    return checkpoint.metadata(file_of(name))


def save(network, name, path, known):
    """Write a contender in float16, with its shape and what is `known` of it, to a
    .safetensors file.

    An RWKV is written in the published layout, the others under their own names.
    """
    described = {
        "contender": name,
        "shape": json.dumps(asdict(network.config)),
        **known,
    }
    if name == "rwkv":
        checkpoint.save(network.state_dict(), path, "float16", described)
        return
    half = {key: values.cpu().half() for key, values in network.state_dict().items()}
    with folders.whole(path) as part:
        save_file(half, part, described)


def read(path, wkv=wkv_chunked):
    """The contender that `save` wrote; ValueError for a file of anything else."""
    described = checkpoint.metadata(path)
    if "contender" not in described:
        raise ValueError(f"{path} is no contender that `save` wrote")
    name = described["contender"]
    if name == "rwkv":
        return RWKV.load(path, wkv)
    _, config = kind_of(name)
    network = make(name, config(**json.loads(described["shape"])))
    network.load_state_dict(load_file(path))
    return network
