"""The names that people's files have, made into the published ones.

Wrappers of a module leave prefixes (`module.`, `_orig_mod.`), other packages have other
words for the same parts, and a model of this book has our names. What is changed is
how a tensor is called and, of one package, which of its two axes comes first; each
change is said in a sentence, and no number is read before it is asked for.
Sources: github.com/huggingface/transformers, modeling_rwkv.py, and
github.com/fla-org/flash-linear-attention, utils/convert_from_rwkv7.py, for their words.
"""

import re

import numpy as np

# What PyTorch's wrappers put into a name, at its beginning or between two parts.
WRAPPED = re.compile(
    r"(?<![^.])(?:module|_orig_mod|_forward_module|_fsdp_wrapped_module"
    r"|_checkpoint_wrapped_module)\."
)
BEFORE_LAYERS = re.compile(r"((?:[^.]+\.)*?)(?:blocks|layers)\.\d+\.")
LAYER = re.compile(r"^blocks\.\d+\.")

# Their part of a name, and the published one; RWKV-4, 5 and 6 were converted to these.
TRANSFORMERS = {
    "embeddings": "emb",
    "pre_ln": "ln0",
    "attention": "att",
    "feed_forward": "ffn",
    "time_mix_key": "time_mix_k",
    "time_mix_value": "time_mix_v",
    "time_mix_receptance": "time_mix_r",
    "time_mix_gate": "time_mix_g",
}
# Of RWKV-7, and enough of 6 to see that it is one.
FLA = {
    "embeddings": "emb",
    "layers": "blocks",
    "pre_norm": "ln0",
    "attn_norm": "ln1",
    "attn": "att",
    "r_proj": "receptance",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "g_norm": "ln_x",
    "ffn_norm": "ln2",
    "norm": "ln_out",
    "lm_head": "head",
}
FLA_KNOWN_BY = {"k_k", "x_proj"}  # parts that no other model of that package has
# A low-rank part of decay, value, rate or gate: two matrices, as nn.Linear, and a bias.
LOW_RANK = re.compile(r"([wvag])_lora\.lora\.(0\.weight|2\.weight|2\.bias)$")
NUMBERED = {"0.weight": "1", "2.weight": "2", "2.bias": "0"}


def published(stored, tables):
    """({published name: tensor}, sentences on what was changed to get there).

    `tables` has rows (our name, published name, ...). A tensor whose new name is taken
    keeps its own: two tensors never become one.
    """
    bare, prefixes = without_prefixes(stored)
    renamed, words = in_published_words(bare.values(), tables)
    notes = [f"names have {' and '.join(prefixes)} in them"] if prefixes else []
    notes += [f"names are those of {words}"] if words else []
    result = {}
    for name, tensor in stored.items():
        better = renamed[bare[name]]
        taken = better in stored or better in result
        matrix = renumbered(bare[name], better) and not name.endswith(".bias")
        turn = matrix and not taken
        result[name if taken else better] = turned(tensor) if turn else tensor
    return result, tuple(notes)


def turned(tensor):
    """A stored matrix with its two axes the other way round, also when it is read."""

    def read():
        return np.ascontiguousarray(tensor.read().T)

    return tensor._replace(shape=tensor.shape[::-1], read=tensor.read and read)


def without_prefixes(names):
    """({name: what is left of it}, the prefixes): all that stands before the layers."""
    bare = {name: WRAPPED.sub("", name) for name in names}
    prefixes = {found for name in names for found in WRAPPED.findall(name)}
    before = {m[1] for name in bare.values() if (m := BEFORE_LAYERS.match(name))}
    if len(before) == 1 and (prefix := before.pop()):
        prefixes.add(prefix)
        bare = {name: without(prefix, rest) for name, rest in bare.items()}
    return bare, sorted(prefixes)


def without(prefix, name):
    """A name without as many parts of the prefix as it begins with."""
    for part in prefix.removesuffix(".").split("."):
        name = name.removeprefix(f"{part}.")
    return name


def in_published_words(names, tables):
    """({name: published name}, whose words they were: "" if the published ones)."""
    names = list(names)
    parts = {part for name in names for part in name.split(".")}
    if parts >= {"attention", "feed_forward"}:
        return (
            {name: translated(name, TRANSFORMERS) for name in names},
            "transformers, which divides some weights in place when a model of more "
            "than rescale_every layers runs: save one before it has",
        )
    if parts >= {"attn", "attn_norm"} and parts & FLA_KNOWN_BY:
        return (
            {name: translated(numbered(name), FLA) for name in names},
            "flash-linear-attention, which keeps low-rank matrices transposed",
        )
    ours = [{row[0]: row[1] for row in table} for table in tables]
    renamed = [{name: of_ours(name, rows) for name in names} for rows in ours]
    best = max(renamed, key=lambda new: sum(new[name] != name for name in names))
    return best, "this book" if any(best[name] != name for name in names) else ""


def translated(name, words):
    """A name with each of its parts in other words."""
    return ".".join(words.get(part, part) for part in name.split("."))


def numbered(name):
    """A low-rank part as published, ...w1 for ...w_lora.lora.0.weight; others as is."""
    return LOW_RANK.sub(lambda found: found[1] + NUMBERED[found[2]], name)


def renumbered(name, better):
    """Whether `numbered` had a part in making one name of the other."""
    return LOW_RANK.search(name) is not None and LOW_RANK.search(better) is None


def of_ours(name, rows):
    """The published name for one of ours; any other name as it is."""
    layer = LAYER.match(name)
    if layer is None or name in rows:
        return rows.get(name, name)
    for each in ("{}", "{+}"):
        if found := rows.get(each + name[layer.end() :]):
            return found.replace(each, layer[0])
    return name
