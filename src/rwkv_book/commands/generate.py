"""Let a model of any version go on writing from a beginning.

Runs on NumPy alone, but for what is `--compiled`.
"""

import argparse
import math

import numpy as np

from rwkv_book import checkpoint
from rwkv_book.commands.models import SMALLER_MODEL, find_model, minimal_of
from rwkv_book.text import END_OF_TEXT, tokenizers

FAILURES = (checkpoint.CheckpointError, tokenizers.TokenizerError, RuntimeError)
SMALLER = SMALLER_MODEL
WHOLE = "a whole number, 0 or more"
LARGEST_SEED = 2**63 - 1  # as `train` has it
# How G1 models were shown a conversation: they go on where the assistant's turn begins.
# Source: RWKV7-G1x-templates.txt in github.com/BlinkDL/RWKV-LM.
TURN = "User: {}\n\nAssistant:"
CHATS = {"plain": TURN, "think": f"{TURN} <think", "quick": f"{TURN} <think>\n</think"}
# Some files have more rows than their tokenizer has tokens, up to a multiple of this:
# 50,304 for 50,277. Nothing was ever learned about the rest.
ROWS = 128


def add_options(parser):
    """What minimal.sample takes, and where to begin."""
    parser.add_argument(
        "--model",
        default="shakespeare",
        metavar="PATH",
        help=".safetensors or .pth file, or a model that comes with the book "
        "(default: shakespeare)",
    )
    parser.add_argument(
        "--prompt",
        default="",
        metavar="TEXT",
        help="how the text begins (default: nothing, the beginning of a new text)",
    )
    parser.add_argument(
        "--chat",
        choices=CHATS,
        help="the prompt is a question to a G1 model: answer it at once (plain), after "
        "thinking aloud (think), or without (quick)",
    )
    parser.add_argument(
        "--length",
        type=number(int, 0, math.inf, WHOLE),
        default=500,
        metavar="N",
        help="tokens to write at most, which may end earlier (default: 500)",
    )
    parser.add_argument(
        "--temperature",
        type=number(float, 0, math.inf, "a number, 0 or more"),
        default=1.0,
        metavar="X",
        help="below 1 plainer, above 1 wilder, 0 always the likeliest (default: 1)",
    )
    parser.add_argument(
        "--top-p",
        type=number(float, 1e-9, 1, "a number above 0, up to 1"),
        default=1.0,
        metavar="X",
        help="draw from the likeliest tokens that together reach this probability "
        "(default: 1, from all)",
    )
    parser.add_argument(
        "--seed",
        type=number(int, 0, LARGEST_SEED, f"{WHOLE} and below 2**63"),
        metavar="N",
        help="the same seed gives the same text (default: another text each time)",
    )
    parser.add_argument(
        "--tokenizer",
        default="bytes",
        metavar="PATH",
        help="bytes; world, for World and G1 models; or a file: 20B_tokenizer.json for "
        "the official Pile models, rwkv_vocab_v20230424.txt for World (default: bytes)",
    )
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="keep matrices in the 16 bits of their file, and multiply by a product "
        "that g++ compiles: the same text from half of the memory",
    )


def number(kind, least, most, description):
    """An argparse type: an int or a float from `least` to `most`."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {description}")
        return value

    return parse


def run(chosen):
    """Print the prompt and what the model makes of it, each character when it is whole.

    A token that ends a text ends the output. FloatingPointError where the weights give
    scores that are no numbers, RuntimeError where nothing can be compiled.
    """
    params = checkpoint.load(find_model(chosen.model))
    minimal = minimal_of(params)
    if chosen.compiled:
        from rwkv_book.compiled.narrow import narrowed  # which needs PyTorch

        params = narrowed(params)
    tokens = tokenizers.load(chosen.tokenizer)
    check_vocabulary(chosen, tokens.vocabulary, len(params["head.weight"]))
    prompt, stream = tokens.encode(beginning(chosen)), tokens.stream()
    state = minimal.initial_state(params)
    with np.errstate(all="ignore"):  # what overflows shows in the logits
        for token in prompt or [END_OF_TEXT]:
            logits, state = minimal.step(token, state, params)
        print(*map(stream.push, prompt), sep="", end="", flush=True)
        generator = np.random.default_rng(chosen.seed)
        for count in range(chosen.length):
            check_logits(logits, chosen.model, len(prompt) + count)
            token = minimal.sample(
                logits[: tokens.vocabulary],
                chosen.temperature,
                chosen.top_p,
                generator,
            )
            if token == END_OF_TEXT:
                break
            print(stream.push(token), end="", flush=True)
            logits, state = minimal.step(token, state, params)
    print(stream.flush())


def beginning(chosen):
    """The prompt as it is, or as a question in a conversation."""
    if chosen.chat is None:
        return chosen.prompt
    return CHATS[chosen.chat].format(chosen.prompt.strip())


def check_vocabulary(chosen, known, rows):
    """ValueError where a model's head is not for the tokens of this tokenizer."""
    if not known <= rows <= -(-known // ROWS) * ROWS:
        raise ValueError(
            f"{chosen.model} knows {rows} tokens and the tokenizer "
            f"{chosen.tokenizer} {known}: choose another with --tokenizer"
        )


def check_logits(logits, model, read):
    """FloatingPointError where a score is not a number: nothing can be drawn then."""
    if not np.isfinite(logits).all():
        raise FloatingPointError(
            f"{model}: the weights give NaN or infinity after {read} tokens; "
            "train it again with a lower learning rate, or get the file again"
        )
