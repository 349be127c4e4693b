"""The tensors of RWKV-6: our name, the published one, the published shape.

As in `rwkv5/names.py`. R and Q are the ranks of the two low-rank parts; a `shift` is a
share of the previous token, where RWKV-4's `mix` is one of this token.
Source of the names: github.com/BlinkDL/RWKV-LM, RWKV-v5/src/model.py.
"""

VERSION = "6"

TABLE = (
    ("embedding.weight", "emb.weight", "VC"),
    ("norm_in.weight", "blocks.0.ln0.weight", "C"),
    ("norm_in.bias", "blocks.0.ln0.bias", "C"),
    ("{}norm_time.weight", "{}ln1.weight", "C"),
    ("{}norm_time.bias", "{}ln1.bias", "C"),
    ("{}time_mix.shift_first", "{}att.time_maa_x", "11C"),
    ("{}time_mix.shift_decay", "{}att.time_maa_w", "11C"),
    ("{}time_mix.shift_key", "{}att.time_maa_k", "11C"),
    ("{}time_mix.shift_value", "{}att.time_maa_v", "11C"),
    ("{}time_mix.shift_receptance", "{}att.time_maa_r", "11C"),
    ("{}time_mix.shift_gate", "{}att.time_maa_g", "11C"),
    ("{}time_mix.shift_down", "{}att.time_maa_w1", ("C", "5R")),
    ("{}time_mix.shift_up", "{}att.time_maa_w2", "5RC"),
    ("{}time_mix.log_decay_rate", "{}att.time_decay", "11C"),
    ("{}time_mix.decay_down", "{}att.time_decay_w1", "CQ"),
    ("{}time_mix.decay_up", "{}att.time_decay_w2", "QC"),
    ("{}time_mix.bonus", "{}att.time_faaaa", "HN"),
    ("{}time_mix.first_state", "{}att.time_state", "HNN", "optional"),
    ("{}time_mix.receptance.weight", "{}att.receptance.weight", ("HN", "C")),
    ("{}time_mix.key.weight", "{}att.key.weight", ("HN", "C")),
    ("{}time_mix.value.weight", "{}att.value.weight", ("HN", "C")),
    ("{}time_mix.gate.weight", "{}att.gate.weight", ("HN", "C")),
    ("{}time_mix.output.weight", "{}att.output.weight", "CC"),
    ("{}time_mix.norm_heads.weight", "{}att.ln_x.weight", "C"),
    ("{}time_mix.norm_heads.bias", "{}att.ln_x.bias", "C"),
    ("{}norm_channel.weight", "{}ln2.weight", "C"),
    ("{}norm_channel.bias", "{}ln2.bias", "C"),
    ("{}channel_mix.shift_key", "{}ffn.time_maa_k", "11C"),
    ("{}channel_mix.shift_receptance", "{}ffn.time_maa_r", "11C"),
    ("{}channel_mix.key.weight", "{}ffn.key.weight", "FC"),
    ("{}channel_mix.receptance.weight", "{}ffn.receptance.weight", "CC"),
    ("{}channel_mix.value.weight", "{}ffn.value.weight", "CF"),
    ("norm_out.weight", "ln_out.weight", "C"),
    ("norm_out.bias", "ln_out.bias", "C"),
    ("head.weight", "head.weight", "VC"),
)
