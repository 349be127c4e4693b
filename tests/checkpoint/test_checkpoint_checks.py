"""All that is wrong with a model is said at once; its version is told from names."""

import numpy as np
import pytest
import torch
from helpers.files import (
    DTYPES,
    SUFFIXES,
    problem_of,
    problems_after,
    problems_of,
    write,
)
from helpers.later import later_version
from helpers.published import random_tensors

from rwkv_book import checkpoint
from rwkv_book.checkpoint import CheckpointError


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", [*random_tensors(layers=2)][:-1])
def test_no_tensor_but_the_head_may_be_missing(tmp_path, suffix, name):
    tensors = random_tensors(layers=2)
    del tensors[name]
    (problem,) = problems_of(write(tensors, tmp_path / f"model{suffix}"))
    assert problem == f"missing tensors (1): {name}"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", random_tensors(layers=2))
def test_no_tensor_may_have_another_shape(tmp_path, suffix, name):
    tensors = random_tensors(layers=2)
    shape = tuple(tensors[name].shape)
    tensors[name] = torch.ones(*shape[:-1], shape[-1] + 1)
    (problem,) = problems_of(write(tensors, tmp_path / f"model{suffix}"))
    assert problem.startswith(f"{name} has shape ({', '.join(map(str, shape[:-1]))}")
    assert problem.endswith(f" = {shape}")


def test_a_transposed_matrix_is_refused(tmp_path):
    turned = {"blocks.1.ffn.key.weight": torch.ones(6, 20)}
    (problem,) = problems_after(tmp_path, turned)
    assert problem == "blocks.1.ffn.key.weight has shape (6, 20), not (F,C) = (20, 6)"


def test_head_and_embedding_must_have_one_vocabulary(tmp_path):
    padded = random_tensors() | {"head.weight": torch.ones(12, 6)}
    problem = problem_of(write(padded, tmp_path / "model.pth"))
    assert problem.startswith("emb.weight has 11 tokens and head.weight 12: ")


def test_a_padded_vocabulary_is_one_vocabulary(tmp_path):
    ends = {name: torch.ones(64, 6) for name in ("head.weight", "emb.weight")}
    path = write(random_tensors() | ends, tmp_path / "model.pth")
    assert checkpoint.load(path)["head.weight"].shape == (64, 6)
    assert checkpoint.inspect(path).vocabulary == 64


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_head_that_is_not_there_is_the_embedding(tmp_path, suffix):
    tensors = random_tensors()
    del tensors["head.weight"]
    path = write(tensors, tmp_path / f"model{suffix}")
    params = checkpoint.load(path)
    np.testing.assert_array_equal(params["head.weight"], tensors["emb.weight"])
    params["head.weight"][:] = 0
    np.testing.assert_array_equal(params["embedding.weight"], tensors["emb.weight"])
    report = checkpoint.inspect(path)
    note = "there is no head.weight: emb.weight is used for it, as if tied"
    assert report.loads and report.deviations == (note,)
    assert report.parameters == sum(t.numel() for t in tensors.values())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_adapters_are_called_adapters(tmp_path, suffix):
    adapters = {
        f"base_model.model.blocks.{layer}.att.key.lora_{which}.weight": torch.ones(2, 2)
        for layer in range(2)
        for which in "AB"
    }
    for tensors in (adapters, random_tensors() | adapters):
        problem = problem_of(write(tensors, tmp_path / f"model{suffix}"))
        assert "adapters (LoRA)" in problem and "merge" in problem


def test_a_model_to_which_adapters_were_fitted_is_to_be_merged(tmp_path):
    fitted = {
        f"base_model.model.{name}".replace("key.weight", "key.base_layer.weight"): x
        for name, x in random_tensors().items()
    }
    problem = problem_of(write(fitted, tmp_path / "model.safetensors"))
    assert "adapters (LoRA)" in problem and "merge" in problem


