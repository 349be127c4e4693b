"""The questions as data for pages that have no kernel: JSON, and who reads it.

`book/_static/answers/evaluate.js` judges an answer by this data as `diagnose` does by
the questions; a test holds the two equal. Orders are exported as salted digests, which
hide them from a casual look at the page's source and from nothing more: whoever wants
to can try every order, and the sentences give answers away. Numbers need their
tolerances, which are exported as they are.
"""

import importlib
import json
import string
from itertools import chain

from rwkv_book.exercises import CHECKS
from rwkv_book.exercises.answers import NumberQuestion, OrderQuestion, span_of

OFFSET, PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a's, for 64 bits


def digest(*words):
    """FNV-1a of the words, a line each, as 16 hexadecimal digits."""
    found = OFFSET
    for byte in "\n".join(words).encode():
        found = (found ^ byte) * PRIME % 2**64
    return f"{found:016x}"


def of_chapter(chapter):
    """What each exercise of a chapter, such as "04", is to a page: {number: data}.

    The data's `kind` is "number", "order", or "code" where only Python can check it.
    ImportError for a chapter without exercises.
    """
    importlib.import_module(f"rwkv_book.exercises.chapter_{chapter}")
    numbers = sorted(number for number in CHECKS if number.startswith(f"{chapter}."))
    return {number: exported(number, CHECKS[number]) for number in numbers}


def exported(number, check):
    """The data of one check; `number` is the salt of its digests."""
    if isinstance(check, NumberQuestion):
        return number_data(check)
    if isinstance(check, OrderQuestion):
        return order_data(number, check)
    return {"kind": "code"}


def number_data(question):
    tolerances = question.relative, question.absolute
    return {
        "kind": "number",
        "right": [float(end) for end in span_of(question.right, *tolerances)],
        "mistakes": [
            [[float(end) for end in span_of(mistake, *tolerances)], sentence]
            for mistake, sentence in question.mistakes.items()
        ],
        "hint": pieces(question.hint),
        "praise": pieces(question.praise),
    }


def order_data(salt, question):
    right = [digest(salt, str(i), name) for i, name in enumerate(question.right)]
    mistakes = {digest(salt, *one): told for one, told in question.mistakes.items()}
    if len(mistakes) != len(question.mistakes):
        raise ValueError(f"{salt}: two orders have one digest; salt it otherwise")
    return {
        "kind": "order",
        "salt": salt,
        "names": sorted(question.right),
        "right": right,
        "mistakes": mistakes,
        "hint": pieces(question.hint),
        "praise": [question.praise],
    }


def pieces(template):
    """ "Not {answer:g}." -> ["Not ", ["g"], "."]: texts, and formats for the answer."""
    parsed = string.Formatter().parse(template)
    pairs = (([text], [[spec]] if name else []) for text, name, spec, _ in parsed)
    return [piece for piece in chain(*chain(*pairs)) if piece]


def script_text(data):
    """JSON that may stand within a script element: nothing in it ends the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
