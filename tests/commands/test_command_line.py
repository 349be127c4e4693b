"""python -m rwkv_book: what a stranger types, and what the answer is."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import tokenizers
import torch
from helpers.published import random_tensors
from tokenizers import models, pre_tokenizers, trainers

from rwkv_book import checkpoint, training
from rwkv_book.__main__ import main
from rwkv_book.rwkv4 import minimal

COMMAND = [sys.executable, "-m", "rwkv_book"]
TINY = [
    *("train", "--corpus", "pydoc", "--device", "cpu", "--layers", "1", "--width", "8"),
    *("--steps", "4", "--warm-up", "1", "--batch", "2", "--length", "16"),
]


def run(*arguments, **options):
    """A run of the command in a process of its own, as text."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        **options,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the command has trained a tiny model, and what it said."""
    folder = tmp_path_factory.mktemp("run")
    return folder, run(*TINY, "--folder", folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A random model of bytes, as a file."""
    path = tmp_path_factory.mktemp("model") / "model.pth"
    torch.save(random_tensors(layers=2, width=8, hidden=32, vocabulary=256), path)
    params = checkpoint.load(path)
    checkpoint.save(params, path.with_suffix(".safetensors"), "float32")
    return path.with_suffix(".safetensors")


# Help, and arguments that make no sense.


def test_help_names_the_commands_and_shows_examples():
    result = run("--help")
    assert result.returncode == 0 and result.stderr == ""
    for part in ("train", "generate", "inspect", "python -m rwkv_book train --corpus"):
        assert part in result.stdout


@pytest.mark.parametrize("command", ["train", "generate", "inspect"])
def test_every_option_is_explained(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    options = re.findall(r"^  (-\S+)(.*(?:\n {4,}.*)*)", text, re.MULTILINE)
    assert all(re.search(r"\w{3}", explanation) for _, explanation in options)
    names = {name.rstrip(",") for name, _ in options} - {"-h"}
    if command == "train":
        fields = {f"--{name.replace('_', '-')}" for name in vars(training.Run())}
        several = {"--shard", "--split-text"}
        assert names == fields | several | {"--folder", "--device", "--compile"}
        text = " ".join(text.split())
        assert "(default: 0.002)" in text and "(default: runs/ and the name" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["inspect"], "the following arguments are required: PATH"),
        (["inspect", "a", "b"], "unrecognized arguments: b"),
        (["generate", "--length", "-1"], "'-1' is not a whole number, 0 or more"),
        (["generate", "--length", "1.5"], "'1.5' is not a whole number, 0 or more"),
        (["generate", "--seed", "x"], "'x' is not a whole number, 0 or more"),
        (["generate", "--temperature", "-1"], "'-1' is not a number, 0 or more"),
        (["generate", "--temperature", "nan"], "'nan' is not a number, 0 or more"),
        (["generate", "--top-p", "0"], "'0' is not a number above 0, up to 1"),
        (["generate", "--top-p", "1.1"], "'1.1' is not a number above 0, up to 1"),
        (["train", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["train", "--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_a_bad_argument_gets_a_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.out == ""
    assert shown.err.startswith("usage: python -m rwkv_book")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--steps", "0"], "steps must be above 0; warm_up must be from 0 to -1"),
        (["--learning-rate", "nan"], "learning_rate must be above 0"),
        (["--width", "1", "--corpus", "pydoc"], "width must be at least 2, got 1"),
        (["--length", "9999999", "--corpus", "pydoc"], "lower length"),
    ],
)
def test_a_run_that_makes_no_sense_gets_a_sentence(
    arguments, sentence, capsys, tmp_path
):
    assert main(["train", *arguments, "--folder", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("python -m rwkv_book train: ") and sentence in message


def test_a_machine_without_cuda_or_compiler_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = ["--folder", str(tmp_path / "run")]
    assert main(["train", "--device", "cuda", *folder]) == 2
    assert "no CUDA device was found: use --device cpu" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert main(["train", "--compile", *folder]) == 2
    assert "no C++ compiler was found" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_bad_argument_gives_no_traceback_in_a_process_of_its_own():
    result = run("train", "--steps", "5")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr == (
        "python -m rwkv_book train: warm_up must be from 0 to 4, one below steps\n"
    )


# Training.


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


def test_the_options_reach_the_run(monkeypatch, tmp_path, capsys):
    asked = []

    def train(run, folder, wkv, device, ranks):
        asked.append((run, folder, device))
        raise FloatingPointError("the loss is nan at step 3: lower learning_rate")

    monkeypatch.setattr(training, "train", train)
    options = (
        "--corpus pydoc --layers 2 --width 32 --steps 70 --batch 3 --length 9 "
        "--learning-rate 0.5 --final-learning-rate 0.25 --warm-up 7 --weight-decay 0 "
        "--clip 2 --seed 8 --bfloat16 --device cpu"
    )
    assert main(["train", *options.split()]) == 1
    assert "the loss is nan at step 3" in capsys.readouterr().err
    wanted = training.Run("pydoc", 2, 32, 70, 3, 9, 0.5, 0.25, 7, 0.0, 2.0, 8, True)
    ((found, folder, device),) = asked
    assert (found, str(folder), device) == (wanted, "runs/pydoc", "cpu")


def test_without_the_corpus_the_message_names_another(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no network\n")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    assert main(["train", "--folder", str(tmp_path / "run")]) == 1
    message = capsys.readouterr().err
    assert "no network" in message and "use the corpus pydoc" in message
    assert not (tmp_path / "run").exists()


def test_an_interrupted_training_ends_cleanly(monkeypatch, capsys, tmp_path):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "training_step", interrupted)
    assert main([*TINY, "--folder", str(tmp_path)]) == 130
    assert capsys.readouterr().err.endswith("python -m rwkv_book train: stopped\n")


# Generating.


def test_a_trained_model_writes(trained):
    folder, _ = trained
    path = folder / "model.safetensors"
    result = run("generate", "--model", path, "--prompt", "The é", "--seed", "1")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("The é") and len(result.stdout) > 6


def test_one_seed_gives_one_text(model, capsys):
    def text(*options):
        assert (
            main(["generate", "--model", str(model), "--length", "40", *options]) == 0
        )
        return capsys.readouterr().out

    assert text("--seed", "3") == text("--seed", "3") != text("--seed", "4")
    assert text() != text()
    greedy = text("--temperature", "0")
    assert greedy == text("--temperature", "0") == text("--top-p", "0.000001")
    assert text("--length", "0", "--prompt", "abc") == "abc\n"


def test_the_text_is_what_minimal_samples_after_the_prompt(model, capsys, monkeypatch):
    """Two bytes of a character and then the end of the text, whatever the logits."""
    drawn, read = iter([195, 169, 33, 226, 130, 0, 65]), []
    step = minimal.step

    def remember(token, state, params):
        read.append(token)
        return step(token, state, params)

    monkeypatch.setattr(minimal, "step", remember)
    monkeypatch.setattr(minimal, "sample", lambda *arguments: next(drawn))
    assert main(["generate", "--model", str(model), "--prompt", "ab"]) == 0
    assert capsys.readouterr().out == "abé!\N{REPLACEMENT CHARACTER}\n"
    assert read == [97, 98, 195, 169, 33, 226, 130]


def test_without_a_prompt_it_begins_a_text(model, capsys, monkeypatch):
    read = []

    def remember(token, state, params):
        read.append(token)
        return [1.0], state

    monkeypatch.setattr(minimal, "step", remember)
    assert main(["generate", "--model", str(model), "--length", "0"]) == 0
    assert read == [0]


def test_generating_and_inspecting_need_no_torch(model):
    program = (
        "import sys; sys.modules['torch'] = None; from rwkv_book.__main__ import main;"
        f"code = main(['generate', '--model', {str(model)!r}, '--length', '5']);"
        f"sys.exit(code or main(['inspect', {str(model)!r}]))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_reader_who_leaves_early_stops_it_quietly(model):
    command = [*COMMAND, "generate", "--model", str(model), "--length", "100000000"]
    with subprocess.Popen(command, stdout=-1, stderr=-1) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""


def test_an_interruption_stops_it_without_a_traceback(model):
    command = [*COMMAND, "generate", "--model", str(model), "--length", "100000000"]
    with subprocess.Popen(
        command,
        stdout=-1,
        stderr=-1,
        bufsize=0,
        # Tests that run in the background ignore interruptions, and so would it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        while process.stdout.read(10**6):
            pass
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b"\npython -m rwkv_book generate: stopped\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_can_be_written_whatever_the_terminal(model, encoding):
    options = ("--prompt", "é", "--seed", "1")
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [*COMMAND, "generate", "--model", str(model), *options]
    result = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert result.stderr == b"" and len(result.stdout) > 10
    assert result.stdout.startswith("é".encode(encoding, errors="replace"))


def test_a_tokenizer_of_another_size_is_refused(model, tmp_path, capsys):
    path = tmp_path / "pile.pth"
    torch.save(random_tensors(vocabulary=277), path)
    assert main(["generate", "--model", str(path)]) == 2
    message = capsys.readouterr().err
    assert "knows 277 tokens and the tokenizer bytes 256" in message
    assert "--tokenizer" in message
    options = ["--model", str(model), "--tokenizer", str(tmp_path / "20B.json")]
    assert main(["generate", *options]) == 1
    assert "no such file; get 20B_tokenizer.json" in capsys.readouterr().err


def test_the_official_models_are_read_with_their_tokenizer(tmp_path, capsys):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces = tokenizers.Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator(["the cat and the hat"], trainer)
    pieces.save(str(tmp_path / "20B_tokenizer.json"))
    vocabulary = pieces.get_vocab_size()
    torch.save(random_tensors(vocabulary=vocabulary), tmp_path / "pile.pth")
    files = (
        "--model",
        tmp_path / "pile.pth",
        "--tokenizer",
        tmp_path / "20B_tokenizer.json",
    )
    assert main(["generate", *map(str, files), "--prompt", "the cat"]) == 0
    assert capsys.readouterr().out.startswith("the cat")


# Inspecting.


def test_inspect_prints_the_report(model, capsys):
    assert main(["inspect", str(model)]) == 0
    assert capsys.readouterr().out == f"{checkpoint.inspect(model)}\n"


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
