"""Files of weights: read by name, refused with all reasons at once, written exactly."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import create_autospec

import httpx
import huggingface_hub
import huggingface_hub.errors
import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.published import our_name, random_tensors
from huggingface_hub import HfApi
from huggingface_hub.hf_api import BlobLfsInfo, RepoSibling

from rwkv_book import checkpoint
from rwkv_book.checkpoint import CheckpointError
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.model import RWKV, Config

SUFFIXES = (".safetensors", ".pth", ".pt")
DTYPES = ("float32", "float16", "bfloat16")


def write(tensors, path):
    """A checkpoint as others would write it."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def problems_of(path):
    """The sentences of the error that loading `path` raises."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert all(problem in message for problem in caught.value.problems)
    return caught.value.problems


def problems_after(folder, changes=(), remove=(), suffix=".safetensors"):
    """The same for a whole checkpoint with some tensors changed or removed."""
    tensors = random_tensors() | dict(changes)
    for name in remove:
        del tensors[name]
    return problems_of(write(tensors, folder / f"model{suffix}"))


# What can be read.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_arrives_under_our_name(tmp_path, suffix, dtype):
    tensors = {k: t.to(getattr(torch, dtype)) for k, t in random_tensors().items()}
    params = checkpoint.load(write(tensors, tmp_path / f"model{suffix}"))
    assert set(params) == set(map(our_name, tensors))
    for name, tensor in tensors.items():
        values = params[our_name(name)]
        assert values.dtype == np.float32
        assert values.flags.c_contiguous and values.flags.writeable
        np.testing.assert_array_equal(values, tensor.float().squeeze().numpy())


def test_the_names_and_shapes_are_those_of_the_model(tmp_path):
    params = checkpoint.load(write(random_tensors(), tmp_path / "model.pth"))
    model = RWKV(Config(vocabulary=11, layers=3, width=6, hidden=20))
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    assert {name: values.shape for name, values in params.items()} == wanted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_order_of_the_tensors_does_not_matter(tmp_path, suffix):
    tensors = random_tensors()
    names = list(tensors)
    np.random.default_rng(0).shuffle(names)
    (tmp_path / "other").mkdir()
    shuffled = {name: tensors[name] for name in names}
    first = checkpoint.load(write(tensors, tmp_path / f"model{suffix}"))
    second = checkpoint.load(write(shuffled, tmp_path / "other" / f"model{suffix}"))
    assert list(first) == list(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_squeezed_time_vectors_are_read_too(tmp_path, suffix):
    tensors = random_tensors()
    squeezed = {k: t.squeeze() if ".time_" in k else t for k, t in tensors.items()}
    longer = {k: t.reshape(1, 1, -1) for k, t in tensors.items() if ".time_" in k}
    params = checkpoint.load(write(tensors, tmp_path / f"usual{suffix}"))
    for change in (squeezed, longer):
        path = write(tensors | change, tmp_path / f"other{suffix}")
        for name, values in checkpoint.load(path).items():
            np.testing.assert_array_equal(values, params[name])


def test_layers_beyond_the_tenth_keep_their_numbers(tmp_path):
    tensors = random_tensors(layers=12)
    params = checkpoint.load(write(tensors, tmp_path / "model.pth"))
    for layer in range(12):
        expected = tensors[f"blocks.{layer}.att.time_first"].numpy()
        np.testing.assert_array_equal(
            params[f"blocks.{layer}.time_mix.bonus"], expected
        )


def test_tensors_that_share_their_memory_in_a_file_do_not_share_it_here(tmp_path):
    tensors = random_tensors()
    tensors["head.weight"] = tensors["emb.weight"]
    params = checkpoint.load(write(tensors, tmp_path / "model.pth"))
    params["head.weight"][:] = 0
    np.testing.assert_array_equal(params["embedding.weight"], tensors["emb.weight"])


def test_the_old_pytorch_format_is_read_too(tmp_path):
    path, tensors = tmp_path / "model.pth", random_tensors()
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(
        checkpoint.load(path)["head.weight"], tensors["head.weight"]
    )


def test_reading_safetensors_does_not_import_torch(tmp_path):
    path = write(random_tensors(), tmp_path / "model.safetensors")
    program = (
        "import sys; from rwkv_book import checkpoint;"
        "from rwkv_book.rwkv4 import minimal; from rwkv_book.text import tokenizers;"
        f"params = checkpoint.load({str(path)!r}); checkpoint.inspect({str(path)!r});"
        f"checkpoint.save(params, {str(path)!r});"
        "minimal.step(1, minimal.initial_state(params), params);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# What can't.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_not_there_is_named(tmp_path, suffix):
    (problem,) = problems_of(tmp_path / f"none{suffix}")
    assert "No such file" in problem


def test_a_folder_is_not_a_file(tmp_path):
    (problem,) = problems_of(tmp_path)
    assert "folder" in problem and ".safetensors" in problem


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.touch()
    (problem,) = problems_of(path)
    assert "empty" in problem and "download it again" in problem


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (problem,) = problems_of(tmp_path / "model.gguf")
    assert ".gguf" in problem and ".safetensors" in problem


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("part", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(tmp_path, suffix, part):
    path = write(random_tensors(), tmp_path / f"model{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: max(1, int(len(data) * part))])
    (problem,) = problems_of(path)
    assert "truncated" in problem and "again" in problem


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "data", [b"a text file\n" * 20, b"\xff" * 300, b"PK\x03\x04" * 9]
)
def test_a_file_of_something_else_is_refused(tmp_path, suffix, data):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    (problem,) = problems_of(path)
    assert "not a" in problem


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused_or_read_and_nothing_else_happens(tmp_path, suffix):
    path = write(random_tensors(layers=1), tmp_path / f"model{suffix}")
    data, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(200):
        damaged = bytearray(data)
        # most of it at the beginning, where the names and shapes are
        for place in rng.integers(0, [40, 400, 3000, len(data)]):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert len(checkpoint.load(path)) == 24
        except CheckpointError:
            refused += 1
    assert refused > 100


def test_a_header_with_more_in_it_than_needed_is_read(tmp_path):
    path = write(random_tensors(), tmp_path / "model.safetensors")
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for entry in header.values():
        entry["comment"] = "read by nobody"
    header = json.dumps(header).encode()
    longer = len(header).to_bytes(8, "little") + header + data[8 + length :]
    path.write_bytes(longer)
    head = checkpoint.load(path)["head.weight"]
    np.testing.assert_array_equal(head, random_tensors()["head.weight"])


class Attack:
    """Unpickling it runs a command that makes a file."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.system, (f"touch '{self.victim}'",)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("read", [checkpoint.load, checkpoint.inspect])
