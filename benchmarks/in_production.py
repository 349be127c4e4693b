"""Which of the family do large models use, and in how many of their layers?

    python benchmarks/in_production.py

Reads the configurations in the package `transformers` as they stand without a file of a
model: what the code takes where a file says nothing else. No model is loaded, and no
network is needed.
"""

from collections import Counter
from importlib.metadata import version

import measure
import transformers

# A model family, its configuration, what its layers with a table compute, and where the
# sizes of that table stand: heads, key channels, value channels.
QWEN = "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim"
KIMI = "linear_num_heads", "linear_head_dim", "linear_head_dim"
USES = [
    ("Qwen3-Next", "Qwen3NextConfig", "Gated DeltaNet", QWEN),
    ("Qwen3.5", "Qwen3_5TextConfig", "Gated DeltaNet", QWEN),
    ("Olmo Hybrid", "OlmoHybridConfig", "Gated DeltaNet", QWEN),
    ("Kimi Linear", "KimiLinearConfig", "Kimi Delta", KIMI),
    ("GLM-5 Next", "Glm5NextTextConfig", "Kimi Delta", KIMI),
    ("Ling hybrid", "BailingHybridConfig", "Kimi Delta", KIMI),
    ("MiniMax", "MiniMaxConfig", "Lightning", ()),
    ("Falcon-H1", "FalconH1Config", "Mamba-2", ()),
    ("Zamba2", "Zamba2Config", "Mamba-2", ()),
    ("Mamba-2", "Mamba2Config", "Mamba-2", ("num_heads", "state_size", "head_dim")),
    ("Jamba", "JambaConfig", "Mamba", ()),
    ("xLSTM", "xLSTMConfig", "mLSTM", ("num_heads", "qk_head_dim", "v_head_dim")),
    ("RWKV", "RwkvConfig", "RWKV-4", ()),
]
TABLES = "linear_attention", "hybrid"  # what a layer with a table is called


def row(name, kind, member, sizes):
    """What a configuration says of the tables in its model."""
    config = getattr(transformers, kind)()
    types = Counter(getattr(config, "layer_types", None) or ())
    layers = config.num_hidden_layers
    tables = sum(types[each] for each in TABLES) if types else layers
    shape = [getattr(config, size) for size in sizes]
    return {
        "model": name,
        "member": member,
        "layers": layers,
        "with a table": tables,
        "with attention": layers - tables + types["hybrid"],
        "heads × keys × values": " × ".join(map(str, shape)),
        "double rate": bool(getattr(config, "linear_allow_neg_eigval", False)),
    }


def rows():
    """All of them."""
    return [row(*each) for each in USES]


if __name__ == "__main__":
    found = rows()
    measure.print_table(found)
    measure.record("in-production", "cpu", found, transformers=version("transformers"))
