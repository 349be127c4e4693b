"""From text to token numbers and back, also for text that arrives token by token.

Both tokenizers have the same four members: `vocabulary`, how many tokens there are;
`encode`, text to tokens; `decode`, tokens to text; `stream()`, a Stream. A token stands
for bytes, and a character beyond ASCII is two to four of them, which may come in
different tokens: a Stream keeps the first ones back until the character is complete.
"""

import codecs
from pathlib import Path


class Bytes:
    """The bytes of UTF-8 are the tokens: 256 of them, and any text can be written."""

    vocabulary = 256

    def encode(self, text):
        """UTF-8: "é" is [195, 169]."""
        return list(text.encode())

    def decode(self, tokens):
        """The text; bytes that are no UTF-8 become U+FFFD. ValueError above 255."""
        return b"".join(map(self.piece, tokens)).decode(errors="replace")

    def piece(self, token):
        """The bytes that a token stands for: one."""
        if not 0 <= token < self.vocabulary:
            raise ValueError(f"token {token} is not a byte: they go from 0 to 255")
        return bytes([token])

    def stream(self):
        """A Stream of text from tokens."""
        return Stream(self)


class TokenizerError(ValueError):
    """A tokenizer that can't be used; the message says why and what to do."""


class BytePairs:
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
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens):
        """The text; bytes that are no UTF-8 become U+FFFD. ValueError if unknown."""
        return b"".join(map(self.piece, tokens)).decode(errors="replace")

    def piece(self, token):
        """The bytes that a token stands for."""
        if token not in self.pieces:
            raise ValueError(
                f"token {token} is not in the vocabulary of this tokenizer"
            )
        return self.pieces[token]

    def stream(self):
        """A Stream of text from tokens."""
        return Stream(self)


def byte_alphabet():
    """The letter that byte-level BPE files write for each byte: {letter: byte}.

    Bytes that can be seen on paper are their own letter; the other 68 take the letters
    from U+0100 on, in order: a space is Ġ. Source: the encoder of GPT-2.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {chr(byte): byte for byte in visible}
    return letters | {chr(0x100 + n): byte for n, byte in enumerate(hidden)}


def load_20b(path):
    """The tokenizer of the official RWKV-4 Pile models, from 20B_tokenizer.json.

    The file is in github.com/BlinkDL/ChatRWKV; any other byte-level BPE of the package
    `tokenizers` is read too. TokenizerError where it isn't one.
    """
    from tokenizers import Tokenizer

    path = Path(path)
    if not path.is_file():
        advice = "get 20B_tokenizer.json from https://github.com/BlinkDL/ChatRWKV"
        raise TokenizerError(f"{path}: there is no such file; {advice}")
    try:
        return BytePairs(Tokenizer.from_str(path.read_text(encoding="utf-8")))
    except KeyError as error:
        problem = f"a token has the letter {error}, which stands for no byte"
        raise TokenizerError(f"{path}: not a byte-level BPE, {problem}") from error
    except Exception as error:  # the package raises plain Exception
        raise TokenizerError(f"{path}: not a tokenizer file: {error}") from error


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
