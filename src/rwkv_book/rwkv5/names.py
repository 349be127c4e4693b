"""The tensors of RWKV-5.2: our name, the published one, the published shape.

As in `rwkv4/names.py`, with H heads of N channels; an axis of several letters is their
product. A row with "optional" at its end may be missing. Files that call themselves
RWKV-5 and have a rate for each head alone are 5.0 or 5.1, and not read.
Source of the names: github.com/BlinkDL/RWKV-LM, RWKV-v5/src/model.py.
"""

VERSION = "5.2"

TABLE = (
    ("embedding.weight", "emb.weight", "VC"),
    ("norm_in.weight", "blocks.0.ln0.weight", "C"),
    ("norm_in.bias", "blocks.0.ln0.bias", "C"),
    ("{}norm_time.weight", "{}ln1.weight", "C"),
    ("{}norm_time.bias", "{}ln1.bias", "C"),
    ("{}time_mix.log_decay_rate", "{}att.time_decay", "HN"),
    ("{}time_mix.bonus", "{}att.time_faaaa", "HN"),
    ("{}time_mix.first_state", "{}att.time_state", "HNN", "optional"),
    ("{}time_mix.mix_key", "{}att.time_mix_k", "11C"),
    ("{}time_mix.mix_value", "{}att.time_mix_v", "11C"),
    ("{}time_mix.mix_receptance", "{}att.time_mix_r", "11C"),
    ("{}time_mix.mix_gate", "{}att.time_mix_g", "11C"),
    ("{}time_mix.receptance.weight", "{}att.receptance.weight", ("HN", "C")),
    ("{}time_mix.key.weight", "{}att.key.weight", ("HN", "C")),
    ("{}time_mix.value.weight", "{}att.value.weight", ("HN", "C")),
    ("{}time_mix.gate.weight", "{}att.gate.weight", ("HN", "C")),
    ("{}time_mix.output.weight", "{}att.output.weight", "CC"),
    ("{}time_mix.norm_heads.weight", "{}att.ln_x.weight", "C"),
    ("{}time_mix.norm_heads.bias", "{}att.ln_x.bias", "C"),
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
