"""What is in a file: which RWKV, of which sizes, and all that is wrong with it.

Tensors come under their published names, {name: Stored}. A version's `table` has rows
(our name, published name, shape), with {} for a layer and {+} for any but the first, as
in `rwkv4/names.py` and `rwkv7/names.py`.
Sources: github.com/BlinkDL/RWKV-LM and github.com/BlinkDL/ChatRWKV, for how the
versions differ.
"""

import re
from collections import Counter
from math import prod

import numpy as np

from rwkv_book.checkpoint.formats import FLOATS

HEAD, EMBEDDING = "head.weight", "emb.weight"
# Of flash-linear-attention: the mixes of its RWKV-6, and of an early RWKV-7.
STACKED = re.compile(r"\.att\.(x_proj\.|x_bias$|x_x$)")
# What GPTQ, AWQ, bitsandbytes, float8 and the package rwkv put beside packed numbers,
# and how such numbers are called in .safetensors files and by PyTorch.
PACKED = re.compile(
    r"(?:^|[._])(qweight|qzeros|SCB|absmax|quant_map|quant_state|scale_inv"
    r"|weight_scale|weight_[mr][xy])(?:$|\.)"
)
NARROW = re.compile(r"F[48]|[IU]8|float[48]|u?int[1-8]$|qu?int")
BEFORE_LAYER = re.compile(r"(?:[^.]+\.)*?(?:blocks|layers)(?=\.\d+\.)")


def find_version(stored):
    """Which RWKV has these names: "4", "5.0", "5.1", "5.2", "6", "7" or "unknown"."""
    parts = {re.sub(r"^blocks\.\d+\.", "", key): stored[key] for key in stored}
    if "att.k_k" in parts or "att.r_k" in parts:
        return "7"
    if any("time_maa" in part or part.startswith("att.x_proj.") for part in parts):
        return "6"
    if any(part.startswith("att.ln_x.") for part in parts):
        decay = parts["att.time_decay"].shape if "att.time_decay" in parts else ()
        if len(decay) > 1 and decay[1] > 1:
            return "5.2"
        return "5.1" if "att.gate.weight" in parts else "5.0"
    return "4" if any("time_mix" in part for part in parts) else "unknown"


def version_name(version):
    """RWKV-6 (Finch) for "6": versions from 5.2 on are called after birds."""
    birds = {"5.2": " (Eagle)", "6": " (Finch)", "7": " (Goose)"}
    if version == "unknown":
        return version
    return f"RWKV-{version}{birds.get(version, '')}"


def find_layers(stored):
    """The numbers of the layers that have a tensor of their own, in order."""
    numbers = (re.match(r"blocks\.(0|[1-9]\d{0,5})\.(?!ln0)", key) for key in stored)
    return sorted({int(number[1]) for number in numbers if number})


def rows_of(stored, table):
    """The table with the layers at hand put in: (our name, published name, shape).

    `stored` has our names or the published ones; what is optional and not in it is
    left out.
    """
    layers = [f"blocks.{number}." for number in find_layers(stored)]
    for name, published, shape, *optional in table:
        places = {"{}": layers, "{+}": layers[1:]}
        found = re.match(r"\{\+?\}", name)
        for layer in places[found[0]] if found else [""]:
            row = [re.sub(r"\{\+?\}", layer, each) for each in (name, published)]
            if not optional or any(each in stored for each in row):
                yield *row, shape


def sizes(stored, table):
    """What V, C, F and other letters are, by vote: a tensor that differs is the odd."""
    votes = {}
    for _, published, shape in rows_of(stored, table):
        found = stored[published].shape if published in stored else ()
        if len(found) == len(shape):
            for axis, size in zip(shape, found, strict=True):
                if len(axis) == 1:
                    votes.setdefault(axis, Counter())[size] += 1
    return {letter: count.most_common(1)[0][0] for letter, count in votes.items()}


def wanted_shape(axes, size):
    """(1, 1, 768) for "11C", (768, 160) for ("C", "5R").

    An axis with a letter that no tensor tells the size of stays as it is.
    """

    def length(axis):
        factors = [int(one) if one.isdigit() else size.get(one) for one in axis]
        return axis if None in factors else prod(factors)

    return tuple(map(length, axes))


def find_problems(stored, tables):
    """All that keeps these tensors from being a whole RWKV, as sentences.

    `tables` has a table for each version that can be loaded. No number is read.
    """
    if refusal := find_refusal(stored, tables):
        return [refusal]
    return find_differences(stored, nearest(stored, tables)) + [
        f"{key} is {tensor.dtype}, not float16, bfloat16 or float32"
        for key, tensor in stored.items()
        if tensor.dtype not in FLOATS
    ]


def find_refusal(stored, tables):
    """Why these are the wrong tensors, whole or not, and what to do; "" if they aren't.

    It is the one thing to be said of a file's names and shapes.
    """
    version = find_version(stored)
    if other := other_than_weights(stored):
        return other
    if version not in (*tables, "unknown"):
        return (
            f"this is {version_name(version)}, an early RWKV-5 with one decay rate for "
            f"each head: load reads {', '.join(tables)}; the package rwkv from PyPI "
            "runs this one"
        )
    if any(STACKED.search(key) for key in stored):
        return (
            f"this is {version_name(version)} with the names of "
            "flash-linear-attention, which stacks several of its tensors into one: get "
            "the official file of that model, or save yours under the official names"
        )
    if not nearest(stored, tables):
        shown = ", ".join(list(stored)[:3]) or "none at all"
        return f"no RWKV has such tensors ({shown}): name a file with its weights"
    if packed := find_packed(stored):
        return (
            f"its numbers are packed ({', '.join(packed)}), and only the program that "
            "packed them knows how: get the file in 16 or 32 bits that it was made from"
        )
    models = {found[0] for key in stored if (found := BEFORE_LAYER.match(key))}
    if len(models) > 1:
        return (
            f"it holds layers of {len(models)} models, {', '.join(sorted(models))}: "
            "save those of one RWKV alone"
        )
    return ""


