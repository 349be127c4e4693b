"""Random RWKV-4 checkpoints, named and shaped as the official training code does it.

Written apart from checkpoint.py's table, so that a slip in either shows.
"""

import torch

OURS = {
    "emb.weight": "embedding.weight",
    "blocks.0.ln0.weight": "norm_in.weight",
    "blocks.0.ln0.bias": "norm_in.bias",
    "ln_out.weight": "norm_out.weight",
    "ln_out.bias": "norm_out.bias",
    "head.weight": "head.weight",
}
OURS_IN_A_LAYER = {
    "ln1.weight": "norm_time.weight",
    "ln1.bias": "norm_time.bias",
    "ln2.weight": "norm_channel.weight",
    "ln2.bias": "norm_channel.bias",
    "att.time_decay": "time_mix.log_decay_rate",
    "att.time_first": "time_mix.bonus",
    "att.time_mix_k": "time_mix.mix_key",
    "att.time_mix_v": "time_mix.mix_value",
    "att.time_mix_r": "time_mix.mix_receptance",
    "att.key.weight": "time_mix.key.weight",
    "att.value.weight": "time_mix.value.weight",
    "att.receptance.weight": "time_mix.receptance.weight",
    "att.output.weight": "time_mix.output.weight",
    "ffn.time_mix_k": "channel_mix.mix_key",
    "ffn.time_mix_r": "channel_mix.mix_receptance",
    "ffn.key.weight": "channel_mix.key.weight",
    "ffn.receptance.weight": "channel_mix.receptance.weight",
    "ffn.value.weight": "channel_mix.value.weight",
}


def our_name(published):
    """emb.weight -> embedding.weight, blocks.3.ln1.bias -> blocks.3.norm_time.bias"""
    if published in OURS:
        return OURS[published]
    blocks, layer, rest = published.split(".", 2)
    return f"{blocks}.{layer}.{OURS_IN_A_LAYER[rest]}"


def random_tensors(layers=3, width=6, hidden=20, vocabulary=11, seed=0):
    """A checkpoint with no zero in it, {published name: float32 tensor}.

    Matrices are scaled so that activations stay near 1; keys and decays vary widely.
    """
    generator = torch.Generator().manual_seed(seed)

    def around(center, spread, *shape):
        return center + spread * torch.randn(shape, generator=generator)

    def mix():
        return torch.rand(1, 1, width, generator=generator)

    tensors = {"emb.weight": around(0, 1, vocabulary, width)}
    for layer in range(layers):
        block = f"blocks.{layer}."
        for norm in ["ln0", "ln1", "ln2"] if layer == 0 else ["ln1", "ln2"]:
            tensors[f"{block}{norm}.weight"] = around(1, 0.3, width)
            tensors[f"{block}{norm}.bias"] = around(0, 0.3, width)
        tensors[f"{block}att.time_decay"] = around(-1, 2, width)
        tensors[f"{block}att.time_first"] = around(0, 2, width)
        for letter in "kvr":
            tensors[f"{block}att.time_mix_{letter}"] = mix()
        for matrix in ("key", "value", "receptance", "output"):
            shape = (width, width)
            tensors[f"{block}att.{matrix}.weight"] = around(0, width**-0.5, *shape)
        for letter in "kr":
            tensors[f"{block}ffn.time_mix_{letter}"] = mix()
        for matrix, shape in {
            "key": (hidden, width),
            "receptance": (width, width),
            "value": (width, hidden),
        }.items():
            spread = shape[1] ** -0.5
            tensors[f"{block}ffn.{matrix}.weight"] = around(0, spread, *shape)
    tensors["ln_out.weight"] = around(1, 0.3, width)
    tensors["ln_out.bias"] = around(0, 0.3, width)
    tensors["head.weight"] = around(0, width**-0.5, vocabulary, width)
    return tensors
