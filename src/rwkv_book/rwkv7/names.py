"""The tensors of RWKV-7: our name, the published one, the published shape.

As in `rwkv6/names.py`. W, A, R, G are the ranks of decay, in-context rate, value
residual and gate: files of one width have had different ones. {+} stands for every
layer but the first: that one has no value residual, and files have unused tensors for
it or none; some have a norm of the embedding in every layer, of which one is used.
Source of the names: github.com/BlinkDL/RWKV-LM, RWKV-v7/train_temp/src/model.py.
"""

VERSION = "7"

TABLE = (
    ("embedding.weight", "emb.weight", "VC"),
    ("norm_in.weight", "blocks.0.ln0.weight", "C"),
    ("norm_in.bias", "blocks.0.ln0.bias", "C"),
    ("{+}unused_norm.weight", "{+}ln0.weight", "C", "optional"),
    ("{+}unused_norm.bias", "{+}ln0.bias", "C", "optional"),
    ("{}norm_time.weight", "{}ln1.weight", "C"),
    ("{}norm_time.bias", "{}ln1.bias", "C"),
    ("{}time_mix.shift_receptance", "{}att.x_r", "11C"),
    ("{}time_mix.shift_decay", "{}att.x_w", "11C"),
    ("{}time_mix.shift_key", "{}att.x_k", "11C"),
    ("{}time_mix.shift_value", "{}att.x_v", "11C"),
    ("{}time_mix.shift_rate", "{}att.x_a", "11C"),
    ("{}time_mix.shift_gate", "{}att.x_g", "11C"),
    ("{}time_mix.decay_bias", "{}att.w0", "11C"),
    ("{}time_mix.decay_down", "{}att.w1", "CW"),
    ("{}time_mix.decay_up", "{}att.w2", "WC"),
    ("{}time_mix.rate_bias", "{}att.a0", "11C"),
    ("{}time_mix.rate_down", "{}att.a1", "CA"),
    ("{}time_mix.rate_up", "{}att.a2", "AC"),
    ("{+}time_mix.value_bias", "{+}att.v0", "11C"),
    ("{+}time_mix.value_down", "{+}att.v1", "CR"),
    ("{+}time_mix.value_up", "{+}att.v2", "RC"),
    ("blocks.0.time_mix.value_bias", "blocks.0.att.v0", "11C", "optional"),
    ("blocks.0.time_mix.value_down", "blocks.0.att.v1", "CR", "optional"),
    ("blocks.0.time_mix.value_up", "blocks.0.att.v2", "RC", "optional"),
    ("{}time_mix.gate_down", "{}att.g1", "CG"),
    ("{}time_mix.gate_up", "{}att.g2", "GC"),
    ("{}time_mix.removal_scale", "{}att.k_k", "11C"),
    ("{}time_mix.rate_in_key", "{}att.k_a", "11C"),
    ("{}time_mix.bonus", "{}att.r_k", "HN"),
    ("{}time_mix.first_state", "{}att.time_state", "HNN", "optional"),
    ("{}time_mix.receptance.weight", "{}att.receptance.weight", ("HN", "C")),
    ("{}time_mix.key.weight", "{}att.key.weight", ("HN", "C")),
    ("{}time_mix.value.weight", "{}att.value.weight", ("HN", "C")),
    ("{}time_mix.output.weight", "{}att.output.weight", "CC"),
    ("{}time_mix.norm_heads.weight", "{}att.ln_x.weight", "C"),
    ("{}time_mix.norm_heads.bias", "{}att.ln_x.bias", "C"),
    ("{}norm_channel.weight", "{}ln2.weight", "C"),
    ("{}norm_channel.bias", "{}ln2.bias", "C"),
    ("{}channel_mix.shift_key", "{}ffn.x_k", "11C"),
    ("{}channel_mix.key.weight", "{}ffn.key.weight", "FC"),
    ("{}channel_mix.value.weight", "{}ffn.value.weight", "CF"),
    ("norm_out.weight", "ln_out.weight", "C"),
    ("norm_out.bias", "ln_out.bias", "C"),
    ("head.weight", "head.weight", "VC"),
)
