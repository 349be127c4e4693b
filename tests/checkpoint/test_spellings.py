"""A model is the same under the names that wrappers and other packages give it."""

import numpy as np
import pytest
import torch
from helpers.files import SUFFIXES, calls_of, problem_of, problems_of, write
from helpers.later import later_version, random_later
from helpers.published import our_name, random_tensors

from rwkv_book import checkpoint
from rwkv_book.rwkv4.model import RWKV

PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "module._orig_mod.model.",
    "_forward_module.",
    "student.rwkv.",
)
LATER = ("5.0", "5.1", "5.2", "6", "7")
MIXES = {"k": "key", "v": "value", "r": "receptance", "g": "gate"}


def prefixed(tensors, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def in_words_of_transformers(tensors):
    """The names of RwkvForCausalLM, as tests/rwkv4/test_model.py makes one of them."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace("emb.", "embeddings.").replace(".ln0.", ".pre_ln.")
        name = name.replace(".att.", ".attention.").replace(".ffn.", ".feed_forward.")
        if ".time_mix_" in name:
            name = name[:-1] + MIXES[name[-1]]
        renamed[name if name == "head.weight" else f"rwkv.{name}"] = tensor
    return renamed


def in_words_of_fla(tensors):
    """The file that its conversion of an RWKV-7 writes.

    nn.Linear holds the low-rank matrices, so they are transposed; vectors have one
    axis, but for the mixes of attention; the first layer's value residual is left out.
    """
    ends = {"emb": "model.embeddings", "ln_out": "model.norm", "head": "lm_head"}
    parts = {
        "att": "attn",
        "ffn": "ffn",
        "ln0": "pre_norm",
        "ln1": "attn_norm",
        "ln2": "ffn_norm",
    }
    projections = {
        "receptance": "r_proj",
        "key": "k_proj",
        "value": "v_proj",
        "output": "o_proj",
        "ln_x": "g_norm",
    }
    inner = {"0": "2.bias", "1": "0.weight", "2": "2.weight"}
    renamed = {}
    for name, tensor in tensors.items():
        first, *rest = name.split(".")
        if first in ends:
            renamed[f"{ends[first]}.{rest[0]}"] = tensor
            continue
        layer, part, *last = rest
        if layer == "0" and last[0] in ("v0", "v1", "v2"):
            continue
        if len(last[0]) == 2 and last[0][1] in inner:
            tensor = tensor.t() if last[0][1] in "12" else tensor
            last = [f"{last[0][0]}_lora.lora.{inner[last[0][1]]}"]
        if part == "att" and last[0] in projections:
            last[0] = projections[last[0]]
        if not (part == "att" and last[0].startswith("x_")):
            tensor = tensor.flatten() if tensor.shape[:2] == (1, 1) else tensor
        name = ".".join(["model.layers", layer, parts[part], *last])
        renamed[name] = tensor.contiguous()
    return renamed


def assert_same(path, tensors):
    params = checkpoint.load(path)
    assert set(params) == set(map(our_name, tensors))
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(params[our_name(name)], tensor.squeeze())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_all_names_are_taken_off_and_named(tmp_path, prefix, suffix):
    tensors = random_tensors()
    path = write(prefixed(tensors, prefix), tmp_path / f"model{suffix}")
    assert_same(path, tensors)
    report = checkpoint.inspect(path)
    (note,) = report.deviations
    assert report.loads and report.version == "4" and report.layers == 3
    assert all(part in note for part in prefix.strip(".").split("."))


def test_a_head_outside_the_prefix_and_wrappers_within_a_name_are_found(tmp_path):
    tensors = random_tensors()
    named = {
        name.replace("blocks.1.", "blocks.1._orig_mod.").replace(
            "ffn.", "_checkpoint_wrapped_module.ffn."
        ): tensor
        for name, tensor in tensors.items()
    }
    inner = {name: t for name, t in named.items() if name != "head.weight"}
    mixed = prefixed(inner, "module.rwkv.") | {
        "module.head.weight": named["head.weight"]
    }
    assert_same(write(mixed, tmp_path / "model.pth"), tensors)


def test_our_own_names_are_read(tmp_path):
    tensors = random_tensors()
    path = write(tensors, tmp_path / "published.pth")
    ours = RWKV.load(path).state_dict()
    for prefix in ("", "_orig_mod.", "module."):
        path = write(prefixed(ours, prefix), tmp_path / "ours.pth")
        assert_same(path, tensors)
        assert "names are those of this book" in checkpoint.inspect(path).deviations


def test_the_model_of_transformers_is_read_as_the_published_file(tmp_path):
    from transformers import RwkvConfig, RwkvForCausalLM

    shape = {"vocab_size": 11, "hidden_size": 6, "intermediate_size": 20}
    config = RwkvConfig(num_hidden_layers=3, attention_hidden_size=6, **shape)
    theirs, tensors = RwkvForCausalLM(config), random_tensors()
    theirs.load_state_dict(in_words_of_transformers(tensors))
    theirs.save_pretrained(tmp_path / "saved")
    assert_same(tmp_path / "saved", tensors)
    write(theirs.state_dict(), tmp_path / "model.bin")
    assert_same(tmp_path / "model.bin", tensors)
    notes = checkpoint.inspect(tmp_path / "saved").deviations
    assert any("names are those of transformers" in note for note in notes)


def test_a_model_of_transformers_that_has_run_has_other_weights(tmp_path):
    """What the note warns of: nothing in the file tells that it was rescaled."""
    from transformers import RwkvConfig, RwkvForCausalLM

    shape = {"vocab_size": 11, "hidden_size": 6, "intermediate_size": 20}
    config = RwkvConfig(
        num_hidden_layers=3, attention_hidden_size=6, rescale_every=1, **shape
    )
    theirs, tensors = RwkvForCausalLM(config), random_tensors()
    theirs.load_state_dict(in_words_of_transformers(tensors))
    theirs.eval()(torch.ones(1, 3, dtype=torch.long))
    path = write(theirs.state_dict(), tmp_path / "model.bin")
    params = checkpoint.load(path)
    output = params["blocks.2.time_mix.output.weight"]
    np.testing.assert_array_equal(
        output * 4, tensors["blocks.2.att.output.weight"].numpy()
    )


def test_a_tied_model_of_transformers_is_read(tmp_path):
    from transformers import RwkvConfig, RwkvForCausalLM

    shape = {"vocab_size": 11, "hidden_size": 6, "intermediate_size": 20}
    config = RwkvConfig(
        num_hidden_layers=3,
        attention_hidden_size=6,
        tie_word_embeddings=True,
        **shape,
    )
    theirs = RwkvForCausalLM(config)
    theirs.save_pretrained(tmp_path)
    params = checkpoint.load(tmp_path)
    np.testing.assert_array_equal(params["head.weight"], params["embedding.weight"])


@pytest.mark.parametrize("version", LATER)
@pytest.mark.parametrize("spell", [*PREFIXES, in_words_of_transformers])
def test_a_later_version_is_told_under_any_names(tmp_path, version, spell):
    tensors = later_version(version)
    named = prefixed(tensors, spell) if isinstance(spell, str) else spell(tensors)
    path = write({"state_dict": named}, tmp_path / "model.pth")
    report = checkpoint.inspect(path)
    assert report.version == version
    assert (report.layers, report.width, report.hidden) == (2, 128, 512)
    if version in checkpoint.TABLES:
        assert len(checkpoint.load(path)) == len(tensors)
    else:
        assert f"this is RWKV-{version}" in problem_of(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_rwkv_7_of_flash_linear_attention_is_read_bit_for_bit(tmp_path, suffix):
    tensors = random_later("7", layers=3)
    first = {"blocks.0.att.v0": torch.ones(1, 1, 128)}  # which some files have, unused
    theirs = write(in_words_of_fla(tensors | first), tmp_path / f"theirs{suffix}")
    params = checkpoint.load(theirs)
    expected = checkpoint.load(write(tensors, tmp_path / f"official{suffix}"))
    assert list(params) == list(expected)
    for name, values in params.items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.flags.c_contiguous and values.flags.writeable
    report = checkpoint.inspect(theirs)
    assert report.loads
    assert (report.version, report.layers, report.width) == ("7", 3, 128)
    assert any("those of flash-linear-attention" in n for n in report.deviations)


def test_a_transposed_matrix_is_read_once(tmp_path):
    theirs = in_words_of_fla(later_version("7"))
    path = write(theirs, tmp_path / "model.safetensors")
    with calls_of(np.fromfile) as calls:
        checkpoint.load(path)
    assert len(calls) == len(theirs)


def test_a_low_rank_matrix_that_was_not_transposed_is_refused(tmp_path):
    theirs = in_words_of_fla(later_version("7"))
    name = "model.layers.1.attn.w_lora.lora.0.weight"
    theirs[name] = theirs[name].t().contiguous()
    (problem,) = problems_of(write(theirs, tmp_path / "model.safetensors"))
    assert problem == "blocks.1.att.w1 has shape (10, 128), not (C,W) = (128, 10)"


def test_an_early_rwkv_7_of_flash_linear_attention_has_its_mixes_in_one(tmp_path):
    theirs = in_words_of_fla(later_version("7"))
    for layer in range(2):
        name = f"model.layers.{layer}.attn.x_"
        theirs[f"{name}x"] = torch.cat([theirs.pop(f"{name}{x}")[0] for x in "rwkvag"])
    problem = problem_of(write(theirs, tmp_path / "model.safetensors"))
    assert "this is RWKV-7" in problem and "stacks several of its tensors" in problem


def test_an_rwkv_6_of_flash_linear_attention_is_told(tmp_path):
    layers = {
        f"model.layers.{layer}.{name}": torch.ones(4, 4)
        for layer in range(2)
        for name in (
            "attn.x_proj.0.mu",
            "attn.bonus",
            "attn.r_proj.linear.weight",
            "attn.w_proj.linear.lora.0.weight",
            "attn_norm.weight",
            "ffn_norm.weight",
            "ffn.key.linear.weight",
        )
    }
    ends = {"model.embeddings.weight": torch.ones(7, 4)}
    path = write(layers | ends, tmp_path / "model.safetensors")
    assert checkpoint.inspect(path).version == "6"
    problem = problem_of(path)
    assert "this is RWKV-6" in problem and "stacks several of its tensors" in problem


def test_other_models_with_the_same_words_are_no_rwkv(tmp_path):
    for names in (
        ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"),
        ("model.layers.0.attn.q_proj.weight", "model.layers.0.attn_norm.weight"),
        ("model.layers.0.attn.g_norm.weight", "model.layers.0.attn_norm.weight"),
        ("blocks.0.attention.output.weight", "blocks.0.norm_attention.bias"),
    ):
        tensors = {name: torch.ones(2, 2) for name in names}
        problem = problem_of(write(tensors, tmp_path / "model.pth"))
        assert problem.startswith(f"no RWKV has such tensors ({names[0]}")


def test_two_tensors_never_become_one(tmp_path):
    tensors = random_tensors()
    another = {"module.ln_out.bias": torch.ones(6)}
    for twice in (tensors | another, another | tensors):
        (problem,) = problems_of(write(twice, tmp_path / "model.pth"))
        assert problem == "unexpected tensors (1): module.ln_out.bias"
