"""Three words through a block: the boxes hold what the network computes."""

import re

import numpy as np
import pytest
import torch

from rwkv_book import attention
from rwkv_book.show import stages
from rwkv_book.transformer import three_words

WORDS = ["Anna", "sleeps", "she"]
LAST = len(stages.NAMES) - 1


@pytest.fixture(scope="module")
def model():
    return three_words()


@pytest.fixture(scope="module")
def seen(model):
    found = {}

    def note(name):
        def hook(module, given, out):
            out = out[0] if isinstance(out, tuple) else out
            found[name.removeprefix("blocks.0.")] = out[0]

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(note(name))
    with torch.no_grad():
        model(torch.tensor([[0, 1, 2]]))
    return found


def test_attention_is_the_model_s(model, seen):
    numbers = stages.vectors(seen)
    ((query, key, value),) = model.heads(torch.tensor([[0, 1, 2]]))
    average = attention.softmax_attention(query, key, value, causal=True)[0, 0]
    np.testing.assert_allclose(numbers["average"], average, atol=1e-5)
    products = attention.scores(query, key)[0, 0]
    hidden = ~attention.visible(3, 3)
    np.testing.assert_array_equal(np.isnan(numbers["scores"]), hidden)
    np.testing.assert_allclose(numbers["scores"][~hidden], products[~hidden], atol=1e-5)
    np.testing.assert_allclose(np.nansum(numbers["weights"], axis=1), 1)


def test_the_stream_adds_up_to_the_model_s_guess(model, seen):
    numbers = stages.vectors(seen)
    total = numbers["first residual"] + numbers["hidden channels"]
    np.testing.assert_allclose(numbers["second residual"], total, atol=1e-5)
    with torch.no_grad():
        logits, _ = model(torch.tensor([[0, 1, 2]]))
    np.testing.assert_allclose(numbers["guess"], logits[0].softmax(-1), atol=1e-5)


@pytest.mark.parametrize("stage", range(LAST + 1))
def test_boxes_are_filled_up_to_the_stage(seen, stage):
    picture = stages.Stage(WORDS, seen, stage)
    shown = picture.html()
    assert shown.count("<rect") == 3 * (LAST + 1)
    assert shown.count('fill-opacity="0.2"') == 3  # the stage itself
    assert shown.count('<g opacity="0.3">') == LAST - stage
    assert f"Stage {stage + 1} of {LAST + 1}: {stages.NAMES[stage]}" in shown
    assert not re.search(r"[{}]|nan", shown + picture.alt)
    for word in WORDS:
        assert f"{word} (" in picture.alt


def test_what_is_said_is_what_is_in_the_boxes(seen):
    average = stages.Stage(WORDS, seen, stages.NAMES.index("average"))
    assert "0.67 · 12 + 0.17 · 6 + 0.17 · 0 = 9." in average.said
    guess = stages.Stage(WORDS, seen, LAST)
    assert "expects sleeps with 69%" in guess.said
    assert ">69%<" in guess.html()
    assert "Anna (8%, 80%, 13%)" in guess.alt


def test_a_line_is_as_thick_as_its_weight(seen):
    shown = stages.Stage(WORDS, seen, LAST).html()
    fan = re.search(r"by these weights</text>(.*?)<rect", shown)[1]
    found = [float(width) for width in re.findall(r'stroke-width="([\d.]+)"', fan)]
    np.testing.assert_allclose(found, [6, 4, 2, 4, 1, 1], atol=0.01)
