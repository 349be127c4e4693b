"""The number that a text means, as people write numbers.

`1,500` and `12,345,678.9` are read, since a comma between thousands is plain English.
`1,5` is not 15: what may mean two things, or is no number yet, hears what to write.
`book/_static/answers/evaluate.js` says the same in a page; a test holds them equal.
"""

import re

PLAIN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
IN_THOUSANDS = r"[+-]?[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:_[0-9]{3})+)(?:\.[0-9]*)?"
NUMBER = rf"(?:{IN_THOUSANDS}|{PLAIN})"


def read(text):
    """ "1,500" -> 1500.0; ValueError, with a sentence for the writer, where unclear."""
    text = text.strip().replace("\N{MINUS SIGN}", "-")
    if re.fullmatch(NUMBER, text):
        return float(re.sub("[,_]", "", text))
    for pattern, advice in ADVICE.items():
        if found := re.fullmatch(pattern, text):
            raise ValueError(advice(found))
    raise ValueError("It should be a number, and is text.")


def with_a_point(found):
    return (
        f"Write {joined(found[1])}.{found[2]} for {found[0]}: a point goes before the "
        "fraction, and a comma only between thousands, as in 1,500."
    )


def in_one_piece(found):
    return f"Write {joined(found[1])}{found[2] or ''} for {found[0]}."


def joined(groups):
    """ "12.345 678" -> "12345678" """
    return re.sub(r"[.\s]", "", groups)


def as_a_fraction(found):
    return f"Write {read(found[1]) / 100:g} for {found[0]}."


def worked_out(found):
    return (
        f"Work {found[0]} out first. (In Python, no quotation marks, and it does that.)"
    )


def without_a_unit(found):
    return f"Write the number alone, without its unit: {found[1]}."


ADVICE = {
    r"([+-]?(?:[0-9]+|[0-9]{1,3}(?:[.\s][0-9]{3})+)),([0-9]+)": with_a_point,
    r"([+-]?[0-9]{1,3}(?:\s[0-9]{3})+)(\.[0-9]*)?": in_one_piece,
    r"([+-]?[0-9]{1,3}(?:\.[0-9]{3}){2,})()": in_one_piece,
    rf"({NUMBER})\s*%": as_a_fraction,
    r"[\s(]*[0-9][0-9.\s()]*[-+*/][-+*/()0-9.\s]*[0-9][\s)]*": worked_out,
    rf"({NUMBER})\s*[^\W\d_].*": without_a_unit,
}
