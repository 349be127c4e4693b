"""From text to token numbers and back, also for text that arrives token by token.

All tokenizers have the same four members: `vocabulary`, how many tokens there are;
`encode`, text to tokens; `decode`, tokens to text; `stream()`, a Stream. A token stands
for bytes, and a character beyond ASCII is two to four of them, which may come in
different tokens: a Stream keeps the first ones back until the character is complete.

Bytes is for the book's own models, `load_20b` for the official Pile models and
`load_world` for the World models; `load` tells their files apart.
"""

import ast
import codecs
import importlib.util
import json
import operator
from pathlib import Path

WHERE = "https://github.com/BlinkDL/ChatRWKV"  # has both files
FILE_20B = "20B_tokenizer.json"
FILE_WORLD = "rwkv_vocab_v20230424.txt"
WORLD_TOKENS = 65529  # lines of that file; token 0 has none
SINGLE_BYTES = {bytes([byte]) for byte in range(256)}


class TokenizerError(ValueError):
    """A tokenizer that can't be used; the message says why and what to do."""


class Tokenizer:
    """What all of them share: `piece`, the bytes of one token, is their own."""

    def decode(self, tokens):
        """The text of a row of tokens, which may be an array or a tensor.

        Bytes that are no UTF-8 become U+FFFD. ValueError where one is no token.
        """
        tokens = tokens.tolist() if hasattr(tokens, "tolist") else tokens
        return b"".join(map(self.piece, tokens)).decode(errors="replace")

    def stream(self):
        """A Stream of text from tokens."""
        return Stream(self)


def bytes_of(text):
    """UTF-8. Bytes that were none in a command's arguments become themselves again.

    TypeError for anything but text.
    """
    if not isinstance(text, str):
        advice = ": decode it first" if isinstance(text, bytes) else ""
        raise TypeError(f"text is a str, not {type(text).__name__}{advice}")
    return text.encode("utf-8", "surrogateescape")


def number_of(token):
    """A token as an int, from one of NumPy's or a tensor of one; else ValueError."""
    try:
        return operator.index(token)
    except TypeError:
        raise ValueError(f"token {token!r} is not a whole number") from None


class Bytes(Tokenizer):
    """The bytes of UTF-8 are the tokens: 256 of them, and any text can be written."""

    vocabulary = 256

    def encode(self, text):
        """UTF-8: "é" is [195, 169]."""
        return list(bytes_of(text))

    def piece(self, token):
        """The bytes that a token stands for: one. ValueError above 255."""
        token = number_of(token)
        if not 0 <= token < self.vocabulary:
            raise ValueError(f"token {token} is not a byte: they go from 0 to 255")
        return bytes([token])


class BytePairs(Tokenizer):
    """A byte-level BPE: frequent strings of bytes are tokens. `load_20b` makes one.

    `decode(encode(text))` is the text as the file normalises it (the 20B tokenizer
    composes characters: NFC). Named tokens such as <|endoftext|> decode to their names.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        byte = byte_alphabet()
        named = tokenizer.get_added_tokens_decoder()
        self.pieces = {
            number: token.content.encode() for number, token in named.items()
        }
        for text, number in tokenizer.get_vocab(with_added_tokens=False).items():
            if number not in self.pieces:
                self.pieces[number] = bytes(byte[letter] for letter in text)
        self.vocabulary = max(self.pieces) + 1

    def encode(self, text):
        """The tokens of the text, none put before or after it."""
        try:
            bytes_of(text).decode()
        except UnicodeError:
            problem = "the text has bytes that are not UTF-8"
            raise ValueError(f"{problem}: this tokenizer reads UTF-8 alone") from None
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def piece(self, token):
        """The bytes that a token stands for. ValueError where it is unknown."""
        token = number_of(token)
        if token not in self.pieces:
            raise ValueError(
                f"token {token} is not in the vocabulary of this tokenizer"
            )
        return self.pieces[token]


def byte_alphabet():
    """The letter that byte-level BPE files write for each byte: {letter: byte}.

    Bytes that can be seen on paper are their own letter; the other 68 take the letters
    from U+0100 on, in order: a space is Ġ. Source: the encoder of GPT-2.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {chr(byte): byte for byte in visible}
    return letters | {chr(0x100 + n): byte for n, byte in enumerate(hidden)}


class World(Tokenizer):
    """The tokenizer of World models: always the longest token that fits comes next.

    `pieces` are the bytes of tokens 1, 2, ...: each single byte is among them, so any
    text can be written. Token 0, the end of a text, and the last ones, for which models
    have rows and the file has no entries, stand for no bytes.
    """

    vocabulary = 65536

    def __init__(self, pieces):
        self.pieces = [b"", *pieces]
        self.trie = {}  # {byte: the same for what follows it}, and {None: token}
        for token, piece in enumerate(self.pieces[1:], 1):
            node = self.trie
            for byte in piece:
                node = node.setdefault(byte, {})
            node[None] = token

    def encode(self, text):
        """The tokens of the text, found from left to right: time O(its bytes)."""
        data, start, tokens = bytes_of(text), 0, []
        while start < len(data):
            node, place = self.trie, start
            while place < len(data) and data[place] in node:
                node, place = node[data[place]], place + 1
                if None in node:
                    token, end = node[None], place
            tokens.append(token)
            start = end
        return tokens

    def piece(self, token):
        """The bytes that a token stands for. ValueError above 65535."""
        token = number_of(token)
        if not 0 <= token < self.vocabulary:
            raise ValueError(f"token {token} is none: they go from 0 to 65535")
        return self.pieces[token] if token < len(self.pieces) else b""


