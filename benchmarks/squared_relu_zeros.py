"""How many exact zeros does the squared ReLU of a trained model leave?

    python benchmarks/squared_relu_zeros.py [model] [--text file]

In the channel mixing of RWKV-4 a negative key becomes an exact 0, and a column of the
matrix `value` that meets a 0 need not be read. The density is the fraction of hidden
channels that are nonzero; the rest of that matrix's bytes, about 4 in 13 of a layer,
could be skipped when one token is generated. Without --text, it reads the held-out part
of this book's prose.
"""

import argparse
from functools import partial
from pathlib import Path

import measure
import torch

from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.model import RWKV
from rwkv_book.text import corpora

SHIPPED = measure.ROOT / "src" / "rwkv_book" / "models" / "shakespeare.safetensors"


def densities(model, tokens):
    """For every layer the fraction of hidden channels above 0, over all tokens."""
    found = {}

    def watch(layer, module, arguments, key):
        found[layer] = (key > 0).double().mean().item()

    hooks = [
        block.channel_mix.key.register_forward_hook(partial(watch, layer))
        for layer, block in enumerate(model.blocks)
    ]
    model(tokens)
    for hook in hooks:
        hook.remove()
    return found


def rows_for(model, tokens):
    found = densities(model, tokens)
    assert sorted(found) == list(range(model.config.layers))
    rows = []
    for layer, density in found.items():
        block = model.blocks[layer]
        value = block.channel_mix.value.weight.numel()
        share = value / sum(parameter.numel() for parameter in block.parameters())
        saved = (1 - density) * share
        rows.append(
            {"layer": layer, "density": density, "of a layer's bytes, skipped": saved}
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--text", type=Path)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    model = RWKV.load(options.model, wkv_fused)
    if model.config.vocabulary != 256:
        parser.error("the text is read as bytes: the model's vocabulary must be 256")
    if options.text:
        text = options.text.read_bytes()
    else:
        text = b"".join(corpora.load("prose").validation.values())
    rows = rows_for(model, torch.tensor(list(text[:16_384]))[None])
    measure.print_table(rows)
    measure.record("squared-relu-zeros", "cpu", rows, model=options.model.name)