def test_code_in_a_pickle_is_not_run(tmp_path, suffix, zipped, read):
    victim, path = tmp_path / "victim", tmp_path / f"model{suffix}"
    tensors = random_tensors() | {"extra": Attack(victim)}
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"wants to run \w+\.system"):
        read(path)
    assert not victim.exists()
    torch.load(path, weights_only=False)  # the attack would have worked
    assert victim.exists()


def test_code_in_a_bare_pickle_is_not_run(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "model.pth"
    path.write_bytes(pickle.dumps({"emb.weight": Attack(victim)}))
    (problem,) = problems_of(path)
    assert "no code was run" in problem and not victim.exists()
    pickle.loads(path.read_bytes())
    assert victim.exists()


def test_a_pytorch_file_without_named_tensors_is_refused(tmp_path):
    (problem,) = problems_of(write([torch.ones(3)], tmp_path / "model.pth"))
    assert "list" in problem
    problems = problems_after(tmp_path, {"step": 3, "names": ["a"]}, suffix=".pth")
    assert any("step is no dense tensor but int" in problem for problem in problems)
    assert any("unexpected tensors (2): step, names" in problem for problem in problems)


def test_a_sparse_tensor_is_refused(tmp_path):
    sparse = {"head.weight": random_tensors()["head.weight"].to_sparse()}
    problems = problems_after(tmp_path, sparse, suffix=".pth")
    assert any("head.weight is no dense tensor" in problem for problem in problems)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", random_tensors(layers=2))
def test_no_tensor_may_be_missing(tmp_path, suffix, name):
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
    (problem,) = problems_after(tmp_path, {"head.weight": torch.ones(12, 6)})
    assert problem == "head.weight has shape (12, 6), not (V,C) = (11, 6)"


def test_a_tied_or_missing_head_is_refused(tmp_path):
    (problem,) = problems_after(tmp_path, remove=["head.weight"])
    assert problem == "missing tensors (1): head.weight"


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
    (problem,) = problems_of(write({}, tmp_path / f"model{suffix}"))
    assert "none at all" in problem
    gpt = {"transformer.h.0.attn.weight": torch.ones(2, 2)}
    (problem,) = problems_of(write(gpt, tmp_path / f"model{suffix}"))
    assert problem == "no RWKV has such tensors: transformer.h.0.attn.weight"


# Which version a file is.


def later_version(version, layers=2, width=128, vocabulary=11):
    """The names and shapes of a published RWKV-5, 6 or 7, filled with ones."""
    heads, shapes = width // 64, {}
    for layer in range(layers):
        block = f"blocks.{layer}."
        norms = ["ln1", "ln2", "att.ln_x", *(["ln0"] if layer == 0 else [])]
        for norm in norms:
            shapes |= {f"{block}{norm}.{part}": (width,) for part in ("weight", "bias")}
        for matrix in ("receptance", "key", "value", "output"):
            shapes[f"{block}att.{matrix}.weight"] = (width, width)
        shapes[f"{block}ffn.key.weight"] = (4 * width, width)
        shapes[f"{block}ffn.value.weight"] = (width, 4 * width)
        att, vector = f"{block}att.", (1, 1, width)
        if version[0] == "5":
            shapes |= {f"{att}time_mix_{x}": vector for x in "kvr"}
            shapes |= {f"{block}ffn.time_mix_{x}": vector for x in "kr"}
            shapes[f"{block}ffn.receptance.weight"] = (width, width)
            decay = (heads, 64) if version == "5.2" else (heads,)
            bonus = "time_first" if version == "5.0" else "time_faaaa"
            shapes |= {f"{att}time_decay": decay, f"{att}{bonus}": decay}
            if version != "5.0":
                shapes[f"{att}time_mix_g"] = vector
                shapes[f"{att}gate.weight"] = (width, width)
        if version == "6":
            shapes |= {f"{att}time_maa_{x}": vector for x in "xwkvrg"}
            shapes |= {f"{att}time_maa_w1": (width, 160), f"{att}time_decay": vector}
            shapes |= {f"{att}time_maa_w2": (5, 32, width)}
            shapes |= {f"{att}time_decay_w1": (width, 64)}
            shapes |= {f"{att}time_decay_w2": (64, width)}
            shapes |= {
                f"{att}time_faaaa": (heads, 64),
                f"{att}gate.weight": (width,) * 2,
            }
            shapes |= {f"{block}ffn.time_maa_{x}": vector for x in "kr"}
            shapes[f"{block}ffn.receptance.weight"] = (width, width)
        if version == "7":
            shapes |= {f"{att}x_{x}": vector for x in "rwkvag"}
            for letter in "wag" if layer == 0 else "wagv":
                shapes |= {
                    f"{att}{letter}1": (width, 32),
                    f"{att}{letter}2": (32, width),
                }
                if letter != "g":
                    shapes[f"{att}{letter}0"] = vector
            shapes |= {
                f"{att}k_k": vector,
                f"{att}k_a": vector,
                f"{att}r_k": (heads, 64),
            }
            shapes[f"{block}ffn.x_k"] = vector
    shapes |= {"ln_out.weight": (width,), "ln_out.bias": (width,)}
    shapes |= {name: (vocabulary, width) for name in ("emb.weight", "head.weight")}
    return {name: torch.ones(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("version", ["5.0", "5.1", "5.2", "6", "7"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_later_versions_are_recognised_and_refused(tmp_path, version, suffix):
    path = write(later_version(version), tmp_path / f"model{suffix}")
    report = checkpoint.inspect(path)
    assert report.version == version
    assert (report.layers, report.width, report.vocabulary) == (2, 128, 11)
    assert report.hidden == 512
    (problem,) = problems_of(path)
    assert f"this is RWKV-{version}" in problem and "RWKV-4" in problem


def test_layer_0_of_an_rwkv_7_may_carry_tensors_that_it_does_not_use(tmp_path):
    tensors = later_version("7")
    tensors |= {
        key.replace("blocks.1.", "blocks.0."): tensor
        for key, tensor in tensors.items()
        if key.startswith(("blocks.1.att.v0", "blocks.1.att.v1", "blocks.1.att.v2"))
    }
    path = write(tensors, tmp_path / "model.pth")
    assert checkpoint.inspect(path).version == "7"


def test_a_later_version_with_nan_has_two_problems(tmp_path):
    tensors = later_version("6")
    tensors["blocks.1.att.time_faaaa"][0, 0] = torch.nan
    problems = problems_of(write(tensors, tmp_path / "model.pth"))
    assert len(problems) == 2
    assert (
        "Finch" in problems[0]
        and "time_faaaa has NaN or infinite numbers (1)" in problems[1]
    )


# What a report says.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_report_tells_all_sizes(tmp_path, suffix, dtype):
    tensors = random_tensors(layers=4, width=10, hidden=40, vocabulary=17)
    halves = {k: t.to(getattr(torch, dtype)) for k, t in tensors.items()}
    path = write(halves, tmp_path / f"model{suffix}")
    report = checkpoint.inspect(path)
    parameters = 2 * 17 * 10 + 13 * 10**2 * 4 + 10 * (11 * 4 + 4)
    assert report == checkpoint.Report(
        path=path,
        version="4",
        layers=4,
        width=10,
        vocabulary=17,
        hidden=40,
        parameters=parameters,
        dtypes=(dtype,),
        file_bytes=path.stat().st_size,
        metadata={},
        deviations=(),
    )
    text = str(report)
    for part in (str(path), "RWKV-4", "40", "17", f"{parameters:,}", dtype, "none"):
        assert part in text


def test_a_report_lists_what_keeps_a_file_from_being_loaded_and_what_is_odd(tmp_path):
    tensors = random_tensors()
    tensors["blocks.1.att.time_mix_k"] = tensors["blocks.1.att.time_mix_k"].squeeze()
    tensors["emb.weight"] = tensors["emb.weight"].half()
    tensors["ln_out.bias"] = tensors["ln_out.bias"].double()
    path = write(tensors, tmp_path / "model.safetensors")
    checkpoint.load(path)
    odd = checkpoint.inspect(path).deviations
    assert odd == (
        "float64 is rounded to float32 when it is read",
        "numbers of 3 kinds: float16, float32, float64",
        "other axes of length 1 than usual: blocks.1.att.time_mix_k",
    )
    del tensors["head.weight"]
    report = checkpoint.inspect(write(tensors, path))
    assert report.deviations == ("missing tensors (1): head.weight", *odd)
    assert all(sentence in str(report) for sentence in report.deviations)


# Writing.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_saving_and_loading_gives_the_same_numbers(tmp_path, suffix, dtype, kind):
    tensors = random_tensors()
    params = {
        our_name(name): tensor.squeeze().to(getattr(torch, dtype)).float()
        for name, tensor in tensors.items()
    }
    if kind == "numpy":
        params = {name: tensor.numpy() for name, tensor in params.items()}
    path = tmp_path / f"model{suffix}"
    checkpoint.save(params, path, dtype)
    again = checkpoint.load(path)
    assert set(again) == set(params)
    for name, values in again.items():
        np.testing.assert_array_equal(values, np.asarray(params[name]))
    report = checkpoint.inspect(path)
    assert report.dtypes == (dtype,) and report.deviations == ()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_saved_file_has_the_published_names_and_shapes(tmp_path, suffix):
    tensors, path = random_tensors(), tmp_path / f"model{suffix}"
    checkpoint.save({our_name(k): t.squeeze() for k, t in tensors.items()}, path)
    if suffix == ".safetensors":
        stored = safetensors.torch.load_file(path)
    else:
        stored = torch.load(path, weights_only=True)
    assert set(stored) == set(tensors)
    for name, tensor in stored.items():
        assert tensor.dtype == torch.float16
        torch.testing.assert_close(tensor, tensors[name].half(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_that_of_torch(tmp_path, dtype):
    bits = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32)
    values = bits.view(np.float32)
    ties = np.float32(1) + np.arange(512, dtype=np.float32) * np.float32(2**-12)
    values = torch.from_numpy(np.concatenate([values[np.abs(values) < 6e4], ties]))
    params = RWKV(Config(vocabulary=len(values), layers=1, width=2)).state_dict()
    params["head.weight"][:, 0] = values
    checkpoint.save(params, tmp_path / "model.safetensors", dtype)
    stored = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert torch.equal(stored["head.weight"][:, 0], values.to(getattr(torch, dtype)))


def test_the_saved_model_computes_the_same(tmp_path):
    torch.manual_seed(0)
    model = RWKV(Config(vocabulary=13, layers=2, width=8))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    checkpoint.save(model.state_dict(), tmp_path / "model.pth", "float32")
    params = checkpoint.load(tmp_path / "model.pth")
    logits, _ = minimal.step(5, minimal.initial_state(params), params)
    expected, _ = model.step(torch.tensor([5]))
    np.testing.assert_allclose(logits, expected[0].detach(), atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_number_too_large_for_the_dtype_is_refused(tmp_path, suffix):
    params = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    params["head.weight"][3, 3] = 7e4
    path = tmp_path / f"model{suffix}"
    with pytest.raises(CheckpointError, match=r"head\.weight has .* float16 .* 70000"):
        checkpoint.save(params, path, "float16")
    assert list(tmp_path.iterdir()) == []
    params["norm_out.bias"][0] = 3.4e38  # rounds up to infinity in bfloat16
    with pytest.raises(CheckpointError, match=r"ln_out\.bias has .* bfloat16"):
        checkpoint.save(params, path, "bfloat16")
    checkpoint.save(params, path, "float32")
    assert checkpoint.load(path)["head.weight"][3, 3] == 7e4


def test_params_that_are_no_model_are_not_saved(tmp_path):
    params = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    params["norm_out.bias"] = torch.full((6,), torch.nan)
    params["emb.weight"] = params.pop("embedding.weight")
    del params["blocks.1.time_mix.bonus"]
    with pytest.raises(CheckpointError) as caught:
        checkpoint.save(params, tmp_path / "model.safetensors")
    for part in (
        "ln_out.bias has NaN or infinite numbers (6)",
        "unexpected names (1): emb.weight",
        "missing tensors (2): emb.weight, blocks.1.att.time_first",
    ):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    params = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    path = tmp_path / "model.safetensors"
    checkpoint.save(params, path)
    before = path.read_bytes()

    def half(specs, part, metadata):
        part.write_bytes(before[:100])
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "serialize_file", half)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(params, path)
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


def test_the_same_params_give_the_same_bytes(tmp_path):
    params = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    for suffix in SUFFIXES:
        paths = [tmp_path / f"{name}{suffix}" for name in ("one", "two")]
        for path in paths:
            checkpoint.save(dict(reversed(params.items())), path)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_metadata_is_kept(tmp_path):
    params = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    path, text = tmp_path / "model.safetensors", {"corpus": "Æsop", "loss": "1.4"}
    checkpoint.save(params, path, metadata=text)
    assert checkpoint.metadata(path) == text == checkpoint.inspect(path).metadata
    assert "Æsop" in str(checkpoint.inspect(path))
    checkpoint.save(params, path)
    assert checkpoint.metadata(path) == {}
    with pytest.raises(ValueError, match="metadata"):
        checkpoint.save(params, tmp_path / "model.pth", metadata=text)
    with pytest.raises(ValueError, match="int8"):
        checkpoint.save(params, path, "int8")
    with pytest.raises(CheckpointError, match="safetensors"):
        checkpoint.save(params, tmp_path / "model.bin")


# Models that come with the book, and models that are fetched.


def test_a_model_that_does_not_come_with_the_book_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match="which has none"):
        checkpoint.shipped("shakespeare")
    (tmp_path / "models").mkdir()
    for name in ("one", "two"):
        (tmp_path / "models" / f"{name}.safetensors").touch()
    assert checkpoint.shipped("two") == tmp_path / "models" / "two.safetensors"
    for name in ("three", "../models/one", "one.safetensors"):
        with pytest.raises(CheckpointError, match="which has one, two"):
            checkpoint.shipped(name)


NAME = "RWKV-4-Pile-169M"


class Hub:
    """Stands in for the Hugging Face hub: one repository with one small file."""

    def __init__(self, monkeypatch, content=b"weights"):
        self.content, self.asked = content, []
        self.digest = hashlib.sha256(content).hexdigest()
        self.revision = "c0ffee"
        repository, self.file, _ = checkpoint.PUBLISHED[NAME]
        self.repository = repository
        table = {NAME: (repository, self.file, self.digest)}
        monkeypatch.setattr(checkpoint, "PUBLISHED", table)
        # the specifications refuse a call that the real functions would refuse
        self.api = create_autospec(HfApi, instance=True)
        self.api.model_info.side_effect = self.model_info
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self.api)
        get = create_autospec(huggingface_hub.hf_hub_download, side_effect=self.get)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", get)

    def model_info(self, repository, revision, files_metadata):
        assert repository == self.repository and files_metadata
        self.asked.append(revision)
        large = BlobLfsInfo(size=7, sha256=self.digest, pointer_size=1)
        siblings = [RepoSibling("README.md"), RepoSibling(self.file, lfs=large)]
        return SimpleNamespace(sha=revision or self.revision, siblings=siblings)

    def get(self, repository, file, revision, local_dir):
        assert (repository, file) == (self.repository, self.file)
        self.asked.append(f"file at {revision}")
        (local_dir / file).write_bytes(self.content)


def test_a_download_is_checked_kept_and_not_repeated(tmp_path, monkeypatch):
    hub = Hub(monkeypatch)
    path = checkpoint.download(NAME, tmp_path)
    assert path.read_bytes() == b"weights" and path.is_relative_to(tmp_path)
    assert hub.asked == [None, "file at c0ffee"]
    assert checkpoint.download(NAME, tmp_path) == path
    assert len(hub.asked) == 2
    note = json.loads((path.parent / "source.json").read_text())
    assert note["revision"] == "c0ffee" and note["sha256"] == hub.digest


def test_an_interrupted_download_goes_on_with_the_revision_it_began_with(
    tmp_path, monkeypatch
):
    hub = Hub(monkeypatch)

    with monkeypatch.context() as patch:
        patch.setattr(hub, "content", None)  # which can't be written
        with pytest.raises(TypeError):
            checkpoint.download(NAME, tmp_path)
    hub.revision = "decaf"
    checkpoint.download(NAME, tmp_path)
    assert hub.asked == [None, "file at c0ffee", "c0ffee", "file at c0ffee"]


def test_a_file_with_another_digest_is_removed(tmp_path, monkeypatch):
    hub = Hub(monkeypatch)
    hub.content = b"weighty"
    with pytest.raises(CheckpointError, match=f"not {hub.digest}: deleted"):
        checkpoint.download(NAME, tmp_path)
    assert list(tmp_path.rglob("*.pth")) == []
    hub.content = b"weights"
    path = checkpoint.download(NAME, tmp_path)
    path.write_bytes(b"changed")
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoint.download(NAME, tmp_path)
    assert not path.exists()


def test_a_file_that_the_hub_itself_gives_another_digest_is_not_fetched(
    tmp_path, monkeypatch
):
    hub = Hub(monkeypatch)
    hub.digest = "0" * 64
    with pytest.raises(CheckpointError, match=f"hub offers SHA-256 {'0' * 64}"):
        checkpoint.download(NAME, tmp_path)
    assert hub.asked == [None] and list(tmp_path.rglob("*.*")) == []


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("Name or service not known"),
        huggingface_hub.errors.OfflineModeIsEnabled("offline mode is enabled"),
        huggingface_hub.errors.LocalEntryNotFoundError("cannot find the file"),
    ],
)
def test_without_a_network_the_message_says_what_to_do(tmp_path, monkeypatch, error):
    hub = Hub(monkeypatch)

    hub.api.model_info.side_effect = error
    with pytest.raises(CheckpointError) as caught:
        checkpoint.download(NAME, tmp_path)
    text = str(caught.value)
    for part in (str(error), "huggingface.co/BlinkDL", "shipped()", "checkpoint.load"):
        assert part in text


def test_only_the_official_models_can_be_downloaded(tmp_path):
    with pytest.raises(CheckpointError, match=r"RWKV-4-Pile-169M, RWKV-4-Pile-430M"):
        checkpoint.download("RWKV-4-Pile-7B", tmp_path)
    for repository, file, digest in checkpoint.PUBLISHED.values():
        assert repository.startswith("BlinkDL/") and file.endswith(".pth")
        assert len(bytes.fromhex(digest)) == 32
