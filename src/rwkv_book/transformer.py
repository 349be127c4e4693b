"""A small GPT, the network that RWKV is compared with: it keeps all that it has read.

`GPT.forward` reads all tokens of a text at once and `GPT.step` one more, in the
interface of `model.RWKV`. The state is the cache: the keys and values of every layer
and token, 2·L·C numbers more with each. Reading T tokens takes O(T²·C + T·C²) time a
layer, and one token after T others O(T·C + C²).
The layers, their initial values and the head that shares the embedding's weights are
those of GPT-2: Radford et al. 2019; without dropout. Positions are learned, as there,
or rotary.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import gelu

from rwkv_book.attention import (
    cached_attention,
    fused_attention,
    merge_heads,
    rotary,
    softmax_attention,
    split_heads,
)
from rwkv_book.layers import LanguageModel, check_tokens, sizes_at_least


@dataclass(frozen=True)
class Config:
    """A model's shape: vocabulary V, layers L, width C, heads H, hidden F (0: 4·C).

    `context` is the longest text that learned positions can count; None makes rotary
    positions, which have no end.
    """

    vocabulary: int
    layers: int
    width: int
    heads: int
    context: int | None = None
    hidden: int = 0

    def __post_init__(self):
        if not self.hidden:
            object.__setattr__(self, "hidden", 4 * self.width)
        sizes_at_least(self, vocabulary=1, layers=1, width=1, heads=1, hidden=1)
        if self.context is not None and self.context < 1:
            raise ValueError(
                "context must be at least 1, or None for rotary positions, "
                f"got {self.context}"
            )
        if self.width % self.heads:
            raise ValueError(f"{self.heads} equal heads don't make width {self.width}")
        if self.context is None and self.width // self.heads % 2:
            raise ValueError("rotary positions need an even head size, width / heads")

    def cache_bytes(self, tokens, batch=1, itemsize=4):
        """What the cache weighs after `tokens`: 2·B·L·T·C numbers of `itemsize`."""
        return 2 * batch * self.layers * tokens * self.width * itemsize


class SelfAttention(nn.Module):
    """Where tokens meet: each asks, in H heads, all before it and itself."""

    def __init__(self, config):
        super().__init__()
        self.heads, self.is_rotary = config.heads, config.context is None
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, x, cache, attention):
        """(B,T,C), KvCache or None -> (B,T,C), KvCache"""
        projected = self.query_key_value(x).chunk(3, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in projected)
        if self.is_rotary:
            start = 0 if cache is None else cache.key.shape[2]
            query, key = rotary(query, start), rotary(key, start)
        out, cache = cached_attention(query, key, value, cache, attention)
        return self.output(merge_heads(out)), cache


class Block(nn.Module):
    """Attention, then F hidden channels, each of a normalised x and added back to x."""

    def __init__(self, config):
        super().__init__()
        self.norm_attention = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config)
        self.norm_hidden = nn.LayerNorm(config.width)
        self.hidden = nn.Linear(config.width, config.hidden)
        self.output = nn.Linear(config.hidden, config.width)

    def forward(self, x, cache, attention):
        """(B,T,C), KvCache or None -> (B,T,C), KvCache"""
        mixed, cache = self.attention(self.norm_attention(x), cache, attention)
        x = x + mixed
        hidden = gelu(self.hidden(self.norm_hidden(x)), approximate="tanh")  # (B,T,F)
        return x + self.output(hidden), cache


class GPT(LanguageModel):
    """The whole network. `attention` is f(query, key, value, causal=True) -> out."""

    def __init__(self, config, attention=fused_attention):
        super().__init__()
        self.config, self.attention = config, attention
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        if config.context is not None:
            self.positions = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm_out = nn.LayerNorm(config.width)
        for name, weights in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weights)
            elif weights.ndim == 2:
                # 2·L outputs are added up in x: together they should weigh as one
                share = 2 * config.layers if "output" in name else 1
                nn.init.normal_(weights, std=0.02 / math.sqrt(share))

    def forward(self, tokens, cache=None, attention=None):
        """All tokens at once: (B,T) integers in [0,V) -> logits (B,T,V) and a cache.

        logits[:, t] predict token t + 1. `cache` is what an earlier call returned, a
        KvCache a layer, or None before the first token. `attention` stands in for the
        model's own in this call. ValueError where a shape is wrong or a text too long.
        """
        start = self.check_arguments(tokens, cache)
        x = self.embedding(tokens)
        if self.config.context is not None:
            x = x + self.positions.weight[start : start + tokens.shape[1]]
        after = []
        caches = cache or [None] * len(self.blocks)
        for block, before in zip(self.blocks, caches, strict=True):
            x, kept = block(x, before, attention or self.attention)
            after.append(kept)
        return self.norm_out(x) @ self.embedding.weight.T, tuple(after)

    @torch.no_grad()
    def heads(self, tokens):
        """What attention is asked: a query, key and value (B,H,T,N) for each layer."""
        asked = []

        def watch(query, key, value, causal):
            asked.append((query, key, value))
            return softmax_attention(query, key, value, causal)

        self.forward(tokens, attention=watch)
        return asked

    def check_arguments(self, tokens, cache):
        """Raise a ValueError for what can't be read; the number of tokens before."""
        config = self.config
        check_tokens(tokens)
        start = 0 if cache is None else cache[0].key.shape[2]
        if cache is not None:
            size = config.width // config.heads
            wanted = [(len(tokens), config.heads, start, size)] * 2 * config.layers
            shapes = [tuple(field.shape) for layer in cache for field in layer]
            if shapes != wanted:
                message = f"{config.layers} layers of keys and values {wanted[0]}"
                raise ValueError(f"cache must be {message}, got {shapes}")
        length = start + tokens.shape[1]
        if config.context is not None and length > config.context:
            advice = "context=None makes rotary positions, which have no end"
            raise ValueError(
                f"{length} tokens are more than context {config.context}: {advice}"
            )
        return start


@torch.no_grad()
def three_words():
    """A GPT for *Anna*, *sleeps*, *she*, tokens 0 to 2, with weights written by hand.

    One layer, one head, C = 3: a word's vector is 1 in its own channel. Its queries,
    keys and values are those of the table in chapter 2; where a name was heard, an
    action is due, and the hidden channels take out the word that was just read.
    """
    model = GPT(Config(3, layers=1, width=3, heads=1, context=3, hidden=3))
    for weights in model.parameters():
        if weights.ndim == 2:
            nn.init.zeros_(weights)
    (block,) = model.blocks
    nn.init.eye_(model.embedding.weight)
    asks = math.sqrt(3) * torch.tensor([[0, 2, 1], [2, 0, 1], [4, 0, 1]]).clamp(1).log()
    offers = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    hands_over = torch.tensor([[12.0, 0, 0], [6, 0, 0], [0, 0, 0]])
    table = torch.cat([asks, offers, hands_over], dim=1)
    words = block.norm_attention(model.embedding.weight)  # what the projection reads
    projection = torch.linalg.pinv(torch.cat([words, torch.ones(3, 1)], 1)) @ table
    block.attention.query_key_value.weight.copy_(projection[:3].T)
    block.attention.query_key_value.bias.copy_(projection[3])
    block.attention.output.weight[1, 0] = 1 / 12
    block.hidden.weight.copy_(torch.tensor([[1.0, 0, 0], [-1, 1, -1], [0, 0, 1]]))
    block.hidden.bias.copy_(torch.tensor([0, -1.5, 0]))
    block.output.weight.copy_(torch.tensor([[-2.0, 0, 0], [0, -1.5, 0], [0, 1.5, -2]]))
    return model
