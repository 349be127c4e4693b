"""The questions as data for pages that have no kernel: JSON, and who reads it.

`book/_static/answers/evaluate.js` judges an answer by this data as `diagnose` does by
the questions; a test holds the two equal. Orders, letters and names are exported as
salted digests, which hide them from a casual look at the page's source and from nothing
more: whoever wants to can try every order, and the sentences give answers away. Numbers
need their tolerances, which are exported as they are.
"""

import importlib
import json
import re
import string

from rwkv_book.exercises import CHECKS
from rwkv_book.exercises.answers import (
    ChoiceQuestion,
    NameQuestion,
    NumberQuestion,
    OrderQuestion,
    plain,
    span_of,
)

ANSWER = 7_131_700  # numbers from here on stand for answers while a text is translated
OFFSET, PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a's, for 64 bits


def digest(*words):
    """FNV-1a of the words, a line each, as 16 hexadecimal digits."""
    found = OFFSET
    for byte in "\n".join(words).encode():
        found = (found ^ byte) * PRIME % 2**64
    return f"{found:016x}"


def of_chapter(chapter, say=str):
    """What each exercise of a chapter, such as "04", is to a page: {number: data}.

    The data's `kind` is "number", "order", "choice" or "name", and "code" where only
    Python can check it. `say` translates a sentence, whatever numbers stand in it.
    ImportError for a chapter without exercises.
    """
    importlib.import_module(f"rwkv_book.exercises.chapter_{chapter}")
    numbers = sorted(number for number in CHECKS if number.startswith(f"{chapter}."))
    return {number: exported(number, CHECKS[number], say) for number in numbers}


def exported(number, check, say=str):
    """The data of one check; `number` is the salt of its digests."""
    if isinstance(check, NumberQuestion):
        return number_data(check, say)
    if isinstance(check, OrderQuestion):
        return order_data(number, check, say)
    if isinstance(check, ChoiceQuestion):
        return choice_data(number, check, say)
    if isinstance(check, NameQuestion):
        return name_data(number, check, say)
    return {"kind": "code"}


def number_data(question, say):
    tolerances = question.relative, question.absolute
    return {
        "kind": "number",
        "right": [float(end) for end in span_of(question.right, *tolerances)],
        "mistakes": [
            [[float(end) for end in span_of(mistake, *tolerances)], say(sentence)]
            for mistake, sentence in question.mistakes.items()
        ],
        "hint": pieces(question.hint, say),
        "praise": pieces(question.praise, say),
    }


def order_data(salt, question, say):
    right = [digest(salt, str(i), name) for i, name in enumerate(question.right)]
    return {
        "kind": "order",
        "salt": salt,
        "names": sorted(question.right),
        "right": right,
        "mistakes": digested(salt, question.mistakes, say),
        "hint": pieces(question.hint, say),
        "praise": [say(question.praise)],
    }


def choice_data(salt, question, say):
    return {
        "kind": "choice",
        "salt": salt,
        "names": list(question.letters),
        "right": len(question.right),
        "mistakes": digested(salt, question.mistakes, say),
        "hint": pieces(question.hint, say),
        "praise": [say(question.praise)],
    }


def name_data(salt, question, say):
    mistakes = {plain(one): told for one, told in question.mistakes.items()}
    return {
        "kind": "name",
        "salt": salt,
        "longest": max(map(len, mistakes)),
        "right": [digest(salt, *plain(name)) for name in question.right],
        "mistakes": digested(salt, mistakes, say),
        "hint": [say(question.hint)],
        "praise": [say(question.praise)],
    }


def digested(salt, mistakes, say):
    """{digest: sentence} of mistakes: orders of names, or texts of letters."""
    found = {digest(salt, *one): say(told) for one, told in mistakes.items()}
    if len(found) != len(mistakes):
        raise ValueError(f"{salt}: two mistakes have one digest; salt it otherwise")
    return found


def pieces(template, say=str):
    """ "Not {answer:g}." -> ["Not ", ["g"], "."]: texts, and formats for the answer."""
    texts, formats = [], []
    for text, name, spec, _ in string.Formatter().parse(template):
        texts.append(text)
        if name:
            formats.append(spec)
            texts.append(str(ANSWER + len(formats)))
    whole = re.split(f"({ANSWER // 100}\\d\\d)", say("".join(texts)))
    return [
        [formats[int(piece) - ANSWER - 1]] if at % 2 else piece
        for at, piece in enumerate(whole)
        if piece
    ]


def script_text(data):
    """JSON that may stand within a script element: nothing in it ends the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
