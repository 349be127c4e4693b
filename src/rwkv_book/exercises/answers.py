"""How an answer is judged: what is right, and what each usual mistake is told.

A number, an order of names, a choice of letters and a name are questions whose mistakes
are data: NumberQuestion, OrderQuestion, ChoiceQuestion, NameQuestion. An answer that is
a function is judged by a function, with the same parts: `number` for a number that came
out, `result` for any other result.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import NamedTuple

from rwkv_book.exercises import written_number


class Wrong(Exception):
    """What is wrong with an answer, in a sentence that helps."""


def wrong_unless(condition, sentence):
    """Raise Wrong with the sentence, unless the condition holds."""
    if not condition:
        raise Wrong(sentence)


class Span(NamedTuple):
    """All numbers from `low` to `high`, both included."""

    low: float
    high: float

    def holds(self, value):
        return self.low <= value <= self.high


def around(value, relative=0.0, absolute=0.0):
    """The span of what counts as `value`; without a tolerance, `value` alone."""
    margin = max(absolute, relative * abs(value))
    return Span(value - margin, value + margin)


def span_of(value, relative=0.0, absolute=0.0):
    """A span as it is, and a number with its tolerance."""
    return value if isinstance(value, Span) else around(value, relative, absolute)


def number(answer, right, mistakes, hint, relative=0.0, absolute=0.0):
    """The answer as a float when it is right; Wrong with a sentence when it is not.

    `right` and the keys of `mistakes`, {value: sentence}, are numbers, within the
    tolerance, or spans. The first mistake that fits is named; `hint` is for all others.
    """
    value = number_of(answer)
    if span_of(right, relative, absolute).holds(value):
        return value
    for mistake, sentence in mistakes.items():
        wrong_unless(not span_of(mistake, relative, absolute).holds(value), sentence)
    raise Wrong(hint)


@dataclass(frozen=True)
class NumberQuestion:
    """A question for a number: what `number` takes, and the praise for a right answer.

    In `hint` and `praise`, {answer:g} or the like becomes the answer.
    """

    right: float | Span
    mistakes: dict[float | Span, str]
    hint: str
    praise: str
    relative: float = 0.0
    absolute: float = 0.0

    def __call__(self, answer):
        value = number_of(answer)
        hint, tolerances = (
            self.hint.format(answer=value),
            (self.relative, self.absolute),
        )
        number(value, self.right, self.mistakes, hint, *tolerances)
        return self.praise.format(answer=value)


@dataclass(frozen=True)
class OrderQuestion:
    """A question for an order of names; `mistakes` are other orders.

    In `hint`, {hits} becomes how many names are where they belong.
    """

    right: tuple[str, ...]
    mistakes: dict[tuple[str, ...], str]
    hint: str
    praise: str

    def __call__(self, answer):
        found = order_of(answer, self.right)
        if found == self.right:
            return self.praise
        wrong_unless(found not in self.mistakes, self.mistakes.get(found))
        hits = sum(one == other for one, other in zip(found, self.right, strict=True))
        raise Wrong(self.hint.format(hits=hits))


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question for all right letters of a list; `mistakes` are the other letters.

    In `hint`, {missing} becomes how many right ones are still to find.
    """

    right: str
    mistakes: dict[str, str]
    hint: str
    praise: str

    @property
    def letters(self):
        return "".join(sorted([*self.right, *self.mistakes]))

    def __call__(self, answer):
        found = letters_of(answer, self.letters)
        for letter in found:
            wrong_unless(letter not in self.mistakes, self.mistakes.get(letter))
        missing = len(self.right) - len(found)
        wrong_unless(not missing, self.hint.format(missing=missing))
        return self.praise


