"""python -m rwkv_book: help, mistakes, and places where nothing can be printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import TINY, run

from rwkv_book import training
from rwkv_book.__main__ import main
from rwkv_book.commands import SUMMARIES

ROOT = Path(__file__).parents[2]


def test_there_is_a_file_for_each_command_and_a_summary():
    folder = ROOT / "src" / "rwkv_book" / "commands"
    files = {path.stem for path in folder.glob("*.py")}
    assert files - {"__init__", "models"} == set(SUMMARIES)


def test_help_names_the_commands_and_shows_examples():
    result = run("--help")
    assert result.returncode == 0 and result.stderr == ""
    text = " ".join(result.stdout.split())
    for part in (*SUMMARIES.values(), "python -m rwkv_book train --corpus"):
        assert part in text


@pytest.mark.parametrize("command", SUMMARIES)
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
        assert "prose (comes with the book)" in text


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["generate", "--help"], ["inspect", "--help"], ["doctor", "--help"]],
)
def test_help_for_what_runs_without_torch_does_not_load_it(arguments):
    program = (
        "import sys; from rwkv_book.__main__ import main\n"
        f"try: main({arguments})\n"
        "finally: assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


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


def test_a_bad_argument_gives_no_traceback_in_a_process_of_its_own():
    result = run("train", "--steps", "5")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr == (
        "python -m rwkv_book train: warm_up must be from 0 to 4, one below steps\n"
    )


# Where nothing can be printed. `-S`, for the doctor, is a Python without packages. What
# is printed is kept in a buffer at first, as it is for most people.

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": ""}
PRINTING = {
    "help": (["--help"], 0),
    "help-of-a-command": (["generate", "--help"], 0),
    "generate": (["generate", "--length", "5", "--prompt", "é"], 0),
    "inspect": (["inspect", "shakespeare"], 0),
    "doctor": (["doctor"], 1),
    "train": (TINY, 0),
}
printing = pytest.mark.parametrize(
    ("arguments", "code"), PRINTING.values(), ids=PRINTING
)


def printed(arguments, cwd, **options):
    """What a command says whose stdout is something else than usual."""
    nothing = ["-S"] if arguments[0] == "doctor" else []
    return subprocess.run(
        [sys.executable, *nothing, "-m", "rwkv_book", *arguments],
        **{"stderr": -1, "encoding": "utf-8", "timeout": 120, "cwd": cwd}
        | {"env": ENVIRONMENT}
        | options,
    )


@printing
@pytest.mark.skipif(os.name != "posix", reason="closes a stream as a shell would")
def test_a_command_runs_where_its_output_was_closed(arguments, code, tmp_path):
    def close():
        for stream in (0, 1):
            os.close(stream)

    done = printed(arguments, tmp_path, preexec_fn=close)
    assert done.returncode == code
    assert "Traceback" not in done.stderr and "Error" not in done.stderr
    assert (tmp_path / "runs").exists() == (arguments == TINY)


@printing
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_output_that_finds_no_space_gets_a_sentence(arguments, code, tmp_path):
    with open("/dev/full", "w") as full:
        done = printed(arguments, tmp_path, stdout=full)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.stderr.count("No space left on device") == 1
    assert done.stderr.endswith(": print it to another place\n")


@pytest.mark.parametrize(
    ("place", "reason"),
    [("nowhere/report.json", "no such file or directory"), (".", "is a directory")],
)
def test_a_place_that_can_not_be_is_said_in_a_sentence(place, reason, tmp_path):
    done = printed(["doctor", "--output", place], tmp_path, stdout=-1)
    assert done.returncode == 1
    assert done.stderr == (
        f"python -m rwkv_book doctor: {place}: {reason}, name another path\n"
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            "ImportError('Read this.\\nTraceback: ...\\nImportError: no libgfortran')",
            "ImportError: no libgfortran",
        ),
        (
            "MemoryError",
            "there is not enough memory: close other programs, or take a machine with "
            "more memory",
        ),
    ],
)
def test_what_keeps_a_library_from_being_loaded_is_one_sentence(
    wrong, sentence, tmp_path
):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(f"raise {wrong}")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    done = printed(
        ["inspect", "shakespeare"],
        tmp_path,
        stdout=-1,
        env=ENVIRONMENT | {"PYTHONPATH": path},
    )
    assert done.returncode == 1
    assert done.stderr == f"python -m rwkv_book inspect: {sentence}\n"


@printing
def test_a_reader_who_has_gone_is_no_error(arguments, code, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = printed(arguments, tmp_path, stdout=pipe)
    assert done.returncode == code
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@printing
def test_a_terminal_that_lacks_a_character_shows_another(arguments, code, tmp_path):
    done = printed(
        arguments,
        tmp_path,
        stdout=-1,
        encoding="ascii",
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == code and done.stdout
    assert "Traceback" not in done.stderr
    if arguments[:1] == ["generate"] and "--prompt" in arguments:
        assert done.stdout.startswith("?")