def packed(kind):
    """A checkpoint whose matrices are packed in one of the ways that there are."""
    tensors, beside = random_tensors(), {}
    for name in [name for name in tensors if tensors[name].ndim == 2]:
        matrix, stem = tensors[name], name.removesuffix("weight")
        if kind == "float8":
            tensors[name] = matrix.to(torch.float8_e4m3fn)
        elif kind == "float8 with scales":
            tensors[name] = matrix.to(torch.float8_e5m2)
            beside[f"{name}_scale_inv"] = torch.ones(1, 1)
        elif kind == "bitsandbytes in 8 bits":
            tensors[name], beside[f"{stem}SCB"] = matrix.to(torch.int8), torch.ones(1)
        elif kind == "bitsandbytes in 4 bits":
            tensors[name] = torch.zeros(matrix.numel() // 2, 1, dtype=torch.uint8)
            beside[f"{name}.quant_state.bitsandbytes__nf4"] = torch.zeros(9)
        elif kind == "the package rwkv":
            tensors[name], beside[f"{name}_mx"] = matrix.to(torch.uint8), torch.ones(1)
        elif "blocks" in name:  # GPTQ and AWQ
            del tensors[name]
            beside[f"{stem}qweight"] = torch.zeros(1, 8, dtype=torch.int32)
            beside[f"{stem}scales"] = torch.ones(1, 8)
    return tensors | beside


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("float8", "F8_E4M3"),
        ("float8 with scales", "F8_E5M2, scale_inv"),
        ("bitsandbytes in 8 bits", "I8, SCB"),
        ("bitsandbytes in 4 bits", "U8, quant_state"),
        ("the package rwkv", "U8, weight_mx"),
        ("GPTQ and AWQ", "qweight"),
    ],
)
def test_packed_numbers_are_called_packed(tmp_path, kind, seen):
    """In one sentence: it is no use to list every matrix."""
    problem = problem_of(write(packed(kind), tmp_path / "model.safetensors"))
    assert f"its numbers are packed ({seen}), " in problem
    assert "get the file in 16 or 32 bits" in problem
    torch.save(packed(kind), tmp_path / "model.pth")
    assert "its numbers are packed (" in problem_of(tmp_path / "model.pth")


def test_a_conversion_of_the_package_rwkv_is_called_one(tmp_path):
    converted = {**random_tensors(), "_strategy": "cpu fp32", "_version": 0.7}
    problem = problem_of(write(converted, tmp_path / "model.pth"))
    assert "the package rwkv has converted it" in problem
    assert "get the file that it was made from" in problem


@pytest.mark.parametrize(
    ("names", "models"),
    [
        (("student.", "teacher."), "student.blocks, teacher.blocks"),
        (("", "ema."), "blocks, ema.blocks"),
        (("rwkv.", "vision.encoder."), "rwkv.blocks, vision.encoder.blocks"),
    ],
)
def test_two_models_under_names_of_their_own_are_called_two(tmp_path, names, models):
    tensors = random_tensors()
    both = {f"{at}{name}": x.clone() for at in names for name, x in tensors.items()}
    problem = problem_of(write(both, tmp_path / "model.safetensors"))
    assert f"it holds layers of 2 models, {models}: save those of one" in problem


def test_what_is_more_than_an_rwkv_says_what_to_do(tmp_path):
    more = {"blocks.0.ffn.s_emb.weight": torch.ones(11, 6)}
    path = write(random_tensors() | more, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"unexpected .*\nNothing here compu"):
        checkpoint.load(path)


def test_a_size_that_no_tensor_tells_is_not_made_up(tmp_path):
    alone = {"emb.weight": torch.ones(4)}
    problems = problems_of(write(alone, tmp_path / "model.safetensors"))
    assert "emb.weight has shape (4,), not (V,C)" in problems


def test_a_layer_missing_in_the_middle_is_named(tmp_path):
    tensors = random_tensors(layers=7)
    for gap, sentence in (([2], "layer 2 is"), ([2, 3, 4], "layers 2 to 4 are")):
        parts = tuple(f"blocks.{layer}." for layer in gap)
        some = {k: t for k, t in tensors.items() if not k.startswith(parts)}
        (problem,) = problems_of(write(some, tmp_path / "model.safetensors"))
        assert problem == f"{sentence} missing"


