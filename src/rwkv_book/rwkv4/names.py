"""RWKV-4's tensors: our name, the published one, the published shape.

Letters are sizes: V tokens, C channels, F hidden channels; 1 is an axis of length 1.
{} stands for one layer: "blocks.0.", "blocks.1.", ... This file is data, without an
import, so that `checkpoint` reads a version without its model. A later version needs a
file like it and a line in `checkpoint.TABLES`.
Source of the names: github.com/BlinkDL/RWKV-LM.
"""

VERSION = "4"

TABLE = (
    ("embedding.weight", "emb.weight", "VC"),
    ("norm_in.weight", "blocks.0.ln0.weight", "C"),
    ("norm_in.bias", "blocks.0.ln0.bias", "C"),
    ("{}norm_time.weight", "{}ln1.weight", "C"),
    ("{}norm_time.bias", "{}ln1.bias", "C"),
    ("{}time_mix.log_decay_rate", "{}att.time_decay", "C"),
    ("{}time_mix.bonus", "{}att.time_first", "C"),
    ("{}time_mix.mix_key", "{}att.time_mix_k", "11C"),
    ("{}time_mix.mix_value", "{}att.time_mix_v", "11C"),
    ("{}time_mix.mix_receptance", "{}att.time_mix_r", "11C"),
    ("{}time_mix.key.weight", "{}att.key.weight", "CC"),
    ("{}time_mix.value.weight", "{}att.value.weight", "CC"),
    ("{}time_mix.receptance.weight", "{}att.receptance.weight", "CC"),
    ("{}time_mix.output.weight", "{}att.output.weight", "CC"),
    ("{}norm_channel.weight", "{}ln2.weight", "C"),
    ("{}norm_channel.bias", "{}ln2.bias", "C"),
    ("{}channel_mix.mix_key", "{}ffn.time_mix_k", "11C"),
    ("{}channel_mix.mix_receptance", "{}ffn.time_mix_r", "11C"),
    ("{}channel_mix.key.weight", "{}ffn.key.weight", "FC"),
    ("{}channel_mix.receptance.weight", "{}ffn.receptance.weight", "CC"),
    ("{}channel_mix.value.weight", "{}ffn.value.weight", "CF"),
    ("norm_out.weight", "ln_out.weight", "C"),
    ("norm_out.bias", "ln_out.bias", "C"),
    ("head.weight", "head.weight", "VC"),
)
