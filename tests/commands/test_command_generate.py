"""python -m rwkv_book generate: what is written, and when it ends."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import rwkv
import tokenizers
import torch
from helpers.commands import COMMAND, chain, run
from helpers.files import write
from helpers.kernels import needs_compiler
from helpers.later import random_later
from helpers.limits import has_limits, memory_for
from helpers.published import random_tensors
from tokenizers import models, pre_tokenizers, trainers

from rwkv_book import checkpoint
from rwkv_book.__main__ import main
from rwkv_book.commands.models import minimal_of
from rwkv_book.compiled.narrow import narrowed
from rwkv_book.rwkv4 import minimal
from rwkv_book.text.tokenizers import load_world

WORLD = f"{rwkv.__path__[0]}/rwkv_vocab_v20230424.txt"
LIKELIEST = ("--temperature", "0")
NO_NUMBERS = "the weights give NaN or infinity after 1 tokens"


def saved(tensors, path):
    """The path of a checkpoint, as text for a command."""
    torch.save(tensors, path)
    return str(path)


def test_one_seed_gives_one_text(model, capsys):
    def text(*options):
        arguments = ["generate", "--model", str(model), "--length", "40", *options]
        assert main(arguments) == 0
        return capsys.readouterr().out

    assert text("--seed", "3") == text("--seed", "3") != text("--seed", "4")
    assert text() != text()
    greedy = text(*LIKELIEST)
    assert greedy == text(*LIKELIEST) == text("--top-p", "0.000001")
    assert text("--length", "0", "--prompt", "abc") == "abc\n"
    assert text("--length", "0") == "\n"


def test_the_text_is_what_minimal_samples_after_the_prompt(model, capsys):
    options = ["--length", "60", "--temperature", "0.7", "--top-p", "0.9"]
    prompt, seed = "ab", 5
    asked = ["generate", "--model", str(model), "--prompt", prompt, "--seed", str(seed)]
    assert main([*asked, *options]) == 0
    params, written = checkpoint.load(model), b""
    state, generator = minimal.initial_state(params), np.random.default_rng(seed)
    for token in prompt.encode():
        logits, state = minimal.step(token, state, params)
    while len(written) < 60:
        token = minimal.sample(logits, 0.7, 0.9, generator)
        if token == 0:
            break
        written += bytes([token])
        logits, state = minimal.step(token, state, params)
    assert len(written) > 10
    expected = prompt + written.decode(errors="replace") + "\n"
    assert capsys.readouterr().out == expected


def test_the_end_of_a_text_ends_the_output_and_half_a_character_shows(tmp_path, capsys):
    following = {98: 195, 195: 169, 169: 33, 33: 226, 226: 130, 130: 0, 0: 72, 72: 0}
    path = saved(chain(following), tmp_path / "model.pth")
    assert main(["generate", "--model", path, "--prompt", "ab", *LIKELIEST]) == 0
    assert capsys.readouterr().out == "abé!\N{REPLACEMENT CHARACTER}\n"


def test_without_a_prompt_it_begins_a_text(tmp_path, capsys):
    path = saved(chain({0: 72, 72: 105, 105: 0}), tmp_path / "model.pth")
    assert main(["generate", "--model", path, *LIKELIEST]) == 0
    assert capsys.readouterr().out == "Hi\n"


@pytest.mark.skipif(os.name != "posix", reason="arguments elsewhere are Unicode")
def test_a_prompt_that_is_not_utf_8_is_read_as_its_bytes(tmp_path):
    """The prompt ends in half a euro sign, and the model knows the other half."""
    path = saved(chain({255: 65, 130: 172, 172: 0}), tmp_path / "model.pth")
    asked = ("generate", "--model", path, *LIKELIEST, "--prompt")
    result = run(*asked, b"\xe2\x82")
    assert (result.returncode, result.stdout) == (0, "€\n")
    result = run(*asked, b"a\xff", "--length", "1")
    assert (result.returncode, result.stdout) == (0, "a\N{REPLACEMENT CHARACTER}A\n")


def test_weights_that_give_no_numbers_end_with_a_sentence(tmp_path, capsys):
    """All of them are finite: it is their product that overflows."""
    path = saved(chain({98: 99}, scale=3e38), tmp_path / "model.pth")
    asked = ("generate", "--model", path, "--prompt", "b")
    for options in (LIKELIEST, ("--top-p", "0.5")):
        assert main([*asked, *options]) == 1
        shown = capsys.readouterr()
        assert shown.out == "b" and NO_NUMBERS in shown.err
    result = run(*asked, "--seed", "1")  # where NumPy could warn on the way
    assert result.returncode == 1 and result.stdout == "b"
    (sentence,) = result.stderr.splitlines()
    assert NO_NUMBERS in sentence


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


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
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


@has_limits
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("more", [2**24, 160 * 2**20], ids=["the file", "its numbers"])
def test_a_model_that_memory_does_not_hold_is_called_too_large(
    suffix, more, tmp_path, capsys
):
    """Two matrices of 64 MiB in 16 bits, of which one takes 128 MiB in 32."""
    tensors = {name: x.half() for name, x in random_tensors(width=8).items()}
    for name in ("emb.weight", "head.weight"):
        tensors[name] = torch.zeros(2**22, 8, dtype=torch.float16)
    path = write(tensors, tmp_path / f"model{suffix}")
    del tensors
    for command in (["generate", "--model", str(path)], ["inspect", str(path)]):
        with memory_for(more):
            assert main(command) == 1
        assert capsys.readouterr().err == (
            f"python -m rwkv_book {command[0]}: there is not enough memory: take a "
            "smaller model, or a machine with more memory\n"
        )


def test_every_model_that_the_error_lists_can_write(capsys):
    assert main(["generate", "--model", "nobody"]) == 1
    (names,) = re.findall(
        r"comes with the book, which has (.+)\n", capsys.readouterr().err
    )
    assert len(names.split(", ")) > 5
    for name in names.split(", "):
        assert main(["generate", "--model", name, "--length", "1"]) == 0


def test_a_seed_is_one_that_train_takes_too(model, capsys):
    asked = ["generate", "--model", str(model), "--length", "1", "--seed"]
    assert main([*asked, str(2**63 - 1)]) == 0
    with pytest.raises(SystemExit):
        main([*asked, str(2**63)])
    assert "is not a whole number, 0 or more and below 2**63" in capsys.readouterr().err


# Tokenizers.


def test_a_tokenizer_of_another_size_is_refused(model, tmp_path, capsys):
    path = saved(random_tensors(vocabulary=277), tmp_path / "pile.pth")
    assert main(["generate", "--model", path]) == 2
    message = capsys.readouterr().err
    assert "knows 277 tokens and the tokenizer bytes 256" in message
    assert "--tokenizer" in message
    options = ["--model", str(model), "--tokenizer", str(tmp_path / "20B.json")]
    assert main(["generate", *options]) == 1
    assert "no such file; get 20B_tokenizer.json" in capsys.readouterr().err
    assert main(["generate", "--model", str(model), "--tokenizer", WORLD]) == 2
    assert "knows 256 tokens and the tokenizer" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pile(tmp_path_factory):
    """A tokenizer of 20B's kind and how many tokens it has."""
    pieces = tokenizers.Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(["the cat and the hat"], trainer)
    path = tmp_path_factory.mktemp("pile") / "20B_tokenizer.json"
    pieces.save(str(path))
    return str(path), pieces.get_vocab_size()


