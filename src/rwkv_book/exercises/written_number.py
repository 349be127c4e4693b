"""The number that a text means, as people write numbers.

`1,500` and `12,345,678.9` are read, since a comma between thousands is plain English.
`1,5` is not 15: what may mean two things, or is no number yet, hears what to write.
"""

import re

PLAIN = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
IN_THOUSANDS = r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3})+|(?:_\d{3})+)(?:\.\d*)?"
NUMBER = rf"(?:{IN_THOUSANDS}|{PLAIN})"


def read(text):
    """ "1,500" -> 1500.0; ValueError, with a sentence for the writer, where unclear."""
    text = text.strip().replace("\N{MINUS SIGN}", "-")
    if re.fullmatch(NUMBER, text):
        return float(re.sub("[,_]", "", text))
    for pattern, advice in ADVICE.items():
        if found := re.fullmatch(pattern, text):
            raise ValueError(advice(found))
    raise ValueError("It should be a number, and is a str.")


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
    return f"Write {found[0]} without quotation marks: then Python works it out."


def without_a_unit(found):
    return f"Write the number alone, without its unit: {found[1]}."


ADVICE = {
    r"([+-]?(?:\d+|\d{1,3}(?:[.\s]\d{3})+)),(\d+)": with_a_point,
    r"([+-]?\d{1,3}(?:\s\d{3})+)(\.\d*)?": in_one_piece,
    r"([+-]?\d{1,3}(?:\.\d{3}){2,})()": in_one_piece,
    rf"({NUMBER})\s*%": as_a_fraction,
    r"[\s(]*\d[\d.\s()]*[-+*/][-+*/()\d.\s]*\d[\s)]*": worked_out,
    rf"({NUMBER})\s*[^\W\d_].*": without_a_unit,
}