def test_a_layer_with_an_enormous_number_is_not_counted_up_to(tmp_path):
    far = {f"blocks.{9**n}.ln1.bias": torch.ones(6) for n in (6, 40, 4000)}
    problems = problems_after(tmp_path, far, suffix=".pth")
    assert f"layers 3 to {9**6 - 1} are missing" in problems


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_number_that_is_not_finite_is_refused(tmp_path, bad, dtype, suffix):
    tensors = {k: t.to(getattr(torch, dtype)) for k, t in random_tensors().items()}
    tensors["blocks.1.att.key.weight"][2, 3:5] = bad
    (problem,) = problems_of(write(tensors, tmp_path / f"model{suffix}"))
    assert problem == "blocks.1.att.key.weight has NaN or infinite numbers (2)"


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.uint8])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_numbers_that_are_not_floating_point_are_refused(tmp_path, dtype, suffix):
    change = {"ln_out.bias": torch.ones(6, dtype=dtype)}
    (problem,) = problems_after(tmp_path, change, suffix=suffix)
    assert problem.startswith("ln_out.bias is ") and "float16" in problem


def test_all_problems_are_said_at_once(tmp_path):
    changes = {
        "blocks.0.att.key.weight": torch.ones(5, 6),
        "blocks.2.ffn.value.weight": torch.ones(3, 3, 3),
        "blocks.1.ln1.weight": torch.full((6,), torch.nan),
        "optimizer.step": torch.ones(1),
        "emb.weight": torch.ones(11, 6, dtype=torch.int32),
        "blocks.4.ln1.weight": torch.ones(6),
    }
    remove = ["blocks.0.ln0.bias", "blocks.1.att.time_first"]
    text = "\n".join(problems_after(tmp_path, changes, remove))
    for sentence in (
        "layer 3 is missing",
        "blocks.0.ln0.bias, ",
        "blocks.1.att.time_first",
        "blocks.4.att.time_decay",
        "unexpected tensors (1): optimizer.step",
        "blocks.0.att.key.weight has shape (5, 6), not (C,C) = (6, 6)",
        "blocks.2.ffn.value.weight has shape (3, 3, 3), not (C,F) = (6, 20)",
        "blocks.1.ln1.weight has NaN or infinite numbers (6)",
        "emb.weight is I32",
    ):
        assert sentence in text


def test_the_message_says_what_to_do(tmp_path):
    path = write({"emb.weight": torch.ones(3, 2)}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"\nGet the file again, or mend it"):
        checkpoint.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_tensors_or_with_those_of_another_model_is_refused(
    tmp_path, suffix
):
    problem = problem_of(write({}, tmp_path / f"model{suffix}"))
    assert "none at all" in problem
    gpt = {"transformer.h.0.attn.weight": torch.ones(2, 2)}
    problem = problem_of(write(gpt, tmp_path / f"model{suffix}"))
    assert "no RWKV has such tensors (transformer.h.0.attn.weight): name " in problem


