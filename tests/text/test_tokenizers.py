"""Text to tokens and back, also when the text arrives in pieces of characters."""

import unicodedata

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from rwkv_book.text.tokenizers import Bytes, TokenizerError, load_20b

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


@pytest.fixture(params=["bytes", "20b"])
def tokenizer(request):
    """Either tokenizer: what holds for one holds for both."""
    if request.param == "bytes":
        return Bytes()
    return load_20b(request.getfixturevalue("file_20b"))


def streamed(tokenizer, tokens):
    stream = tokenizer.stream()
    return [*(stream.push(token) for token in tokens), stream.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_gives_the_encoded_text(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.vocabulary for token in tokens)
    is_bytes = isinstance(tokenizer, Bytes)
    expected = text if is_bytes else unicodedata.normalize("NFC", text)
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
    for token in (-1, tokenizer.vocabulary):
        with pytest.raises(ValueError, match=f"token {token} "):
            tokenizer.decode([token])
        with pytest.raises(ValueError, match=f"token {token} "):
            tokenizer.stream().push(token)


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