def find_packed(stored):
    """What gives packed numbers away, in order: what lies beside them, and their types.

    A vector of such numbers, a mask for instance, is none.
    """
    beside = {found[1] for key in stored if (found := PACKED.search(key))}
    matrices = {tensor.dtype for tensor in stored.values() if len(tensor.shape) > 1}
    return sorted(beside | {dtype for dtype in matrices if NARROW.match(dtype)})


def advice_on(problems, stored, tables):
    """What to do about problems, of which find_problems found these; "" if they say."""
    if not problems:  # but numbers that are none
        return "Get the file again, or take one from before its training went wrong."
    if find_refusal(stored, tables) or problems == [find_padding(stored)]:
        return ""
    if len(problems) == 1 and problems[0].startswith("unexpected tensors"):
        return (
            "Nothing here computes with those: get the file again, or save the model "
            "without them if it is the same without."
        )
    return "Get the file again, or mend it: checkpoint.TABLES says what belongs in."


def other_than_weights(stored):
    """What tensors are that belong to a model and are not its weights; or ""."""
    if any(re.search(r"(^|\.)(lora_|base_layer\.)", key) for key in stored):
        return (
            "it holds adapters (LoRA), which change the weights of another file: merge "
            "them into that model, with the program that trained them, and load that"
        )
    if "_strategy" in stored:
        return (
            "the package rwkv has converted it for one of its strategies, and changed "
            "its numbers: get the file that it was made from"
        )
    if set(stored) == {"state", "logits"}:
        return (
            "this is a state, which is what a model has read: states.load reads it, "
            "with the weights of that model"
        )
    if stored and all(key.endswith(".time_state") for key in stored):
        return (
            "it holds states to begin with (time_state), which were trained for the "
            "weights of another file: name that file"
        )
    return ""


def nearest(stored, tables):
    """The table of the version at hand, or else that with most of its names; or ()."""
    if (version := find_version(stored)) in tables:
        return tables[version]
    known = {
        version: sum(name in stored for _, name, _ in rows_of(stored, table))
        for version, table in tables.items()
    }
    best = max(known, key=known.get)
    return tables[best] if known[best] else ()


def find_differences(stored, table):
    """Missing, unexpected and mis-shaped tensors, against a table, as sentences."""
    size, layers = sizes(stored, table), find_layers(stored)
    rows = list(rows_of(stored, table))
    problems = [] if layers else ["there is no layer in it"]
    for before, after in zip([-1, *layers], layers, strict=False):
        if after == before + 2:
            problems.append(f"layer {before + 1} is missing")
        elif after > before + 2:
            problems.append(f"layers {before + 1} to {after - 1} are missing")
    missing = [published for _, published, _ in rows if published not in stored]
    if missing:
        problems.append(f"missing tensors ({len(missing)}): {', '.join(missing)}")
    known = {published for _, published, _ in rows}
    others = [key for key in stored if key not in known]
    if others:
        problems.append(f"unexpected tensors ({len(others)}): {', '.join(others)}")
    if 0 in size.values():
        problems.append("tensors without any number in them")
    if padded := find_padding(stored):
        problems.append(padded)
    for _, published, letters in rows:
        wanted = wanted_shape(letters, size)
        found = stored[published].shape if published in stored else wanted
        if padded and published in (HEAD, EMBEDDING):
            continue
        if not same_shape(published, found, wanted):
            axes = f"({','.join(letters)})"
            known = not any(isinstance(length, str) for length in wanted)
            axes += f" = {wanted}" * known
            problems.append(f"{published} has shape {found}, not {axes}")
    return problems


def find_padding(stored):
    """What to say where the two ends of a model know of different vocabularies."""
    ends = [stored[name].shape for name in (EMBEDDING, HEAD) if name in stored]
    if [len(shape) for shape in ends] != [2, 2] or ends[0] == ends[1]:
        return ""
    (tokens, width), (scores, columns) = ends
    if width != columns or tokens == scores:
        return ""
    return (
        f"{EMBEDDING} has {tokens} tokens and {HEAD} {scores}: if rows were added to "
        "one of them, cut it, or add as many to the other"
    )


def same_shape(published, found, wanted):
    """Whether two shapes are one; in a vector, axes of length 1 don't count."""
    if ".time_" in published or 1 in wanted:
        return [n for n in found if n != 1] == [n for n in wanted if n != 1]
    return found == wanted


def find_bad_numbers(name, values):
    """NaN and infinite numbers in a tensor, in a list of at most one sentence."""
    wrong = np.count_nonzero(~np.isfinite(values))
    return [f"{name} has NaN or infinite numbers ({wrong})"] if wrong else []


def find_oddities(stored, tables):
    """Where a file that can be read is not like published ones, as sentences."""
    dtypes = {tensor.dtype for tensor in stored.values() if tensor.read}
    oddities = []
    if "float64" in dtypes:
        oddities.append("float64 is rounded to float32 when it is read")
    if len(dtypes) > 1:
        oddities.append(f"numbers of {len(dtypes)} kinds: {', '.join(sorted(dtypes))}")
    table = tables.get(find_version(stored), ())
    size = sizes(stored, table)
    squeezed = [
        published
        for _, published, letters in rows_of(stored, table)
        if published in stored
        and stored[published].shape != wanted_shape(letters, size)
        and same_shape(published, stored[published].shape, wanted_shape(letters, size))
    ]
    if squeezed:
        oddities.append(f"other axes of length 1 than usual: {', '.join(squeezed)}")
    return oddities
