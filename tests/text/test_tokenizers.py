"""Text to tokens and back, also when the text arrives in pieces of characters."""

import json
import random
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import rwkv
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from rwkv_book.text import END_OF_TEXT
from rwkv_book.text.tokenizers import (
    BytePairs,
    Bytes,
    TokenizerError,
    World,
    load,
    load_20b,
    load_world,
)

WORLD = Path(rwkv.__path__[0]) / "rwkv_vocab_v20230424.txt"
TEXTS = [
    "",
    "To be, or not to be: that is the question.\n",
    "naïve café — ½ €",
    "e\N{COMBINING ACUTE ACCENT} and n\N{COMBINING TILDE}",
    "👩‍🚀 reads 𝔯𝔴𝔨𝔳 in 北京 \N{VARIATION SELECTOR-16}",
    "\x00 \x7f \x80 \u0378 \uffff",
    "  two spaces,\tand\r\n    four",
]


@pytest.fixture(scope="module")
def file_20b(tmp_path_factory):
    """A small tokenizer file made like 20B_tokenizer.json: byte-level BPE, NFC."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXTS, __doc__] * 3, trainer)
    tokenizer.add_tokens(["  ", "    "])
    path = tmp_path_factory.mktemp("tokenizer") / "20B_tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="session")
def world():
    """The tokenizer of World models, from the file in the package rwkv."""
    return load_world(WORLD)


@pytest.fixture(params=["bytes", "20b", "world"])
def tokenizer(request):
    """Each tokenizer: what holds for one holds for all."""
    if request.param == "world":
        return request.getfixturevalue("world")
    file = "bytes" if request.param == "bytes" else request.getfixturevalue("file_20b")
    return load(file)


def streamed(tokenizer, tokens):
    stream = tokenizer.stream()
    return [*(stream.push(token) for token in tokens), stream.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_gives_the_encoded_text(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.vocabulary for token in tokens)
    composes = isinstance(tokenizer, BytePairs)
    expected = unicodedata.normalize("NFC", text) if composes else text
    assert tokenizer.decode(tokens) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_a_stream_gives_the_text_and_never_half_a_character(tokenizer, text):
    tokens = tokenizer.encode(text)
    pieces = streamed(tokenizer, tokens)
    assert "".join(pieces) == tokenizer.decode(tokens)
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


@given(st.lists(st.integers(0, 255)))
def test_a_stream_of_any_bytes_gives_what_decoding_gives(tokens):
    tokenizer = Bytes()
    expected = bytes(tokens).decode(errors="replace")
    assert "".join(streamed(tokenizer, tokens)) == expected == tokenizer.decode(tokens)


@given(st.text())
def test_bytes_give_back_any_text(text):
    text = text.encode(errors="replace").decode()  # lone surrogates are no text
    assert Bytes().decode(Bytes().encode(text)) == text


def test_a_character_comes_out_with_its_last_byte():
    assert streamed(Bytes(), [226, 130, 172, 33]) == ["", "", "€", "!", ""]
    assert streamed(Bytes(), [240, 159, 145]) == ["", "", "", "\ufffd"]
    assert streamed(Bytes(), [240, 33, 255]) == ["", "\ufffd!", "\ufffd", ""]
    stream = Bytes().stream()
    stream.push(195)
    assert stream.flush() == "\ufffd" and stream.flush() == ""
    assert stream.push(65) == "A"


def test_the_tokens_of_bytes_are_utf_8():
    assert Bytes.vocabulary == 256
    assert Bytes().encode("é!") == [195, 169, 33]


def test_an_emoji_that_spans_tokens_streams_out_whole(file_20b):
    tokenizer = load_20b(file_20b)
    tokens = tokenizer.encode("🦢")  # no merge was trained for it
    assert len(tokens) > 1
    *before, last, rest = streamed(tokenizer, tokens)
    assert set(before) == {""} and last == "🦢" and rest == ""
    assert streamed(tokenizer, tokens[:-1])[-1] == "\ufffd"


def test_decoding_is_that_of_the_package_tokenizers(file_20b):
    reference = tokenizers.Tokenizer.from_file(str(file_20b))
    tokenizer = load_20b(file_20b)
    assert tokenizer.vocabulary == reference.get_vocab_size() > 300
    for text in TEXTS:
        tokens = tokenizer.encode(text)
        assert tokens == reference.encode(text).ids
        assert tokenizer.decode(tokens) == reference.decode(tokens)
    one_by_one = [reference.decode([n]) for n in range(2, tokenizer.vocabulary)]
    assert one_by_one == [tokenizer.decode([n]) for n in range(2, tokenizer.vocabulary)]


def test_named_tokens_decode_to_their_names(file_20b):
    tokenizer = load_20b(file_20b)
    assert tokenizer.decode([0]) == "<|endoftext|>"
    assert tokenizer.encode("<|endoftext|>") == [0]


def test_a_token_that_does_not_exist_is_refused(tokenizer):
    for token in (-1, tokenizer.vocabulary, 1.0, None, "a"):
        with pytest.raises(ValueError, match=f"token {token!r} "):
            tokenizer.decode([token])
        with pytest.raises(ValueError, match=f"token {token!r} "):
            tokenizer.stream().push(token)


@pytest.mark.parametrize(
    "as_given",
    [tuple, iter, np.array, torch.tensor, lambda tokens: [*np.int64(tokens)]],
)
def test_tokens_may_come_in_an_array_a_tensor_or_as_numbers_of_numpy(
    tokenizer, as_given
):
    tokens = tokenizer.encode("The é cat")
    assert tokenizer.decode(as_given(tokens)) == "The é cat"
    stream, given_tokens = tokenizer.stream(), as_given(tokens)
    pieces = [stream.push(token) for token in given_tokens]
    assert "".join(pieces) == "The é cat"


def test_a_batch_of_tokens_is_no_row(tokenizer):
    for batch in (torch.zeros(1, 3, dtype=int), np.zeros((2, 2), int), [[1, 2]]):
        with pytest.raises(ValueError, match="is not a whole number"):
            tokenizer.decode(batch)
    with pytest.raises(ValueError, match=r"token 1\.0 is not a whole number"):
        tokenizer.decode(torch.ones(2))


def test_only_text_is_encoded(tokenizer):
    with pytest.raises(TypeError, match="not bytes: decode it first"):
        tokenizer.encode(b"cat")
    for other in (None, 5, ["cat"]):
        with pytest.raises(TypeError, match="text is a str, not"):
            tokenizer.encode(other)


def test_bytes_that_are_not_utf_8_pass_through_where_tokens_are_bytes(file_20b, world):
    """A command gets them as lone surrogates, which is how Python writes them."""
    given_bytes = b"caf\xe9 \xff\xfe"
    text = given_bytes.decode("utf-8", "surrogateescape")
    assert Bytes().encode(text) == list(given_bytes)
    assert b"".join(map(world.piece, world.encode(text))) == given_bytes
    with pytest.raises(ValueError, match="reads UTF-8 alone"):
        load_20b(file_20b).encode(text)


def test_a_file_that_is_no_byte_level_tokenizer_is_refused(tmp_path):
    with pytest.raises(TokenizerError, match=r"no such file; get 20B_tokenizer\.json"):
        load_20b(tmp_path / "20B_tokenizer.json")
    path = tmp_path / "other.json"
    for content in (b"{}", b"not json", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(TokenizerError, match="not a tokenizer file"):
            load_20b(path)
    words = tokenizers.Tokenizer(models.WordLevel({"two words": 0}, "two words"))
    words.save(str(path))
    with pytest.raises(TokenizerError, match="not a byte-level BPE"):
        load_20b(path)


def other_kinds():
    """Tokenizers whose tokens look like those of a byte-level BPE and are none."""
    letters = {letter: n for n, letter in enumerate(["[UNK]", *"ab", "ab", "##b"])}
    llama = models.BPE(letters, [("a", "b")], unk_token="[UNK]", byte_fallback=True)
    clip = models.BPE(letters | {"b</w>": 9}, [], end_of_word_suffix="</w>")
    return {
        "its model is WordPiece": models.WordPiece(letters, unk_token="[UNK]"),
        "its model is Unigram": models.Unigram([("a", -1.0), ("b", -2.0)], 0, False),
        "it takes bytes only where it has no token": llama,
        "its tokens are marked as parts of words": clip,
        "it doesn't begin with ByteLevel": models.BPE(letters, [("a", "b")]),
    }


@pytest.mark.parametrize("reason", other_kinds())
def test_a_tokenizer_of_another_kind_is_refused(reason, tmp_path):
    tokenizer = tokenizers.Tokenizer(other_kinds()[reason])
    if "parts of words" in reason:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.save(str(tmp_path / "other.json"))
    with pytest.raises(TokenizerError) as caught:
        load(tmp_path / "other.json")
    assert f"not a byte-level BPE, {reason}; 20B_tok" in str(caught.value)


def test_bytes_may_come_after_another_step(file_20b, tmp_path):
    """As in the files of later models, which split at words themselves."""
    file = json.loads(file_20b.read_text(encoding="utf-8"))
    before = [{"type": "Digits", "individual_digits": True}, file["pre_tokenizer"]]
    file["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": before}
    path = tmp_path / "later.json"
    path.write_text(json.dumps(file), encoding="utf-8")
    assert load(path).decode(load(path).encode("The é 10")) == "The é 10"


def test_a_file_that_cuts_or_fills_texts_up_does_not_do_so_here(file_20b, tmp_path):
    tokenizer = tokenizers.Tokenizer.from_file(str(file_20b))
    tokenizer.enable_truncation(3)
    tokenizer.save(str(tmp_path / "cuts.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding(length=500)
    tokenizer.save(str(tmp_path / "fills.json"))
    wanted = load(file_20b).encode(__doc__)
    for name in ("cuts.json", "fills.json"):
        assert load(tmp_path / name).encode(__doc__) == wanted


# World.


@pytest.fixture(scope="module")
def reference():
    """The tokenizer in the package rwkv."""
    return TRIE_TOKENIZER(str(WORLD))


def random_texts(count, seed=0):
    """Texts of letters from all over Unicode, of words, of spaces, and mixtures."""
    chance = random.Random(seed)
    alphabets = [
        [*"etaoin shrdlu\n\t.,;0123456789"],
        [chr(n) for n in range(0x20, 0x250)],
        [chr(n) for n in (*range(0x370, 0x600), *range(0x900, 0xE80))],
        [chr(n) for n in (*range(0x3040, 0x3100), *range(0x4E00, 0x9FA5))],
        [chr(n) for n in (*range(0xAC00, 0xD7A4), *range(0x1F300, 0x1FAF0))],
        [chr(n) for n in range(0x110000) if not 0xD800 <= n < 0xE000],
        ["the", " of", "  ", "RWKV\n\n", "====", "self.", "北京", "привет", "שלום"],
    ]
    for _ in range(count):
        several = chance.sample(alphabets, chance.choice([1, 1, 2, 3]))
        letters = [chance.choice(chance.choice(several)) for _ in range(40)]
        yield "".join(letters)


def test_the_tokens_are_those_of_the_package_rwkv(world, reference):
    texts = [*TEXTS, __doc__, *random_texts(4000)]
    texts += [piece.decode(errors="replace") for piece in world.pieces[1::7]]
    for text in texts:
        tokens = reference.encode(text)
        assert world.encode(text) == tokens, text
        assert world.decode(tokens) == text


def test_every_entry_is_the_one_of_the_package_rwkv(world, reference):
    assert world.vocabulary == 65536
    for token in range(1, 65530):
        assert world.piece(token) == reference.idx2token[token]
    for token in (END_OF_TEXT, 65530, 65535):
        assert token not in reference.idx2token and world.piece(token) == b""


def test_long_texts_take_a_time_that_grows_with_their_length(world):
    """A text that is one token again and again, and one that is nearly one."""
    for text in ("-" * 10**5, "=" * 127 * 800, __doc__ * 1000):
        begin = time.perf_counter()
        world.encode(text)
        assert time.perf_counter() - begin < 2


def changed(change):
    """The lines of the World file after a change."""
    lines = WORLD.read_text(encoding="utf-8").split("\n")
    change(lines)
    return "\n".join(lines).encode()


def swap_a_number(lines):
    lines[299] = lines[299].replace("300", "301", 1)


def lengthen(lines):
    lines[400] = lines[400][:-1] + "9"


def repeat_a_token(lines):
    number = lines[600].split(" ")[0]
    lines[600] = " ".join([number, *lines[700].split(" ")[1:]])


def run_code(lines):
    lines[10] = "11 print('run') 1"


def drop_the_last(lines):
    del lines[-3:]


def replace_a_byte(lines):
    lines[0] = "1 'zzzzzzzzzzzzzzzzzzzzzzzzz' 25"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (swap_a_number, "line 300 is not a token"),
        (lengthen, "line 401 is not a token"),
        (lambda lines: lines.pop(500), "line 501 is not a token"),
        (repeat_a_token, "a token is there twice"),
        (replace_a_byte, "a byte is missing"),
        (drop_the_last, "it has 65527 lines, not 65529"),
        (lambda lines: lines.insert(0, ""), "line 1 is not a token: ''"),
        (run_code, 'line 11 is not a token: "11 print'),
    ],
)
def test_a_damaged_world_file_is_refused(damage, words, tmp_path):
    path = tmp_path / WORLD.name
    path.write_bytes(changed(damage))
    with pytest.raises(TokenizerError, match=f"not {WORLD.name}") as caught:
        load(path)
    assert words in str(caught.value)
    assert "get it from https://github.com/BlinkDL/ChatRWKV" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html>", b"a b c\n", b"\xff\xfe1 'a' 1", b"1 5 1\n"]
)
def test_another_file_is_not_the_world_file(content, tmp_path):
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    for read in (load, load_world):
        with pytest.raises(TokenizerError, match=r"other\.txt: not ") as caught:
            read(path)
        assert WORLD.name in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_world_file_is_read_with_any_ends_of_lines(end, world, tmp_path):
    path = tmp_path / WORLD.name
    path.write_text(WORLD.read_text(encoding="utf-8"), encoding="utf-8", newline=end)
    assert load(path).pieces == world.pieces


def test_a_tokenizer_is_told_by_what_is_in_its_file(file_20b, tmp_path):
    assert isinstance(load("bytes"), Bytes)
    for source, kind in ((file_20b, BytePairs), (WORLD, World)):
        path = tmp_path / "tokenizer"
        path.write_bytes(source.read_bytes())
        assert isinstance(load(path), kind)
    with pytest.raises(TokenizerError, match=f"get 20B_tokenizer.json or {WORLD.name}"):
        load(tmp_path / "none")