@dataclass(frozen=True)
class NameQuestion:
    """A question for a name, which may be written in several ways.

    Of the `mistakes` that an answer begins with, the longest is named: "Mamba" stands
    for "Mamba-2" as well.
    """

    right: tuple[str, ...]
    mistakes: dict[str, str]
    hint: str
    praise: str

    def __call__(self, answer):
        wrong_unless(isinstance(answer, str), "It should be a name, as a text.")
        name = plain(answer)
        if name in map(plain, self.right):
            return self.praise
        told = {plain(mistake): said for mistake, said in self.mistakes.items()}
        for mistake in sorted(told, key=len, reverse=True):
            wrong_unless(not name.startswith(mistake), told[mistake])
        raise Wrong(self.hint)


def plain(name):
    """ "RWKV-7 " -> "rwkv7": a name's letters from a to z and its digits."""
    return re.sub("[^a-z0-9]", "", name.lower())


def number_of(answer):
    """The answer, such as 1.5 or "1,500", as a float; Wrong when it is no number.

    NumPy's numbers, tensors without an axis, fractions and decimals are numbers; lists
    and tensors with an axis aren't, nor is a bool.
    """
    wrong_unless(
        answer is not None,
        "It should be a number, and is None: does your function return it?",
    )
    if isinstance(answer, str):
        try:
            answer = written_number.read(answer)
        except ValueError as error:
            raise Wrong(str(error)) from None
    elif getattr(answer, "shape", None) == () and hasattr(answer, "item"):
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, Real | Decimal):
        raise Wrong(f"It should be a number, and is a {type(answer).__name__}.")
    try:
        value = float(answer)
    except OverflowError:
        value = math.inf
    wrong_unless(math.isfinite(value), f"It should be a finite number, and is {value}.")
    return value


def order_of(answer, names):
    """The answer as a tuple; Wrong unless it is a list with each of the names once."""
    found = tuple(answer) if isinstance(answer, list | tuple) else ()
    listed = ", ".join(sorted(names))  # by letters, which gives no order away
    wrong_unless(
        all(isinstance(name, str) for name in found) and sorted(found) == sorted(names),
        f"It should be a list with each of these names once: {listed}.",
    )
    return found


def letters_of(answer, letters):
    """The chosen letters in their order, each once; Wrong where others are among them.

    A text such as "ag" or "a, g" is read, and so are lists and sets of letters.
    """
    try:
        text = answer if isinstance(answer, str) else "".join(answer)
    except TypeError:
        text = ""
    found = sorted({letter for letter in text.lower() if letter.isalpha()})
    first, last = letters[0], letters[-1]
    wrong_unless(
        found and set(found) <= set(letters),
        f"It should be letters from {first} to {last}, such as '{first}{last}'.",
    )
    return found


def returned(result, shape, what):
    """Wrong unless a function gave something of this shape back."""
    wrong_unless(result is not None, f"The function returns nothing: return {what}.")
    parts = result if isinstance(result, list | tuple) else ()
    wrong_unless(
        not parts or not all(hasattr(part, "shape") for part in parts),
        f"It should return {what} in one tensor, and returns a "
        f"{type(result).__name__} of {len(parts)}: torch.stack makes one of them.",
    )
    found = getattr(result, "shape", None)
    wrong_unless(
        found is not None and tuple(found) == tuple(shape),
        f"It should return {what} of shape {tuple(shape)}, and returns "
        + (
            f"shape {tuple(found)}."
            if found is not None
            else f"{type(result).__name__}."
        ),
    )
    return result


def not_one_of(found, mistakes, same):
    """Wrong, in the words of the first mistake that gives what was found.

    `mistakes` are pairs of a wrong result and its sentence; a generator makes only as
    many as are needed. `same(found, mistake)` says whether two results are one.
    """
    for mistake, sentence in mistakes:
        wrong_unless(not same(found, mistake), sentence)


def result(found, right, mistakes, hint, same):
    """Wrong unless a result is right: the sentence of its mistake, or else the hint."""
    if not same(found, right):
        not_one_of(found, mistakes, same)
        raise Wrong(hint)
