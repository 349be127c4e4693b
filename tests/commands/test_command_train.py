"""python -m rwkv_book train: options, files, ends."""

import json
import os
import signal
import subprocess
from dataclasses import asdict

import pytest
from helpers.commands import COMMAND, CORPUS, OFFLINE, TEXT, TINY, run

from rwkv_book import checkpoint, training
from rwkv_book.__main__ import main
from rwkv_book.commands.train import folder_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the command has trained a tiny model, and what it said."""
    folder = tmp_path_factory.mktemp("run")
    return folder, run(*TINY, "--folder", folder)


def test_training_writes_a_published_file_and_says_its_loss(trained):
    folder, result = trained
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr and "Warning" not in result.stderr
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "log.json",
        "checkpoint.pt",
        "model.safetensors",
    }
    path = folder / "model.safetensors"
    report = checkpoint.inspect(path)
    assert (report.version, report.layers, report.width) == ("4", 1, 8)
    assert report.dtypes == ("float16",) and report.deviations == ()
    loss = report.metadata["held-out loss"]
    last = result.stdout.splitlines()[-1]
    assert last == f"{path}: {path.stat().st_size:,} bytes, held-out loss {loss}"
    logged = json.loads((folder / "log.json").read_text())[-1]["held_out_loss"]
    assert float(loss.split()[0]) == pytest.approx(logged, abs=0.01)
    assert report.metadata["command"].startswith("python -m rwkv_book train --corpus")


def test_a_trained_model_writes(trained):
    folder, _ = trained
    path = folder / "model.safetensors"
    result = run("generate", "--model", path, "--prompt", "The é", "--seed", "1")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("The é") and len(result.stdout) > 6


def test_training_again_changes_nothing_and_another_run_is_refused(trained, capsys):
    folder, _ = trained
    before = checkpoint.load(folder / "model.safetensors")
    assert main([*TINY, "--folder", str(folder)]) == 0
    after = checkpoint.load(folder / "model.safetensors")
    assert all((before[name] == after[name]).all() for name in before)
    capsys.readouterr()
    assert main([*TINY, "--folder", str(folder), "--seed", "1"]) == 2
    shown = capsys.readouterr().err
    assert "holds a run with seed 0: ask for that, or name another" in shown


def test_the_options_reach_the_run(tmp_path):
    options = (
        f"--corpus {TEXT} --layers 2 --width 32 --steps 9 --batch 3 --length 9 "
        "--learning-rate 0.005 --final-learning-rate 0.0025 --warm-up 7 --clip 2 "
        "--weight-decay 0 --seed 8 --bfloat16 --device cpu"
    )
    result = run("train", *options.split(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    path = tmp_path / "runs" / TEXT.stem / "model.safetensors"
    report = checkpoint.inspect(path)
    wanted = training.Run(str(TEXT), 2, 32, 9, 3, 9, 5e-3, 2.5e-3, 7, 0.0, 2.0, 8, True)
    assert json.loads(report.metadata["run"]) == asdict(wanted)
    assert report.metadata["command"] == f"python -m rwkv_book train {options}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--steps", "0"], "steps must be above 0; warm_up must be from 0 to -1"),
        (["--learning-rate", "nan"], "learning_rate must be above 0"),
        (["--width", "1", "--corpus", str(TEXT)], "width must be at least 2, got 1"),
        (["--length", "9999999", "--corpus", str(TEXT)], "lower length"),
    ],
)
def test_a_run_that_makes_no_sense_gets_a_sentence(
    arguments, sentence, capsys, tmp_path
):
    assert main(["train", *arguments, "--folder", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("python -m rwkv_book train: ") and sentence in message


def test_a_folder_without_a_name_is_not_the_one_that_one_is_in(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "--folder", ""]) == 2
    sentence = "train: --folder has no name behind it: name one, or . for this one\n"
    assert capsys.readouterr().err.endswith(sentence)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="PATH of another kind")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--device", "cuda"], "no CUDA device was found: use --device cpu"),
        (["--compile"], "no C++ compiler was found: leave --compile out"),
    ],
)
def test_a_machine_without_cuda_or_compiler_is_told(arguments, sentence, tmp_path):
    places = {"CUDA_VISIBLE_DEVICES": "", "PATH": str(tmp_path)}
    environment = {k: v for k, v in os.environ.items() if k != "CXX"} | places
    result = run("train", *arguments, cwd=tmp_path, env=environment)
    assert result.returncode == 2
    assert result.stderr == f"python -m rwkv_book train: {sentence}\n"
    assert not (tmp_path / "runs").exists()


def test_without_the_corpus_the_message_names_another(tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = run("train", cwd=tmp_path, env=OFFLINE | cache)
    assert result.returncode == 1
    assert "pip could not download" in result.stderr
    assert f"use the corpus {CORPUS}" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("size", [10**15, 2**62])
@pytest.mark.parametrize("option", ["--batch", "--width"])
def test_a_run_that_memory_does_not_hold_is_told_what_to_lower(
    option, size, capsys, tmp_path
):
    """Of so many numbers no processor can address the bytes."""
    folder = tmp_path / "run"
    assert main([*TINY, option, str(size), "--folder", str(folder)]) == 1
    assert capsys.readouterr().err == (
        "python -m rwkv_book train: there is not enough memory: lower --batch, "
        "--length or --width\n"
    )
    assert not folder.exists()


@pytest.mark.parametrize("option", ["seed", "width", "layers", "length"])
def test_a_number_that_no_tensor_can_count_to_gets_a_sentence(option, capsys, tmp_path):
    asked = [*TINY, "--folder", str(tmp_path / "run")]
    assert main([*asked, f"--{option}", str(2**63)]) == 2
    said = capsys.readouterr().err
    assert said == f"python -m rwkv_book train: {option} must be below 2**63\n"
    assert not (tmp_path / "run").exists()


def test_the_largest_seed_is_one(tmp_path):
    seed = str(2**63 - 1)
    assert main([*TINY, "--seed", seed, "--folder", str(tmp_path / "run")]) == 0


def test_a_corpus_that_is_not_there_gets_a_sentence(capsys, tmp_path):
    assert main(["train", "--corpus", "bible", "--folder", str(tmp_path / "run")]) == 1
    assert "bible" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("corpus", "folder"),
    [
        ("shakespeare", "runs/shakespeare"),
        ("prose", "runs/prose"),
        ("notes.txt", "runs/notes"),
        ("../some texts/my notes.v2.txt", "runs/my-notes.v2"),
        ("texts/", "runs/texts"),
        ("Märchen.txt", "runs/Märchen"),
        ("..", "runs/text"),
        ("a:b\udcff?.txt", "runs/a-b"),
        ("...", "runs/text"),
    ],
)
def test_a_run_is_kept_in_a_folder_that_is_called_after_its_text(corpus, folder):
    assert folder_of(corpus).as_posix() == folder


@pytest.mark.skipif(os.name != "posix", reason="names elsewhere are Unicode")
def test_a_folder_whose_name_is_not_utf_8_gets_its_model(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xff"
    result = run(*TINY, "--folder", folder)
    assert result.returncode == 0, result.stderr
    path = os.fsdecode(folder + b"/model.safetensors")
    command = checkpoint.metadata(path)["command"]
    assert command.endswith(r"/\udcff'")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_an_interrupted_training_ends_cleanly(tmp_path):
    command = [*COMMAND, *TINY, "--steps", "1000000", "--folder", tmp_path]
    with subprocess.Popen(
        command,
        stderr=-1,
        # Tests that run in the background ignore interruptions, and so would it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        while b"/1000000 [00:0" not in process.stderr.read1():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert said.endswith(b"\npython -m rwkv_book train: stopped\n")
    assert b"Traceback" not in said
