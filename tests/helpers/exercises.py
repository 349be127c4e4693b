"""Answers to exercises with what each is told: tables that become tests.

A chapter's tests list answers, right and wrong ones: `told` tests that each hears its
sentence, `all_heard` that no sentence of the chapter goes without an answer.
"""

import ast
import inspect
import re
from dataclasses import dataclass
from functools import cached_property

import pytest

from rwkv_book.exercises import diagnose


@dataclass(eq=False)
class Answer:
    """An answer to an exercise, and a piece of what it should be told."""

    number: str
    answer: object
    sentence: str

    @cached_property
    def said(self):
        return diagnose(self.number, self.answer)

    def __str__(self):
        return f"{self.number}-{self.sentence}"


def of(number, *rows):
    """Answers to one exercise, each with its sentence, or "Right." for a right one."""
    return [Answer(number, answer, sentence) for answer, sentence in rows]


def told(answers):
    """The test that every answer is told its sentence."""

    @pytest.mark.parametrize("answer", answers, ids=str)
    def test(answer):
        start = "Right." if answer.sentence.startswith("Right.") else "Not yet."
        assert answer.said.startswith(start), answer.said
        assert answer.sentence in answer.said, answer.said

    return test


def all_heard(chapter, answers):
    """The test that every sentence of a chapter's module is told to an answer."""

    def test():
        heard = "\n".join(answer.said for answer in answers)
        unheard = [one for one in sentences(chapter) if not re.search(one, heard)]
        assert not unheard, unheard

    return test


def sentences(module):
    """Patterns of the sentences in a module's code; what is filled in matches anything.

    A sentence is a string of three words or more that ends as one or in a space.
    """
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node
    for node in ast.walk(tree):
        if isinstance(getattr(node, "parent", None), ast.Expr | ast.JoinedStr):
            continue  # a docstring, or a piece of a string that is counted whole
        if isinstance(node, ast.JoinedStr):
            pieces = [getattr(piece, "value", None) for piece in node.values]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            pieces = re.split(r"(?=\{)|(?<=\})", node.value)
        else:
            continue
        fixed = [isinstance(p, str) and not p.startswith("{") for p in pieces]
        words = " ".join(p for p, keep in zip(pieces, fixed, strict=True) if keep)
        if len(words.split()) >= 3 and re.search(r"[.?: ]$", words):
            yield "".join(
                re.escape(piece) if keep else ".+"
                for piece, keep in zip(pieces, fixed, strict=True)
            )