@pytest.mark.parametrize("padded", [False, True])
def test_the_official_models_are_read_with_their_tokenizer(
    pile, padded, tmp_path, capsys
):
    """Some have more rows than tokens, up to a multiple of 128: none is ever drawn."""
    path, known = pile
    tensors = random_tensors(vocabulary=384 if padded else known)
    model = saved(tensors, tmp_path / "pile.pth")
    asked = ["generate", "--model", model, "--tokenizer", path, "--prompt", "the cat"]
    for seed in range(5):
        assert main([*asked, "--length", "60", "--seed", str(seed)]) == 0
        assert capsys.readouterr().out.startswith("the cat")


@pytest.mark.skipif(os.name != "posix", reason="arguments elsewhere are Unicode")
def test_a_prompt_that_is_not_utf_8_is_none_for_byte_pairs(pile, tmp_path):
    model = saved(random_tensors(vocabulary=pile[1]), tmp_path / "pile.pth")
    asked = ("generate", "--model", model, "--tokenizer", pile[0])
    result = run(*asked, "--prompt", b"\xff")
    assert result.returncode == 2
    assert "this tokenizer reads UTF-8 alone" in result.stderr
    assert "Traceback" not in result.stderr


def test_world_models_are_read_with_their_tokenizer(tmp_path, capsys):
    """They have 65,536 rows; the file has 65,529 tokens, and 0 ends a text."""
    model = saved(random_tensors(vocabulary=65536), tmp_path / "world.pth")
    asked = ["generate", "--model", model, "--tokenizer", WORLD, "--prompt", "日本é"]
    assert main([*asked, "--length", "20", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("日本é")


# Later versions, the World tokenizer, conversations.


@pytest.fixture(scope="module", params=["4", "5.2", "6", "7"])
def world_model(request, tmp_path_factory):
    """The path of a random model of a version with a row for every World token."""
    path = tmp_path_factory.mktemp("world") / "model.pth"
    if request.param == "4":
        tensors = random_tensors(layers=2, width=64, hidden=64, vocabulary=65536)
    else:
        tensors = random_later(request.param, width=64, vocabulary=65536)
    return saved(tensors, path)


def test_a_model_of_any_version_writes_in_world_tokens(world_model, capsys):
    arguments = ["generate", "--model", world_model, "--tokenizer", "world"]
    arguments += ["--length", "5", "--seed", "1", "--prompt", "Grüße, 世界"]
    assert main(arguments) == 0
    written = capsys.readouterr().out
    params, tokens = checkpoint.load(world_model), load_world(WORLD)
    step = minimal_of(params).step
    state, prompt = (
        minimal_of(params).initial_state(params),
        tokens.encode(arguments[-1]),
    )
    for token in prompt:
        logits, state = step(token, state, params)
    generator, said = np.random.default_rng(1), list(prompt)
    for _ in range(5):
        token = minimal.sample(logits[:65536], 1.0, 1.0, generator)
        if token == 0:
            break
        said.append(token)
        logits, state = step(token, state, params)
    assert written == tokens.decode(said) + "\n"
    assert written.startswith("Grüße, 世界")


@pytest.mark.parametrize(
    ("chat", "shown"),
    [
        ("plain", "User: Who are you?\n\nAssistant:"),
        ("think", "User: Who are you?\n\nAssistant: <think"),
        ("quick", "User: Who are you?\n\nAssistant: <think>\n</think"),
    ],
)
def test_a_question_is_put_as_g1_models_know_it(model, chat, shown, capsys):
    """No space at the end: the next token brings its own."""
    arguments = ["generate", "--model", str(model), "--length", "0", "--chat", chat]
    assert main([*arguments, "--prompt", " Who are you? \n"]) == 0
    assert capsys.readouterr().out == shown + "\n"


def test_world_without_the_package_says_where_to_get_the_file(
    model, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "rwkv", None)  # not to be found
    asked = ["generate", "--model", str(model), "--tokenizer", "world"]
    assert main(asked) == 1
    said = capsys.readouterr().err
    assert "pip install rwkv" in said and "github.com/BlinkDL/ChatRWKV" in said


@needs_compiler
@pytest.mark.parametrize("version", ["4", "5.2", "6", "7"])
def test_compiled_products_write_the_same_text(version, tmp_path, capsys):
    if version == "4":
        tensors = random_tensors(layers=2, width=32, hidden=64, vocabulary=256)
    else:
        tensors = random_later(version, layers=2, width=128, vocabulary=256)
    tensors = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    path = saved(tensors, tmp_path / "model.pth")
    asked = ["generate", "--model", path, "--prompt", "ab", "--seed", "1"]
    assert main(asked) == 0
    plain = capsys.readouterr().out
    assert main([*asked, "--compiled"]) == 0
    assert capsys.readouterr().out == plain
    params = checkpoint.load(path)
    steps = [
        minimal_of(params).step(3, minimal_of(params).initial_state(params), some)[0]
        for some in (params, narrowed(params))
    ]
    assert np.allclose(*steps, rtol=0, atol=2e-5)


@needs_compiler
def test_where_nothing_compiles_the_command_says_what_to_do(model, tmp_path):
    narrow = checkpoint.load(model)
    narrow["head.weight"] = np.ones_like(narrow["head.weight"])  # fits in 16 bits
    path = tmp_path / "narrow.safetensors"
    checkpoint.save(narrow, path)
    nowhere = os.environ | {"PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = run("generate", "--model", str(path), "--compiled", env=nowhere)
    assert done.returncode == 1 and done.stdout == ""
    assert "install g++, or leave the matrices in 32 bits" in done.stderr
