"""Bytes of a file become tensors with names, or one error; no code in it is run."""

import json
import os
import pickle
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest
import torch
from helpers.files import SUFFIXES, problem_of, problems_after, problems_of, write
from helpers.published import our_name, random_tensors

from rwkv_book import checkpoint
from rwkv_book.checkpoint import CheckpointError


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


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("part", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(tmp_path, suffix, part):
    path = write(random_tensors(), tmp_path / f"model{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: max(1, int(len(data) * part))])
    (problem,) = problems_of(path)
    assert "truncated" in problem and "again" in problem


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
    assert "holds one list, not tensors with names: save the weights alone" in problem
    problems = problems_after(tmp_path, {"step": 3, "names": ["a"]}, suffix=".pth")
    assert any("step is no dense tensor but int" in problem for problem in problems)
    assert any("unexpected tensors (2): step, names" in problem for problem in problems)


def test_a_sparse_tensor_is_refused(tmp_path):
    sparse = {"head.weight": random_tensors()["head.weight"].to_sparse()}
    problems = problems_after(tmp_path, sparse, suffix=".pth")
    assert any("head.weight is no dense tensor" in problem for problem in problems)


# A trainer's dictionary.


def test_the_arguments_of_a_trainer_do_no_harm(tmp_path):
    trainer = {"args": Namespace(lr=1e-3, name="run"), "model": random_tensors()}
    path = write(trainer, tmp_path / "last.pt")
    assert len(checkpoint.load(path)) == len(random_tensors())
    trainer["args"].victim = Attack(tmp_path / "victim")
    assert "wants to run" in problem_of(write(trainer, tmp_path / "last.pt"))
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    "entry", ["state_dict", "model", "model_state_dict", "weights", "network"]
)
def test_the_weights_in_one_entry_of_a_trainers_dictionary_are_found(tmp_path, entry):
    tensors = random_tensors()
    trainer = {"epoch": 3, "rng": torch.ones(5), "optimizer": {"state": {}}}
    path = write(trainer | {entry: tensors}, tmp_path / "last.pt")
    head = checkpoint.load(path)["head.weight"]
    np.testing.assert_array_equal(head, tensors["head.weight"])
    report = checkpoint.inspect(path)
    note = f"the weights are in its entry {entry}; the others are left"
    assert report.loads and report.deviations == (note,)
    assert report.parameters == sum(t.numel() for t in tensors.values())


def test_a_dictionary_in_a_dictionary_is_found_too(tmp_path):
    path = write({"a": {"state_dict": random_tensors()}}, tmp_path / "last.pt")
    assert len(checkpoint.load(path)) == len(random_tensors())


def test_moments_of_an_optimizer_are_not_taken_for_weights(tmp_path):
    tensors = random_tensors()
    moments = {name: tensor + 1 for name, tensor in tensors.items()}
    trainer = {"optimizer": {"exp_avg": moments}, "model": tensors}
    head = checkpoint.load(write(trainer, tmp_path / "last.pt"))["head.weight"]
    np.testing.assert_array_equal(head, tensors["head.weight"])


def test_two_models_in_a_file_are_named(tmp_path):
    path = tmp_path / "last.pt"
    write({"ema": random_tensors(), "live": random_tensors(seed=1)}, path)
    assert "holds 2 models, in its entries ema, live" in problem_of(path)


def test_the_checkpoint_of_a_run_of_the_book_is_read(tmp_path):
    model = {our_name(k): t.squeeze() for k, t in random_tensors().items()}
    run = {"model": model, "optimizer": {"state": {0: {"step": torch.ones(())}}}}
    path = write(run | {"step": 60, "log": [{"loss": 2.5}]}, tmp_path / "checkpoint.pt")
    params = checkpoint.load(path)
    assert set(params) == set(model)
    for name, values in params.items():
        np.testing.assert_array_equal(values, model[name])


def test_an_object_among_the_weights_is_refused_with_the_way_out(tmp_path):
    trainer = {"state_dict": random_tensors(), "hparams": Attack("nobody")}
    problem = problem_of(write(trainer, tmp_path / "last.pt"))
    assert "torch.save(model.state_dict(), ...)" in problem
