"""A model is read by name into our names, and written as it is read."""

import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.disks import small_disk
from helpers.files import DTYPES, SUFFIXES, calls_of, write
from helpers.later import later_version
from helpers.published import our_name, random_tensors

from rwkv_book import checkpoint
from rwkv_book.checkpoint import CheckpointError
from rwkv_book.folders import DiskFull
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.training.versions import read_model


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
        heads=0,
        parameters=parameters,
        dtypes=(dtype,),
        file_bytes=path.stat().st_size,
        metadata={},
        deviations=(),
        loads=True,
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
    assert checkpoint.inspect(path).loads
    del tensors["ln_out.weight"]
    report = checkpoint.inspect(write(tensors, path))
    assert report.deviations == ("missing tensors (1): ln_out.weight", *odd)
    assert not report.loads
    assert all(sentence in str(report) for sentence in report.deviations)


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


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, suffix):
    params = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    path = tmp_path / f"model{suffix}"
    checkpoint.save(params, path)
    before = path.read_bytes()
    program = (
        "import resource, signal; from rwkv_book import checkpoint;"
        f"params = checkpoint.load({str(path)!r});"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        f"checkpoint.save(params, {str(path)!r}, 'float32')"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert found.returncode == 1 and b"rror" in found.stderr
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_called_full_and_keeps_nothing(tmp_path, suffix):
    params = RWKV(Config(vocabulary=256, layers=2, width=32)).state_dict()
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(DiskFull, match="no space left for "):
            checkpoint.save(params, disk / f"model{suffix}", "float32")
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_others_may_read_a_file_as_the_umask_says(tmp_path, suffix, umask):
    params = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    path, before = tmp_path / f"model{suffix}", os.umask(umask)
    try:
        checkpoint.save(params, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_are_not_utf_8_are_saved_and_loaded(tmp_path, suffix):
    params = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    folder = tmp_path / os.fsdecode(b"m\xfcll \xff")
    folder.mkdir()
    path = folder / f"{os.fsdecode(bytes([0xE9]))}{suffix}"
    text = {"command": f"train {path}"} if suffix == ".safetensors" else None
    checkpoint.save(params, path, metadata=text)
    assert set(checkpoint.load(path)) == set(params)
    report = checkpoint.inspect(path)
    assert report.loads and b"\\udcff" in str(report).encode()
    if text:
        command = checkpoint.metadata(path)["command"]
        assert command.startswith("train /") and command.endswith(suffix)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert b"empty" in str(caught.value).encode()


@pytest.mark.parametrize("version", ["4", "6", "7"])
@pytest.mark.parametrize("read", [checkpoint.load, read_model, checkpoint.inspect])
def test_a_tensor_is_read_once(tmp_path, read, version):
    tensors = random_tensors() if version == "4" else later_version(version)
    path = write(tensors, tmp_path / "model.safetensors")
    with calls_of(np.fromfile) as calls:
        read(path)
    assert len(calls) == len(tensors)


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


def test_a_model_that_does_not_come_with_the_book_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="which has none"):
        checkpoint.shipped("shakespeare", tmp_path)
    for name, rows in {"one": 256, "two": 256, "few": 11}.items():
        tensors = random_tensors(layers=1, vocabulary=rows)
        write(tensors, tmp_path / f"{name}.safetensors")
    write({"trunk.weight": torch.ones(2)}, tmp_path / "lstm.safetensors")
    assert checkpoint.shipped("two", tmp_path) == tmp_path / "two.safetensors"
    assert checkpoint.shipped("lstm", tmp_path).name == "lstm.safetensors"
    for name in ("three", f"../{tmp_path.name}/one", "one.safetensors"):
        with pytest.raises(CheckpointError, match=r"which has one, two$"):
            checkpoint.shipped(name, tmp_path)


def test_a_model_in_a_folder_is_called_by_both_names(tmp_path):
    path = tmp_path / "folder" / "one.safetensors"
    path.parent.mkdir()
    write(random_tensors(layers=1, vocabulary=256), path)
    assert checkpoint.shipped("folder/one", tmp_path) == path
    with pytest.raises(CheckpointError, match="which has folder/one"):
        checkpoint.shipped("one", tmp_path)
