"""python -m rwkv_book inspect, and how a model is named."""

import pytest
import torch
from helpers.published import random_tensors

from rwkv_book import checkpoint
from rwkv_book.__main__ import main
from rwkv_book.commands.models import find_model


def test_inspect_prints_the_report(model, capsys):
    assert main(["inspect", str(model)]) == 0
    assert capsys.readouterr().out == f"{checkpoint.inspect(model)}\n"


def test_what_is_in_a_file_can_not_write_over_the_report(model, tmp_path, capsys):
    """A terminal does what control characters say, whoever wrote them."""
    path, said = tmp_path / "model.safetensors", {"corpus": "\x1b[2J\rall\tfine\x9b"}
    checkpoint.save(checkpoint.load(model), path, metadata=said)
    assert main(["inspect", str(path)]) == 0
    assert r"corpus           \x1b[2J\rall\tfine\x9b" in capsys.readouterr().out
    assert checkpoint.metadata(path) == said


def damaged():
    """Tensors that `load` refuses, with what `inspect` says of them."""
    infinite, lacking = random_tensors(), random_tensors()
    infinite["head.weight"][0, 0] = float("nan")
    del lacking["ln_out.bias"]
    early = {f"blocks.0.att.ln_x.{name}": torch.ones(2) for name in ("weight", "bias")}
    return {
        "has NaN": infinite,
        "missing tensors (1): ln_out.bias": lacking,
        "this is RWKV-5.0": early,
        "no RWKV has such tensors": {"weight": torch.ones(2)},
    }


@pytest.mark.parametrize("sentence", damaged())
def test_inspect_fails_where_load_would(sentence, tmp_path, capsys):
    path = tmp_path / "model.pth"
    torch.save(damaged()[sentence], path)
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.load(path)
    assert main(["inspect", str(path)]) == 1
    assert sentence in capsys.readouterr().out


def test_what_is_only_odd_is_no_failure(tmp_path, capsys):
    path = tmp_path / "model.pth"
    torch.save({k: t.double() for k, t in random_tensors().items()}, path)
    assert main(["inspect", str(path)]) == 0
    assert "float64 is rounded" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["inspect"], ["generate", "--model"]])
def test_a_file_that_can_not_be_read_gets_a_sentence(command, capsys, tmp_path):
    (tmp_path / "empty.pth").touch()
    for name, sentence in (
        ("none.safetensors", "No such file"),
        ("empty.pth", "the file is empty"),
        ("shakespere", "no such model comes with the book"),
    ):
        path = str(tmp_path / name) if "." in name else name
        assert main([*command, path]) == 1
        shown = capsys.readouterr()
        assert sentence in shown.err and shown.out == ""
        assert shown.err.startswith(f"python -m rwkv_book {command[0]}: {path}: ")


def test_a_name_is_a_path_where_it_can_only_be_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = checkpoint.shipped("shakespeare")
    assert find_model("shakespeare") == shipped
    for name in ("weights", "shakespeare"):
        (tmp_path / name).mkdir()
    assert find_model("weights").samefile(tmp_path / "weights")
    assert find_model("shakespeare") == shipped
    for name in ("./shakespeare", "shakespeare/", str(tmp_path / "shakespeare")):
        assert find_model(name).samefile(tmp_path / "shakespeare")
    assert str(find_model("runs/none")) == "runs/none"
    in_a_folder = "generations/rwkv7"
    assert find_model(in_a_folder) == checkpoint.shipped(in_a_folder)
    (tmp_path / in_a_folder).mkdir(parents=True)
    assert find_model(in_a_folder).samefile(tmp_path / in_a_folder)
    with pytest.raises(checkpoint.CheckpointError, match=r"which has .*shakespeare"):
        find_model("none")
