"""The front page's model: the page computes and draws what Python does, both ways."""

import json
import re
from functools import cache
from html import unescape

import numpy as np
import pytest
import torch
from helpers.javascript import STATIC, javascript
from helpers.published import random_tensors
from safetensors.numpy import save_file

from rwkv_book import checkpoint
from rwkv_book.rwkv4 import minimal, model
from rwkv_book.show import faces

MODULES = [STATIC / "live" / "faces.js", STATIC / "playground" / "weights.js"]
TEXTS = ["T", "To be, or not", '<b>"é" & 🙂\n', "x" * 32, "it's"]
LOAD = """
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const params = weights.load(Uint8Array.from(readFileSync(path)).buffer);
  const tokens = [0, ...new TextEncoder().encode(text)];
  const work = faces.both(tokens, params);
  let pauses = 0, step = work.next();
  for (; !step.done; step = work.next()) pauses++;
"""


def logits_of(path, text):
    """(all at once, one by one, state) of a text, by the book's own models."""
    tokens, params = [0, *text.encode()], checkpoint.load(path)
    with torch.no_grad():
        at_once = model.RWKV.load(path)(torch.tensor([tokens]))[0][0].numpy()
    state, one_by_one = minimal.initial_state(params), []
    for token in tokens:
        logits, state = minimal.step(token, state, params)
        one_by_one.append(logits)
    return at_once, np.array(one_by_one), state


@cache
def read(text):
    path = checkpoint.shipped()
    rates = [
        np.exp(values)
        for name, values in checkpoint.load(path).items()
        if name.endswith("log_decay_rate")
    ]
    return faces.found(text, *logits_of(path, text), rates)


@pytest.fixture(scope="module")
def figure():
    return faces.figure(read, "To be, or not", checkpoint.shipped().name)


@pytest.mark.parametrize("text", TEXTS)
def test_both_faces_in_javascript_are_those_of_the_models(tmp_path, text):
    path = tmp_path / "model.safetensors"
    tensors = random_tensors(layers=3, width=32, hidden=64, vocabulary=256)
    save_file({name: tensor.numpy() for name, tensor in tensors.items()}, path)
    code = f"""([path, text]) => {{ {LOAD}
      const {{ atOnce, oneByOne, state }} = step.value;
      const plain = (rows) => rows.map((row) => Array.from(row));
      return [plain(atOnce), plain(oneByOne), state.map(plain)]; }}"""
    (answer,) = javascript(code, [[str(path), text]], MODULES)
    for page, python in zip(answer, logits_of(path, text), strict=True):
        np.testing.assert_allclose(page, python, rtol=1e-4, atol=2e-4)


def test_a_letter_more_is_a_step_more():
    """Of what was read last only the new letters are read again."""
    path = str(checkpoint.shipped())
    code = f"""(texts) => texts.map((text) => {{
      const path = {json.dumps(path)}; {LOAD}
      const again = faces.both(tokens, params);
      let more = 0, next = again.next();
      for (; !next.done; next = again.next()) more++;
      const longer = faces.both([...tokens, 33, 33], params);
      let added = 0, last = longer.next();
      for (; !last.done; last = longer.next()) added++;
      return [pauses, more, added]; }})"""
    (answer,) = javascript(code, [["To be", "no"]], MODULES)
    layers = 4
    assert answer == [
        [layers + 6, layers, layers + 2],
        [layers + 3, layers, layers + 2],
    ]


@pytest.mark.parametrize("text", [*TEXTS, ""])
def test_the_page_finds_and_draws_what_python_does(figure, text):
    path = str(checkpoint.shipped())
    code = f"""([path, text, data, all]) => {{ {LOAD}
      const found = faces.found(text, step.value, params, data);
      return [found, faces.drawn(all, data)]; }}"""
    wanted = read(text)
    asked = [path, text, figure.data, wanted]
    ((found, drawn),) = javascript(code, [asked], MODULES)
    assert drawn == faces.Faces(wanted).html()
    assert found["letters"] == wanted["letters"]
    assert found["numbers"] == wanted["numbers"] == 4 * 5 * 256
    for name, atol in (("shares", 5.1e-4), ("state", 0.051), ("apart", 6e-4)):
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=atol)
    assert [each[0] for each in found["next"]] == [each[0] for each in wanted["next"]]
    np.testing.assert_allclose(found["next"], wanted["next"], rtol=0, atol=5.1e-4)


def test_nothing_is_fetched_for_the_text_that_comes_with_the_page(figure):
    code = """(data) => {
      globalThis.fetch = () => { throw new Error("fetched"); };
      return faces.faces({ text: data.text }, data, {}); }"""
    (found,) = javascript(code, [figure.data], MODULES)
    assert found == figure.picture(text="To be, or not").html()


def test_a_table_without_its_numbers_stands_there_until_they_come(figure):
    code = "(data) => faces.drawn({ letters: ['<', 'b'], said: 'Reading …' }, data)"
    (found,) = javascript(code, [figure.data], MODULES)
    assert found.count("<td>…</td>") == 4 and "&lt;" in found and "svg" not in found


def test_a_letter_of_several_bytes_has_the_product_of_their_chances():
    logits = np.random.default_rng(0).normal(size=(4, 256)).astype(np.float32)
    logits[1, 0xC3] = logits[2, 0xA9] = 6
    other = logits.copy()
    other[1, 0xC3] = 5
    found = faces.found("aé", other, logits, np.ones((1, 5, 64)), [np.arange(64.0)])
    p, q = (faces.probabilities(each) for each in (logits, other))
    product = p[1, 0xC3] * p[2, 0xA9]
    assert product > 0.1
    np.testing.assert_allclose(found["shares"][1], [p[0, 97], product], atol=5.1e-4)
    apart = 100 * abs(product - q[1, 0xC3] * q[2, 0xA9])
    assert found["apart"] == pytest.approx(apart, abs=6e-4) and apart > 1


def test_logits_of_another_text_are_refused():
    logits = np.zeros((3, 256), np.float32)
    with pytest.raises(ValueError, match="logits of 2 tokens, got 3"):
        faces.found("a", logits, logits, np.ones((1, 5, 64)), [np.ones(64)])


def test_what_the_rows_say_is_said_in_words(figure):
    picture = figure.picture(text="To be, or")
    assert re.search(r"rows: 0\.000 percentage points\..*: “␣” 95\.1; ", picture.alt)
    assert "5,120 numbers" in picture.html()
    (place,) = re.findall(r'data-live="([^"]*)"', figure.page())
    assert json.loads(unescape(place))["data"] == figure.data