@pytest.mark.parametrize("version", ["5.2", "6", "7"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_later_versions_are_told_and_read(tmp_path, version, suffix):
    path = write(later_version(version), tmp_path / f"model{suffix}")
    report = checkpoint.inspect(path)
    assert report.version == version and report.loads and report.deviations == ()
    assert (report.layers, report.width, report.vocabulary) == (2, 128, 11)
    assert (report.hidden, report.heads) == (512, 2)
    assert "2 of 64 channels" in str(report)
    assert len(checkpoint.load(path)) == len(later_version(version))


@pytest.mark.parametrize("version", ["5.0", "5.1"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_early_versions_of_5_are_recognised_and_refused(tmp_path, version, suffix):
    path = write(later_version(version), tmp_path / f"model{suffix}")
    report = checkpoint.inspect(path)
    assert report.version == version and not report.loads
    assert (report.layers, report.width, report.vocabulary) == (2, 128, 11)
    problem = problem_of(path)
    assert f"this is RWKV-{version}, an early RWKV-5" in problem
    assert "load reads 4, 5.2, 6, 7" in problem


@pytest.mark.parametrize("version", ["5.2", "6", "7"])
def test_all_that_is_wrong_with_a_later_version_is_said_at_once(tmp_path, version):
    tensors = later_version(version)
    del tensors["blocks.1.att.key.weight"]
    tensors["blocks.0.att.ln_x.bias"] = torch.ones(127)
    bonus = "r_k" if version == "7" else "time_faaaa"
    tensors[f"blocks.1.att.{bonus}"] = torch.ones(4, 32)
    tensors["blocks.0.att.time_ghost"] = torch.ones(1)
    tensors["ln_out.weight"][3] = torch.nan
    found = "\n".join(problems_of(write(tensors, tmp_path / "model.pth")))
    assert "missing tensors (1): blocks.1.att.key.weight" in found
    assert "blocks.0.att.ln_x.bias has shape (127,), not (C) = (128,)" in found
    assert "(4, 32), not (H,N) = (2, 64)" in found
    assert "unexpected tensors (1): blocks.0.att.time_ghost" in found
    assert "ln_out.weight has NaN or infinite numbers (1)" in found


@pytest.mark.parametrize("version", ["5.2", "6", "7"])
def test_heads_that_do_not_make_up_the_width_are_seen(tmp_path, version):
    """The matrices of time mixing have H * N rows; each tensor by itself is fine."""
    tensors = later_version(version)
    bonus = "r_k" if version == "7" else "time_faaaa"
    names = [bonus, *(["time_decay"] if version == "5.2" else [])]
    for layer in range(2):
        for name in names:
            tensors[f"blocks.{layer}.att.{name}"] = torch.ones(3, 64)
    found = "\n".join(problems_of(write(tensors, tmp_path / "model.pth")))
    assert "att.key.weight has shape (128, 128), not (HN,C) = (192, 128)" in found


def test_a_rank_that_is_not_one_is_seen(tmp_path):
    tensors = later_version("6")
    tensors["blocks.1.att.time_maa_w1"] = torch.ones(128, 61)
    found = problems_of(write(tensors, tmp_path / "model.pth"))
    assert found == (
        "blocks.1.att.time_maa_w1 has shape (128, 61), not (C,5R) = (128, 60)",
    )


def test_layer_0_of_an_rwkv_7_may_carry_tensors_that_it_does_not_use(tmp_path):
    tensors = later_version("7")
    tensors |= {
        key.replace("blocks.1.", "blocks.0."): tensor
        for key, tensor in tensors.items()
        if key.startswith(("blocks.1.att.v0", "blocks.1.att.v1", "blocks.1.att.v2"))
    }
    path = write(tensors, tmp_path / "model.pth")
    assert checkpoint.inspect(path).version == "7"


def test_an_early_version_of_5_with_nan_has_two_problems(tmp_path):
    tensors = later_version("5.1")
    tensors["blocks.1.att.time_faaaa"][0] = torch.nan
    problems = problems_of(write(tensors, tmp_path / "model.pth"))
    assert len(problems) == 2
    assert (
        "early RWKV-5" in problems[0]
        and "time_faaaa has NaN or infinite numbers (1)" in problems[1]
    )


def test_an_rwkv_4_with_nan_does_not_load_says_its_report(tmp_path):
    tensors = random_tensors()
    tensors["ln_out.bias"][2] = torch.nan
    path = write(tensors, tmp_path / "model.safetensors")
    problem = "ln_out.bias has NaN or infinite numbers (1)"
    assert problems_of(path) == checkpoint.inspect(path).deviations == (problem,)
    assert not checkpoint.inspect(path).loads
    with pytest.raises(CheckpointError, match=r"\(1\)\nGet the file again, or take"):
        checkpoint.load(path)


def test_what_a_model_has_read_is_not_a_model(tmp_path):
    state = {"state": torch.ones(2, 5, 6), "logits": torch.ones(11)}
    problem = problem_of(write(state, tmp_path / "state.safetensors"))
    assert "this is a state" in problem and "states.load" in problem
    tuned = {f"blocks.{n}.att.time_state": torch.ones(2, 64, 64) for n in range(2)}
    assert "time_state" in problem_of(write(tuned, tmp_path / "tuned.pth"))


def test_other_files_of_pytorch_are_refused_in_one_sentence(tmp_path):
    optimizer = torch.optim.Adam([torch.ones(2, requires_grad=True)])
    for content in (optimizer.state_dict(), {"models": [1]}, {"model": {"a": 1}}):
        problem = problem_of(write(content, tmp_path / "optimizer.pt"))
        assert problem.startswith("no RWKV has such tensors (")


def test_a_tensor_without_numbers_is_refused(tmp_path):
    empty = {"ln_out.bias": torch.ones(6, device="meta")}
    (problem,) = problems_after(tmp_path, empty, suffix=".pth")
    assert problem.startswith("ln_out.bias is a tensor without numbers")
