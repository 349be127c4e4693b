"""A model lies in a file, in a folder or in several files."""

import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.files import problem_of, problems_of, write
from helpers.later import later_version
from helpers.published import random_tensors

from rwkv_book import checkpoint
from rwkv_book.checkpoint import CheckpointError


def test_a_folder_is_not_a_file(tmp_path):
    (problem,) = problems_of(tmp_path)
    assert "folder" in problem and ".safetensors" in problem


def shards(folder, tensors, suffix=".safetensors"):
    """A model in three files and their index, as transformers writes them."""
    where = {}
    for number, names in enumerate(np.array_split(list(tensors), 3), 1):
        file = f"model-{number:05}-of-00003{suffix}"
        write({str(name): tensors[str(name)] for name in names}, folder / file)
        where |= {str(name): file for name in names}
    index = folder / f"model{suffix}.index.json"
    content = {"metadata": {"total_size": 1}, "weight_map": where}
    index.write_text(json.dumps(content))
    return index


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_model_in_several_files_is_read_by_its_index_or_its_folder(tmp_path, suffix):
    tensors = random_tensors()
    index = shards(tmp_path, tensors, suffix)
    whole = checkpoint.load(write(tensors, tmp_path / "whole.pth"))
    (tmp_path / "whole.pth").unlink()
    for path in (index, tmp_path):
        params = checkpoint.load(path)
        assert list(params) == list(whole)
        for name, values in params.items():
            np.testing.assert_array_equal(values, whole[name])
        report = checkpoint.inspect(path)
        assert report.loads and report.version == "4" and report.layers == 3
        files = tmp_path.glob(f"model-*{suffix}")
        assert report.file_bytes == sum(file.stat().st_size for file in files)
        assert checkpoint.metadata(path) == {}


def test_a_later_version_in_several_files_is_read(tmp_path):
    shards(tmp_path, later_version("7"))
    assert checkpoint.inspect(tmp_path).version == "7"
    assert len(checkpoint.load(tmp_path)) == len(later_version("7"))


def test_missing_parts_of_a_model_are_named(tmp_path):
    index = shards(tmp_path, random_tensors())
    middle = tmp_path / "model-00002-of-00003.safetensors"
    middle.unlink()
    problem = problem_of(index)
    assert "1 of the 3 files that it names are missing" in problem
    assert middle.name in problem
    safetensors.torch.save_file({"other": torch.ones(2)}, middle)
    assert "tensors are not where it says" in problem_of(index)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_parts_without_their_index_are_called_parts(tmp_path, suffix):
    index = shards(tmp_path, random_tensors(), suffix)
    part = tmp_path / f"model-00002-of-00003{suffix}"
    sentence = "of a model in 3 files: put all of them and their index, " + index.name
    assert f"part 2 {sentence}, into one folder" in problem_of(part)
    index.unlink()
    assert f"part 1, 2, 3 {sentence}" in problem_of(tmp_path)
    part.unlink()
    assert f"part 1, 3 {sentence}" in problem_of(tmp_path)
    (tmp_path / f"model-00003-of-00003{suffix}").unlink()
    assert f"part 1 {sentence}" in problem_of(tmp_path)
    assert "No such file" in problem_of(part)


def test_one_part_of_one_is_the_model(tmp_path):
    path = write(random_tensors(), tmp_path / "model-00001-of-00001.safetensors")
    for each in (path, tmp_path):
        assert checkpoint.inspect(each).loads