def load(name):
    """The tokenizer called `bytes`, `world`, or the one in a file, told by its content.

    `world` is the file that comes with the package `rwkv`, where that is installed.
    TokenizerError where there is no file, or neither of the two kinds in it.
    """
    if str(name) == "bytes":
        return Bytes()
    if str(name) == "world":
        name = world_file()
    content = content_of(name, f"{FILE_20B} or {FILE_WORLD}").lstrip()
    return load_20b(name) if content.startswith("{") else load_world(name)


def world_file():
    """The path of the World vocabulary in the package `rwkv`, without importing it."""
    package = importlib.util.find_spec("rwkv")
    for folder in (package and package.submodule_search_locations) or []:
        if (path := Path(folder, FILE_WORLD)).is_file():
            return path
    raise TokenizerError(
        f"world: the package rwkv, in which {FILE_WORLD} is, is not installed: "
        f"pip install rwkv, or get the file from {WHERE} and give its path"
    )


def content_of(path, wanted):
    """The text of a file that was got from WHERE; TokenizerError without it."""
    path = Path(path)
    if not path.is_file():
        advice = f"get {wanted} from {WHERE}"
        raise TokenizerError(f"{path}: there is no such file; {advice}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        problem = f"not a tokenizer file: {error}; get {wanted} from {WHERE}"
        raise TokenizerError(f"{path}: {problem}") from error


def load_20b(path):
    """The tokenizer of the official RWKV-4 Pile models, from 20B_tokenizer.json.

    The file is in github.com/BlinkDL/ChatRWKV; any other byte-level BPE of the package
    `tokenizers` is read too. TokenizerError where it isn't one.
    """
    from tokenizers import Tokenizer as Parsed

    content = content_of(path, FILE_20B)
    try:
        tokenizer = Parsed.from_str(content)
    except Exception as error:  # the package raises plain Exception
        problem = f"not a tokenizer file: {error}; get {FILE_20B} from {WHERE}"
        raise TokenizerError(f"{path}: {problem}") from error
    problem = why_not_byte_level(json.loads(tokenizer.to_str()))
    if problem:
        advice = f"{FILE_20B} is one: get it from {WHERE}"
        raise TokenizerError(f"{path}: not a byte-level BPE, {problem}; {advice}")
    tokenizer.no_truncation()  # either may be set in a file, and changes the text
    tokenizer.no_padding()
    try:
        return BytePairs(tokenizer)
    except KeyError as error:
        problem = f"a token has the letter {error}, which stands for no byte"
        raise TokenizerError(f"{path}: not a byte-level BPE, {problem}") from error


def why_not_byte_level(parsed):
    """What in a tokenizer file speaks against a BPE over bytes, as words; "" if nothing

    Other kinds have tokens that look the same and mean other bytes.
    """
    model, before = parsed["model"], parsed["pre_tokenizer"] or {}
    steps = before.get("pretokenizers", [before])
    if model["type"] != "BPE":
        return f"its model is {model['type']}"
    if model["byte_fallback"]:
        return "it takes bytes only where it has no token"
    if model["continuing_subword_prefix"] or model["end_of_word_suffix"]:
        return "its tokens are marked as parts of words"
    if not any(step.get("type") == "ByteLevel" for step in steps):
        return "it doesn't begin with ByteLevel"
    return ""


def load_world(path):
    """The tokenizer of World models, RWKV-4 and later: rwkv_vocab_v20230424.txt.

    Each line of it is a number, a Python literal of text or bytes, and how many bytes
    that is. The file is in github.com/BlinkDL/ChatRWKV, and in the package `rwkv` from
    PyPI. TokenizerError where a line is damaged, missing, or there twice.
    """
    lines = content_of(path, FILE_WORLD).removesuffix("\n").split("\n")
    pieces = []
    for number, line in enumerate(lines, 1):
        try:
            token, rest = line.split(" ", 1)
            literal, length = rest.rsplit(" ", 1)
            piece = ast.literal_eval(literal)
            piece = piece.encode() if isinstance(piece, str) else piece
            whole = (int(token), int(length)) == (number, len(piece))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            whole = False
        if not (whole and isinstance(piece, bytes) and piece):
            raise not_world(path, f"line {number} is not a token: {line[:40]!r}")
        pieces.append(piece)
    if len(pieces) != WORLD_TOKENS:
        raise not_world(path, f"it has {len(pieces)} lines, not {WORLD_TOKENS}")
    if len(set(pieces)) < len(pieces) or SINGLE_BYTES - set(pieces):
        raise not_world(path, "a token is there twice, or a byte is missing")
    return World(pieces)


def not_world(path, problem):
    """The error for a file that is not the World vocabulary, or not all of it."""
    return TokenizerError(
        f"{path}: not {FILE_WORLD}, {problem}; get it from {WHERE}, or from the "
        "package rwkv"
    )


class Stream:
    """Text out of tokens as they come, without ever showing half a character.

    The text of all `push` and of `flush` together is `decode` of all tokens.
    """

    def __init__(self, tokenizer):
        self.piece = tokenizer.piece
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token):
        """The characters that this token completes, often one, sometimes none."""
        return self.decoder.decode(self.piece(token))

    def flush(self):
        """At the end: U+FFFD where a character was begun, "" otherwise."""
        return self.decoder.decode(b"", final=True)