def test_of_both_formats_of_transformers_safetensors_is_read(tmp_path):
    write(random_tensors(), tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    report = checkpoint.inspect(tmp_path)
    note = "model.safetensors is read, and pytorch_model.bin beside it is left"
    assert report.loads and report.deviations == (note,)
    assert len(checkpoint.load(tmp_path)) == len(random_tensors())
    assert checkpoint.inspect(tmp_path / "model.safetensors").deviations == ()


def test_of_both_indices_that_of_safetensors_is_read(tmp_path):
    index = shards(tmp_path, random_tensors())
    (tmp_path / "pytorch_model.bin.index.json").write_text("{}")
    (note,) = checkpoint.inspect(tmp_path).deviations
    assert note.startswith(f"{index.name} is read, and pytorch_model.bin.index")


def test_a_folder_of_folders_names_those_with_a_model(tmp_path):
    for name in ("checkpoint-100", "checkpoint-200", "logs"):
        (tmp_path / name).mkdir()
    (tmp_path / "logs" / "events.txt").touch()
    write(random_tensors(), tmp_path / "checkpoint-100" / "model.safetensors")
    shards(tmp_path / "checkpoint-200", random_tensors())
    problem = problem_of(tmp_path)
    assert "in its folders checkpoint-100, checkpoint-200: name one" in problem
    assert checkpoint.inspect(tmp_path / "checkpoint-200").loads


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_checkpoint_of_several_processes_says_what_makes_a_file_of_it(tmp_path):
    from torch.distributed.checkpoint import format_utils, save

    save({"emb.weight": torch.ones(3, 2)}, checkpoint_id=tmp_path, no_dist=True)
    assert any(path.suffix == ".distcp" for path in tmp_path.iterdir())
    problem = problem_of(tmp_path)
    assert f"{format_utils.__name__}.dcp_to_torch_save" in problem
    format_utils.dcp_to_torch_save(tmp_path, tmp_path / "model.pth")
    assert [*checkpoint.read(tmp_path / "model.pth")] == ["emb.weight"]


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", 3, None, ""])
def test_an_index_names_only_files_beside_it(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"emb.weight": name}}))
    assert problem_of(index)


@pytest.mark.parametrize("content", ['{"weight_map":' * 10**5, '{"weight_map": [1]}'])
def test_json_that_is_no_index_is_refused(tmp_path, content):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    assert "no index of weights (there is no weight_map in it)" in problem_of(index)


def test_an_address_is_no_path():
    address = "https://example.org/model.pth"
    with pytest.raises(CheckpointError, match="an address, not a path: download the"):
        checkpoint.load(address)


def test_an_index_of_indices_is_refused(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"emb.weight": index.name}}))
    with pytest.raises(checkpoint.CheckpointError, match="should be weights"):
        checkpoint.load(index)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth", "PYTORCH.BIN"])
def test_a_folder_with_one_model_is_that_model(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    write(random_tensors(), tmp_path / "written.pth").rename(tmp_path / name)
    if name.endswith(".safetensors"):
        write(random_tensors(), tmp_path / name)
    assert len(checkpoint.load(tmp_path)) == len(random_tensors())
    report = checkpoint.inspect(tmp_path)
    assert report.loads and report.path == tmp_path
    assert report.file_bytes == (tmp_path / name).stat().st_size


def test_a_folder_with_several_models_lists_them(tmp_path):
    for name in ("model.safetensors", "checkpoint.pt"):
        write(random_tensors(), tmp_path / name)
    problem = problem_of(tmp_path)
    assert "holds checkpoint.pt, model.safetensors: name one of them" in problem


def test_a_folder_without_a_model_says_what_there_is(tmp_path):
    for number in range(20):
        (tmp_path / f"note-{number:02}.txt").touch()
    problem = problem_of(tmp_path)
    assert "note-07.txt, ...: name the file" in problem and "note-08" not in problem


def test_what_trainers_put_beside_a_model_is_no_model(tmp_path):
    write(random_tensors(), tmp_path / "model.safetensors")
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        write({"step": torch.ones(1)}, tmp_path / name)
    assert checkpoint.inspect(tmp_path).loads


def test_a_path_that_can_not_be_is_one_sentence(tmp_path):
    for path in (tmp_path / ("x" * 300), tmp_path / "nul\0", "/dev/null"):
        assert problem_of(path)
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe or a device" in problem_of(tmp_path / "pipe")
