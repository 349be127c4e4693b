"""The playground: its JavaScript modules under node, and the page in Chromium.

The modules are held to the minimal.py of each version, on random weights and on the
shipped ones. What needs a browser is marked so, and runs in `make check-site` on the
built site.
"""

import ast
import codecs
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import AXE, WIDTHS, set_theme
from helpers.later import random_later
from helpers.published import random_tensors
from playwright.sync_api import expect
from safetensors.numpy import save_file

from rwkv_book import checkpoint
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv7 import minimal as minimal7
from tools.site.sphinx_models import offered

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "book" / "_static" / "playground"
NODE = Path(sys.executable).with_name("node")
MINIMAL = {"RWKV-4": minimal, "RWKV-7": minimal7}
PROGRAMS = {"RWKV-4": "rwkv", "RWKV-7": "rwkv7"}
SHIPPED = {about["name"]: path for path, about in offered()}
PROMPTS = ("ROMEO:\nBut soft, what light", "é, 3 < 4 & so on\t", "\0")


NAMES = ["kept", "listening", "multiply", "reading", "rwkv", "rwkv7", "sample"]
NAMES += ["settings", "text", "view7", "weights"]


def in_node(code, **given):
    """What JavaScript that knows all modules, and `given`, returns."""
    imports = "\n".join(
        f'import * as {name} from "{(MODULES / name).as_uri()}.js";' for name in NAMES
    )
    program = f"""{imports}
        import {{ readFileSync }} from "node:fs";
        const given = JSON.parse(readFileSync(0, "utf8"));
        const read = (path) => Uint8Array.from(readFileSync(path)).buffer;
        const answer = await (async () => {{ {code} }})();
        console.log(JSON.stringify(answer, (_, value) =>
          ArrayBuffer.isView(value) ? Array.from(value) : value));"""
    command = [NODE, "--input-type=module", "--eval", program]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def random_model(name):
    """The tensors of a small model, in the published layout."""
    if name == "RWKV-4":
        return random_tensors()
    return random_later("7", layers=3, width=32, size=8)


def save(path, name="RWKV-4", dtype=np.float32, **changes):
    """A random model in a file, and its params as `minimal` takes them."""
    tensors = {key: t.numpy().astype(dtype) for key, t in random_model(name).items()}
    tensors.update({key: tensors[key] * change for key, change in changes.items()})
    save_file(tensors, path)
    return checkpoint.load(path)


def read(tokens, params, program=minimal):
    """All logits of a minimal.py, and the state after the last token."""
    state, logits = program.initial_state(params), []
    for token in tokens:
        out, state = program.step(token, state, params)
        logits.append(out)
    return np.array(logits), state


def flat(state):
    """The layers of a state as JavaScript gives them, each in one row: (L, ...)."""
    return [np.concatenate(arrays) for arrays in state]


# Reading tokens, in JavaScript: all logits, all parts, the last state.
READ = """
  const program = { rwkv, rwkv7 }[given.program];
  const params = weights.load(read(given.path));
  let state = program.initialState(params);
  const logits = [], parts = [];
  for (const token of given.tokens) {
    const out = program.step(token, state, params);
    state = out.state;
    logits.push(out.logits);
    parts.push(out.parts);
  }
"""
every_model = pytest.mark.parametrize("name", MINIMAL)


# The model.


@every_model
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_file_is_read_as_checkpoint_reads_it(tmp_path, dtype, name):
    path = tmp_path / "model.safetensors"
    params = save(path, name, dtype)
    code = """
      const params = weights.load(read(given.path));
      const shapes = Object.entries(params).map(([name, { shape }]) => [name, shape]);
      return { params, shapes: Object.fromEntries(shapes) };"""
    found = in_node(code, path=str(path))
    assert set(found["params"]) == set(params)
    for key, values in params.items():
        np.testing.assert_array_equal(
            np.float32(found["params"][key]), values.ravel(), key
        )
        assert [n for n in found["shapes"][key] if n > 1] == list(values.shape)


def test_every_16_bit_number_is_decoded_exactly(tmp_path):
    path = tmp_path / "halves.safetensors"
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    save_file({"emb.weight": halves}, path)
    found = in_node("return weights.load(read(given.path));", path=str(path))
    np.testing.assert_array_equal(found["embedding.weight"], halves.astype(float))


def test_half_a_file_and_other_numbers_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path)
    path.write_bytes(path.read_bytes()[:-1])
    code = "try { weights.load(read(given.path)) } catch (e) { return e.message }"
    assert "half a file" in in_node(code, path=str(path))
    save_file({"emb.weight": np.zeros(3, np.float64)}, path)
    assert (
        in_node(code, path=str(path)) == "weights are stored as F64, not as F16 or F32"
    )


@pytest.mark.parametrize(
    ("came", "said"),
    [
        (b"<!DOCTYPE html><title>Log in</title>", "a web page came .* log in"),
        (b"\xef\xbb\xbf \n<html>{</html>", "a web page came"),
        (b"", "half a file"),
        (b"\x80\0\0\0\0\0\0\0", "half a file"),
        (b'\x80\0\0\0\0\0\0\0{"emb.weight":', "half a file"),
        (b"PK\3\4 a zip that is no model", "another file"),
    ],
)
def test_what_comes_in_place_of_weights_is_named(tmp_path, came, said):
    path = tmp_path / "model.safetensors"
    path.write_bytes(came)
    code = "try { weights.load(read(given.path)) } catch (e) { return e.message }"
    assert re.search(said, in_node(code, path=str(path)))


@every_model
@pytest.mark.parametrize("scale", [1, 300])
def test_logits_and_states_are_those_of_minimal(tmp_path, scale, name):
    path = tmp_path / "model.safetensors"
    loud = {f"blocks.{layer}.att.key.weight": np.float32(scale) for layer in range(3)}
    params = save(path, name, **loud)
    tokens = [1, 2, 3, 3, 2, 1, 10, 0] * 4
    code = READ + "return { logits, state };"
    found = in_node(code, path=str(path), tokens=tokens, program=PROGRAMS[name])
    logits, state = read(tokens, params, MINIMAL[name])
    np.testing.assert_allclose(found["logits"], logits, rtol=0, atol=1e-4)
    for layer, wanted in zip(flat(found["state"]), state, strict=True):
        np.testing.assert_allclose(layer, wanted.ravel(), rtol=1e-5, atol=1e-4 * scale)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_give_the_logits_of_minimal(name):
    path, tokens = SHIPPED[name], list("ROMEO:\nIs it é, or é?\0".encode())
    found = in_node(
        READ + "return logits;", path=str(path), tokens=tokens, program=PROGRAMS[name]
    )
    logits, _ = read(tokens, checkpoint.load(path), MINIMAL[name])
    np.testing.assert_allclose(found, logits, rtol=0, atol=1e-4)


def test_a_text_begins_with_the_tables_that_a_file_has_for_it(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path, "RWKV-7")
    tensors = {key: t.numpy() for key, t in random_model("RWKV-7").items()}
    rng = np.random.default_rng(0)
    for layer in range(3):
        first = np.float32(rng.normal(size=(4, 8, 8)))
        tensors[f"blocks.{layer}.att.time_state"] = first
    save_file(tensors, path)
    code = READ + "return [state, program.initialState(params)];"
    found = in_node(code, path=str(path), tokens=[3], program="rwkv7")
    params = checkpoint.load(path)
    for state, wanted in zip(
        found,
        (read([3], params, minimal7)[1], minimal7.initial_state(params)),
        strict=True,
    ):
        np.testing.assert_allclose(
            flat(state), wanted.reshape(3, -1), rtol=1e-5, atol=1e-5
        )


@every_model
def test_a_step_leaves_the_old_state_as_it_was(tmp_path, name):
    path = tmp_path / "model.safetensors"
    save(path, name)
    code = (
        READ
        + """
      const before = structuredClone(state);
      const first = program.step(4, state, params);
      program.step(5, state, params);
      const again = program.step(4, state, params);
      const shared = first.state.flat().filter((array) => state.flat().includes(array));
      return { before, state, first, again, shared };"""
    )
    found = in_node(code, path=str(path), tokens=[1, 2, 3], program=PROGRAMS[name])
    assert found["before"] == found["state"]
    assert found["first"] == found["again"]
    assert found["shared"] == []


@every_model
def test_a_token_that_does_not_exist_is_refused(tmp_path, name):
    path = tmp_path / "model.safetensors"
    save(path, name)
    code = (
        READ
        + """
      return [-1, 11].map((token) => {
        try { program.step(token, state, params) } catch (e) { return e.message }
      });"""
    )
    found = in_node(code, path=str(path), tokens=[], program=PROGRAMS[name])
    assert found == ["there is no token -1", "there is no token 11"]


@pytest.mark.parametrize(("name", "lines"), [("RWKV-4", 100), ("RWKV-7", 110)])
def test_it_fits_on_a_page_and_has_the_names_of_minimal(name, lines):
    source = (MODULES / f"{PROGRAMS[name]}.js").read_text(encoding="utf-8")
    python = inspect.getsource(MINIMAL[name])
    assert len(source.splitlines()) <= lines
    there = set(re.findall(r"(?:function|const) (\w+)", source))
    for node in ast.parse(python).body:
        if isinstance(node, ast.FunctionDef) and node.name != "sample":
            head, *rest = node.name.split("_")
            assert head + "".join(word.title() for word in rest) in there


def test_what_was_erased_and_written_explains_the_new_table(tmp_path):
    path = tmp_path / "model.safetensors"
    params = save(path, "RWKV-7")
    tokens, head, layer = [1, 2, 3, 1], 2, 1
    code = (
        READ
        + """
      const [{ head, layer, size }] = [given];
      const [, tables] = state[layer];
      return { parts: parts.at(-1)[layer],
        change: view7.change(tables, parts.at(-1)[layer], head, size) };"""
    )
    given = {"head": head, "layer": layer, "size": 8, "program": "rwkv7"}
    found = in_node(code, path=str(path), tokens=tokens, **given)
    parts = {key: np.reshape(x, (4, 8))[head] for key, x in found["parts"].items()}
    change = {key: np.reshape(x, (8, 8)) for key, x in found["change"].items()}
    before, after = (
        read(tokens[:count], params, minimal7)[1][layer, 1:-1].reshape(4, 8, 8)[head]
        for count in (3, 4)
    )
    wanted = {
        "decayed": before * parts["decay"],
        "erased": np.outer(before @ parts["removed"], parts["removed"] * parts["rate"]),
        "written": np.outer(parts["value"], parts["key"]),
        "now": after,
    }
    assert set(change) == set(wanted)
    for key, table in wanted.items():
        assert np.abs(table).max() > 0.01, key
        np.testing.assert_allclose(change[key], table, rtol=1e-4, atol=1e-5)


# Which models there are.


def test_the_models_offered_are_those_that_there_are_and_can_be_run(tmp_path):
    save(tmp_path / "b.safetensors", "RWKV-7")
    assert [about["file"] for _, about in offered(tmp_path)] == ["b.safetensors"]
    params = save(tmp_path / "z.safetensors", "RWKV-4", np.float16)
    six = {key: t.numpy() for key, t in random_later("6").items()}
    save_file(six, tmp_path / "a.safetensors")
    (path, four), (_, seven) = offered(tmp_path)
    assert path == tmp_path / "z.safetensors"
    assert four == {
        "name": "RWKV-4",
        "file": "z.safetensors",
        "parameters": sum(values.size for values in params.values()),
        "bytes": path.stat().st_size,
    }
    assert seven["name"] == "RWKV-7"


# Sampling.


class Recorder:
    """A generator that keeps what it is asked to choose from."""

    def choice(self, kept, p):
        self.kept, self.p = kept.tolist(), p
        return kept[0]


@pytest.mark.parametrize("temperature", [0.05, 0.8, 1, 3])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.95, 1])
def test_kept_tokens_and_their_chances_are_those_of_minimal(temperature, top_p):
    logits = np.float32(3 * np.random.default_rng(0).normal(size=256))
    recorder = Recorder()
    minimal.sample(logits, temperature, top_p, recorder)
    code = "return sample.distribution(given.logits, given.temperature, given.top_p);"
    given = {"temperature": temperature, "top_p": top_p}
    found = in_node(code, logits=logits.tolist(), **given)
    assert len(found) == 256
    assert sum(entry["probability"] for entry in found) == pytest.approx(1)
    kept = [entry for entry in found if entry["kept"]]
    assert [entry["token"] for entry in kept] == recorder.kept
    p = np.array([entry["probability"] for entry in kept])
    # minimal.py subtracts the largest logit in single precision
    np.testing.assert_allclose(p / p.sum(), recorder.p, rtol=1e-5)


def test_temperature_0_takes_the_first_of_the_likeliest():
    code = """
      const sorted = sample.distribution([1, 9, 3, 9], 0, 1);
      return [0, 0.5, 0.999].map((chance) => sample.choose(sorted, chance));"""
    assert in_node(code) == [1, 1, 1]


def test_a_token_is_drawn_as_often_as_its_chance_says():
    code = """
      const sorted = sample.distribution([1, 2, 4, 1, 2].map(Math.log), 1, 0.9);
      const counts = [0, 0, 0, 0, 0];
      for (let i = 0; i < 9000; i++) counts[sample.choose(sorted, i / 9000)]++;
      return counts;"""
    assert np.abs(np.array(in_node(code)) - [1000, 2000, 4000, 0, 2000]).max() <= 1


def test_chance_is_even_and_depends_on_seed_and_position_alone():
    code = """
      const draw = (seed) => Array.from({ length: 4096 }, (_, at) =>
        sample.chance(seed, at));
      return [draw(1), draw(1), draw(2), draw(999999)];"""
    first, again, *others = np.array(in_node(code))
    np.testing.assert_array_equal(first, again)
    for drawn in (first, *others):
        assert drawn.min() >= 0 and drawn.max() < 1
        # 16 bins of 256: chi-square with 15 degrees of freedom is below 44 but for 1e-4
        counts = np.histogram(drawn, 16, (0, 1))[0]
        assert ((counts - 256) ** 2 / 256).sum() < 44
        assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.06
    for drawn in others:
        assert abs(np.corrcoef(first, drawn)[0, 1]) < 0.06


# Who is being listened to.


@pytest.mark.parametrize("length", [1, 2, 17])
def test_weights_are_what_the_operator_gives_each_value(length):
    """The average is linear in the values, so a value of 1 and zeros shows a weight."""
    rng = np.random.default_rng(length)
    decay_rate, bonus = np.exp(rng.normal(size=5)), rng.normal(size=5)
    keys = 3 * rng.normal(size=(length, 5))
    expected = []
    for heard in range(length):
        sums = np.array([np.zeros(5), np.zeros(5), np.full(5, -np.inf)])
        for token, key in enumerate(keys):
            value = np.full(5, float(token == heard))
            average, sums = minimal.wkv(decay_rate, bonus, key, value, sums)
        expected.append(average.mean())
    found = in_node(
        "return listening.listening(given.keys, given.decay_rate, given.bonus);",
        keys=keys.tolist(),
        decay_rate=decay_rate.tolist(),
        bonus=bonus.tolist(),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize("length", [1, 2, 17])
def test_shares_in_tables_are_what_the_operator_gives_each_value(length):
    """A head's answer is linear in the values; two heads of three channels."""
    rng = np.random.default_rng(length)
    heads = (2, 3)
    parts = {
        "decay": rng.uniform(0.5, 1, (length, *heads)),
        "key": rng.normal(size=(length, *heads)),
        "removed": rng.normal(size=(length, *heads)),
        "rate": rng.uniform(0, 1, (length, *heads)),
        "receptance": rng.normal(size=(length, *heads)),
    }
    parts["removed"] /= np.linalg.norm(parts["removed"], axis=-1, keepdims=True)
    weights = np.empty((length, 2))
    for heard in range(length):
        table = np.zeros((2, 3, 3))
        for token in range(length):
            now = {key: part[token] for key, part in parts.items()}
            receptance = now.pop("receptance")
            value = np.full(heads, float(token == heard))
            table = minimal7.correct(table, value=value, **now)
        weights[heard] = (table @ receptance[:, :, None])[:, 0, 0]
    shares = np.abs(weights) / np.abs(weights).sum(0)
    rows = [
        {key: part[token].ravel().tolist() for key, part in parts.items()}
        for token in range(length)
    ]
    code = "return listening.listeningInTables(given.rows, given.size);"
    found = in_node(code, rows=rows, size=3)
    np.testing.assert_allclose(found, shares.mean(1), rtol=1e-5)
    assert sum(found) == pytest.approx(1)


# Texts.

EXTEND = """
  let node = text.beginning("state");
  const nodes = given.bytes.map((byte) =>
    (node = text.extend(node, byte, { state: byte }, true)));
"""


def test_bytes_of_half_a_character_wait():
    code = EXTEND + "return nodes.map(({ text, waiting }) => [text, waiting]);"
    found = in_node(code, bytes=list("aé€😀\n".encode()))
    texts = ["a", "", "é", "", "", "€", "", "", "", "😀", "\n"]
    assert [text for text, _ in found] == texts
    assert found[3][1] == [0xE2] and found[4][1] == [0xE2, 0x82] and found[5][1] == []


def test_any_bytes_are_decoded_as_python_decodes_them():
    rng = np.random.default_rng(0)
    likely = np.r_[0x00, 0x41, 0x7F:0x100, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80]
    stream = rng.choice(likely, size=4000).tolist()
    code = EXTEND + "return nodes.map((node) => node.text).join('');"
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    assert in_node(code, bytes=stream) == decoder.decode(bytes(stream))


def test_branches_share_their_past():
    code = (
        EXTEND
        + """
      const one = text.extend(nodes[2], 1, {}, true);
      const other = text.extend(nodes[2], 2, {}, true);
      const [first, second] = [one, other].map(text.path);
      return [
        first.map(({ token }) => token), second.map(({ token }) => token),
        first.filter((node) => second.includes(node)).length, node.length,
      ];"""
    )
    found = in_node(code, bytes=[7, 8, 9, 10])
    assert found == [[7, 8, 9, 1], [7, 8, 9, 2], 3, 4]


# Reading. The model here is one whose state is all that it has read.

MODEL = """
  let steps = 0;
  const model = { step: async (token, state) =>
    (steps++, { state: [...state, token], logits: [state.length], parts: [token] }) };
  const reader = { model, every: given.every };
  const first = text.beginning([]);
  const readAll = async (tokens, node = first) => {
    for (const token of tokens) {
      ({ node } = await reading.readOn(node, token, true, reader));
    }
    return node;
  };
  const one = await readAll(given.tokens);
  const fork = text.path(one)[given.at - 1];
"""


@pytest.mark.parametrize("every", [1, 4])
def test_states_that_are_not_kept_are_computed_again(every):
    code = (
        MODEL
        + """
      const kept = text.path(one).filter(({ state }) => state);
      const before = steps;
      const state = await reading.stateAfter(fork, reader);
      const more = steps - before;
      return { kept: kept.map(({ length }) => length), state, more, end: one.state };"""
    )
    tokens, at = list(range(50, 61)), 7
    found = in_node(code, tokens=tokens, at=at, every=every)
    assert found["end"] == tokens and found["state"] == tokens[:at]
    newest = {10, 11}
    assert set(found["kept"]) == newest | {n for n in range(1, 12) if n % every == 0}
    assert found["more"] == at % every


def test_another_model_reads_what_branches_share_once():
    code = (
        MODEL
        + """
      const other = await readAll([7, 8], fork);
      const before = steps, told = [];
      const again = await reading.readAgain([one, other], ["new"], reader,
        (count) => told.push(count));
      const ends = [one, other].map((end) => again.get(end));
      const [nodes, others] = ends.map(text.path);
      return { told,
        tokens: [nodes, others].map((all) => all.map(({ token }) => token)),
        shared: nodes.filter((node) => others.includes(node)).length,
        states: ends.map(({ state }) => state) };"""
    )
    tokens, at = list(range(50, 61)), 7
    found = in_node(code, tokens=tokens, at=at, every=4)
    texts = [tokens, [*tokens[:at], 7, 8]]
    assert found["tokens"] == texts and found["shared"] == at
    assert found["states"] == [["new", *text] for text in texts]
    assert found["told"] == list(range(1, len(tokens) + 3))


# What a reader may set.


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("0", ""),
        ("999999", ""),
        ("1e3", ""),
        ("-1", "-1 is too small"),
        ("1e20", "1e20 is too large"),
        ("1000000", "1000000 is too large"),
        ("3.7", "3.7 is not whole"),
        ("", "the field is empty"),
        ("  ", "the field is empty"),
        ("seven", "what stands there is not a number"),
        ("NaN", "what stands there is not a number"),
        ("Infinity", "Infinity is too large"),
    ],
)
def test_a_seed_is_a_whole_number_that_there_is(typed, problem):
    code = "return settings.seedProblem(given.typed, 0, 999999);"
    assert in_node(code, typed=typed) == problem


def test_what_a_browser_hides_is_no_seed():
    code = "return settings.seedProblem('', 0, 9, false);"
    assert in_node(code) == "what stands there is not a number"


def test_a_new_branch_has_a_seed_that_no_other_has():
    code = "return given.all.map((seeds) => settings.nextSeed(seeds, 9));"
    found = in_node(code, all=[[1], [1, 2], [8, 3], [9], [0, 1, 9], [9, 0, 2]])
    assert found == [2, 3, 9, 0, 2, 1]


def test_branches_are_named_as_columns_of_a_spreadsheet():
    code = "return given.numbers.map(settings.branchName);"
    numbers = [0, 1, 25, 26, 27, 51, 52, 701, 702]
    names = ["A", "B", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA"]
    assert in_node(code, numbers=numbers) == names


@pytest.mark.parametrize("text", ["abcdef", "aé€😀b", "😀😀"])
def test_a_prompt_is_cut_between_characters(text):
    code = """
      const bytes = text.bytes(given.text);
      return [...bytes, 0].map((_, room) => settings.fitting(bytes, room));"""
    for room, kept in enumerate(in_node(code, text=text)):
        whole = text.encode()
        assert bytes(kept) == whole[:room].decode(errors="ignore").encode()


def test_a_link_brings_back_what_it_was_made_of():
    given = {
        "prompt": "To be, & not = to be?\n#1 + é 😀 100%",
        "seed": "7",
        "top-p": "0.95",
    }
    code = """
      const link = settings.linkTo("https://a.org/b.html?c=d#old", given.settings);
      const test = () => true;
      const allowed = { prompt: test, seed: test, "top-p": test };
      const there = settings.settingsIn(new URL(link).hash, allowed);
      return { link, there };"""
    found = in_node(code, settings=given)
    assert found["link"].startswith("https://a.org/b.html?c=d#prompt=To+be")
    assert found["link"].count("#") == 1
    assert found["there"] == {"found": given, "bad": []}


@pytest.mark.parametrize(
    ("link", "found", "bad"),
    [
        ("", {}, []),
        ("#six-things-to-try", {}, []),
        ("#seed=3&colour=red", {"seed": "3"}, []),
        ("#seed=-1", {}, ["seed=-1"]),
        ("#seed=&temperature=0.83", {}, ["seed=", "temperature=0.83"]),
        ("#temperature=2&seed=1e20", {"temperature": "2"}, ["seed=1e20"]),
        ("#temperature=hot", {}, ["temperature=hot"]),
        ("#temperature=%E0%A4%A", {}, ["temperature=\ufffd%A"]),
        ("#constructor=1&toString=2", {}, []),
    ],
)
def test_what_a_link_may_not_say_is_listed(link, found, bad):
    code = """
      const allowed = {
        seed: (text) => !settings.seedProblem(text, 0, 999999),
        temperature: (text) => settings.onScale(text, 0, 2, 0.05),
      };
      return settings.settingsIn(given.link, allowed);"""
    assert in_node(code, link=link) == {"found": found, "bad": bad}


def test_a_slider_has_its_steps_and_no_others():
    code = "return given.all.map((text) => settings.onScale(text, 0.05, 1, 0.05));"
    texts = ["0.05", "0.15", "0.7", "1", "0", "1.05", "0.51", "", " ", "x", "NaN"]
    assert in_node(code, all=texts) == [True] * 4 + [False] * 7


def test_branches_that_were_put_away_share_their_past_again():
    code = (
        EXTEND
        + """
      const fork = { ...text.extend(nodes[2], 200, {}, false), logits: [3] };
      const ends = [{ ...node, logits: [0.5, -1] }, fork];
      const branches = ends.map((node, at) => ({ name: "AB"[at], seed: at, node }));
      const again = kept.unpacked(JSON.parse(JSON.stringify(kept.packed(branches))));
      const [first, second] = again.map(({ node }) => text.path(node));
      return { again: again.map(({ name, seed, node, unread }) =>
          [name, seed, [...node.logits], unread]),
        tokens: [first, second].map((all) => all.map(({ token }) => token)),
        written: second.map(({ written }) => written),
        text: first.map(({ text }) => text).join(""),
        shared: first.filter((node) => second.includes(node)).length };"""
    )
    found = in_node(code, bytes=list("aé!".encode()))
    assert found == {
        "again": [["A", 0, [0.5, -1], True], ["B", 1, [3], True]],
        "tokens": [[97, 195, 169, 33], [97, 195, 169, 200]],
        "written": [True, True, True, False],
        "text": "aé!",
        "shared": 3,
    }


# What stands there first.


def test_the_recorded_text_is_what_the_modules_write():
    recorded = (MODULES / "first.js").read_text("utf-8")
    again = subprocess.run(
        [NODE, ROOT / "tools" / "site" / "playground_first.mjs"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found, wanted = (
        {
            name: np.array(json.loads(f"[{value}]".replace("],\n", "],")))
            for name, value in re.findall(
                r"^  (\w+): ([\d[][^:]*),$", text, re.MULTILINE
            )
        }
        for text in (recorded, again)
    )
    assert set(found) == set(wanted) >= {"tokens", "shares", "logits", "read"}
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0.06, atol=0.02)
    np.testing.assert_array_equal(found["tokens"], wanted["tokens"])
    assert bytes(found["tokens"][0].tolist()).startswith(b"ROMEO:\n")
    np.testing.assert_allclose(found["shares"][0].sum(1), 1, atol=0.02)


# The page, in a browser.

HALF = b'\x80\0\0\0\0\0\0\0{"emb.weight"'  # of a file of weights

in_browser = pytest.mark.browser
PAGE = "book/playground.html"
# How many tokens the model has read or written: 0 while a recorded text stands there.
TOKENS = "Number(document.querySelector('#playground').dataset.tokens)"
# A command is done, and what it did is drawn: until then the page takes no other.
DONE = "document.querySelector('#playground').dataset.busy === 'false'"


@pytest.fixture
def play(visit):
    """Opens the page; what it holds is asked for by `Play`."""
    return lambda width=1280: Play(visit(PAGE, width))


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A folder with the shipped RWKV-4 and a random RWKV-7 that writes letters only.

    Its state is so large that the page does not keep all of them.
    """
    folder = tmp_path_factory.mktemp("models")
    (folder / "shakespeare.safetensors").symlink_to(checkpoint.shipped())
    tensors = random_later("7", layers=3, width=128, vocabulary=256)
    tensors["ln_out.weight"][0], tensors["ln_out.bias"][0] = 0, 1
    tensors["head.weight"][:, 0] = -60
    tensors["head.weight"][ord(" ") : 0x7F, 0] = 0
    half = {key: t.numpy().astype(np.float16) for key, t in tensors.items()}
    save_file(half, folder / "stand-in.safetensors")
    return folder


@pytest.fixture(scope="module")
def params7(stand_in):
    return checkpoint.load(stand_in / "stand-in.safetensors")


@pytest.fixture
def play7(play, context, stand_in):
    """The page of a site that has the models in the folder `stand_in`."""
    models = json.dumps([about for _, about in offered(stand_in)])
    answers = {
        "**/models.js": {
            "body": f"export const MODELS = {models};",
            "content_type": "text/javascript",
        },
        "**/stand-in.safetensors": {"path": stand_in / "stand-in.safetensors"},
    }
    for address, answer in answers.items():
        context.route(address, lambda route, _, a=answer: route.fulfill(**a))
    yield play
    for address in answers:
        context.unroute(address)


class Play:
    """The page, with the words of its reader."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector("#playground:not([hidden])")

    def __getitem__(self, name):
        return self.page.locator(f"#pg-{name}")

    def press(self, name, says):
        """Click, and wait for the sentence that the page then says."""
        self[name].click()
        self.wait(says)

    def wait(self, says, seconds=60, done=True):
        """For a sentence, and until the page is done with what it speaks of."""
        self.page.wait_for_function(
            "says => document.querySelector('#pg-status').innerText.match(says)",
            arg=says,
            timeout=1000 * seconds,
        )
        if done:
            self.page.wait_for_function(DONE, timeout=1000 * seconds)

    def choose(self, name):
        self["models"].get_by_label(name).check()
        self.wait(f"{name} has read the text")

    def start(self, prompt, **settings):
        self["prompt"].fill(prompt)
        for name, value in settings.items():
            self[name.replace("_", "-")].fill(str(value))
        self.press("start", r"Read \d+ tokens")

    def steps(self, count):
        """The text after `count` steps, or after as many as there are."""
        for _ in range(count):
            before = self.length()
            self["step"].click()
            self.page.wait_for_function(f"n => {TOKENS} > n && {DONE}", arg=before)
        return self.text()

    def run(self, tokens):
        """Run until there are so many tokens, and pause."""
        self["pace"].select_option("0")
        self["run"].click()
        self.page.wait_for_function(
            f"n => {TOKENS} >= n && {DONE}",
            arg=tokens,
            timeout=60_000,
        )
        self.press("run", "Paused")

    def length(self):
        return self.page.evaluate(TOKENS)

    def text(self):
        spans = self["text"].locator("span:not(.pg-waiting)")
        return "".join(spans.all_text_contents()).replace("⏎\n", "\n")


def greedy(prompt, count, params, program=minimal):
    """What a minimal.py writes after a prompt when it always takes the likeliest."""
    logits, state = read(prompt.encode(), params, program)
    logits, out = logits[-1], []
    for _ in range(count):
        out.append(program.sample(logits, temperature=0))
        logits, state = program.step(out[-1], state, params)
    return prompt + bytes(out).decode()


@in_browser
@pytest.mark.parametrize("name", SHIPPED)
def test_logits_in_chromium_equal_those_of_minimal(play, name):
    page = play().page
    tokens = [list(prompt.encode()) for prompt in PROMPTS]
    found = page.evaluate(
        """async ({ texts, program, name }) => {
          const at = (path) => new URL("../_static/" + path, location).href;
          const { step, initialState } = await import(at(`playground/${program}.js`));
          const { load } = await import(at("playground/weights.js"));
          const file = await fetch(at(name));
          const params = load(await file.arrayBuffer());
          return texts.map((tokens) => {
            let state = initialState(params);
            return tokens.map((token) => {
              const out = step(token, state, params);
              state = out.state;
              return Array.from(out.logits);
            });
          });
        }""",
        {"texts": tokens, "program": PROGRAMS[name], "name": SHIPPED[name].name},
    )
    params = checkpoint.load(SHIPPED[name])
    for each, logits in zip(tokens, found, strict=True):
        wanted, _ = read(each, params, MINIMAL[name])
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4)
    assert page.problems == []


@in_browser
def test_a_recorded_text_stands_there_and_nothing_is_fetched(play):
    playing = play()
    asked = []
    playing.page.on("request", lambda request: asked.append(request.url))
    text = playing.text()
    assert text.startswith("ROMEO:\nIs the night so long") and playing.length() == 0
    assert playing["next"].locator("li").count() == 12
    for layer in range(4):
        playing["layers"].get_by_label(f"layer {layer}").check()
    playing["text"].locator("span").nth(6).click()
    expect(playing["look-is"]).to_contain_text("token 7 of")
    for name in ("append", "rewind", "branch"):
        assert playing[name].is_disabled()
    assert asked == [] and playing.page.problems == []
    playing["run"].click()
    playing.page.wait_for_function(f"{TOKENS} >= {len(text)}", timeout=60_000)
    playing.press("run", "Paused")
    assert playing.text().startswith(text)  # the same seed writes it again


@in_browser
def test_the_page_writes_what_minimal_writes(play, params):
    playing = play()
    playing.start("ROMEO:\n", temperature=0)
    assert playing.text() == "ROMEO:\n"
    assert playing.steps(25) == greedy("ROMEO:\n", 25, params)
    assert playing.page.problems == []


@in_browser
def test_the_chinese_page_writes_it_too(visit, params):
    playing = Play(visit(f"zh_CN/{PAGE}#temperature=0&prompt=ROMEO%3A%0A", 1280))
    assert playing.steps(8) == greedy("ROMEO:\n", 8, params)
    playing["seed"].fill("3.7")
    expect(playing["seed-note"]).to_contain_text("3.7 不是整数")
    assert playing.page.problems == []


@in_browser
def test_the_page_writes_what_minimal_writes_with_rwkv7_too(play7, params7):
    playing = play7()
    playing.choose("RWKV-7")
    playing.start("ROMEO:\n", temperature=0)
    assert playing.steps(25) == greedy("ROMEO:\n", 25, params7, minimal7)
    assert playing.page.problems == []


@in_browser
def test_the_page_offers_the_models_that_there_are(play):
    playing = play()
    inputs = playing["models"].locator("input")
    names = inputs.evaluate_all("all => all.map((input) => input.value)")
    assert names == list(SHIPPED)
    assert playing["models"].is_visible() == (len(SHIPPED) > 1)


@in_browser
def test_a_model_that_is_not_there_is_not_offered(play, context):
    _, four = offered()[0]
    context.route(
        "**/models.js",
        lambda route: route.fulfill(
            body=f"export const MODELS = [{json.dumps(four)}];",
            content_type="text/javascript",
        ),
    )
    try:
        playing = play()
        assert not playing["models"].is_visible()
        assert "RWKV-7" not in playing.page.locator("#playground").inner_text()
        playing.press("step", "Wrote")
    finally:
        context.unroute("**/models.js")


@in_browser
def test_a_model_is_fetched_when_it_is_chosen_and_no_other(play7):
    playing = play7()
    asked = []
    playing.page.on("request", lambda request: asked.append(request.url))
    text = playing.text()
    playing.choose("RWKV-7")
    assert [url.rsplit("/")[-1] for url in asked if "safetensors" in url] == [
        "stand-in.safetensors"
    ]
    assert playing.text() == text and playing.length() == len(text)
    assert "tables of 64 × 64" in playing["memory-note"].inner_text()


@in_browser
def test_the_text_is_read_again_by_the_model_that_is_chosen(play7, params7):
    playing = play7()
    playing.start("Is this the promised end?", seed=3)
    playing.run(50)
    playing["text"].locator("span").nth(30).click()
    playing.press("branch", "Branch B begins here")
    playing.press("step", "Wrote")
    text, next_tokens = playing.text(), playing["next"].inner_text()
    ends = playing["branches"].inner_text()
    playing.choose("RWKV-7")
    assert playing.text() == text and playing["branches"].inner_text() == ends
    assert playing["seed"].input_value() == "4"
    logits = read(text.encode(), params7, minimal7)[0][-1]
    wanted = [chr(token) for token in np.argsort(-logits, kind="stable")[:12]]
    found = playing["next"].locator("li span:first-child").all_inner_texts()
    assert [name.replace("␣", " ") for name in found] == wanted
    playing["branches"].get_by_role("radio").first.check()
    playing.steps(2)
    playing["branches"].get_by_role("radio").last.check()
    playing.page.wait_for_timeout(100)
    playing.choose("RWKV-4")
    assert playing.text() == text and playing["next"].inner_text() == next_tokens
    assert playing.page.problems == []


@in_browser
def test_a_model_that_can_not_be_fetched_leaves_the_text_as_it_is(play7):
    playing = play7()
    playing.start("QUEEN")
    text = playing.steps(3)
    playing.page.route("**/stand-in.safetensors", lambda route: route.abort())
    playing["models"].get_by_label("RWKV-7").click()
    playing.wait("RWKV-7 could not be loaded .* choose it again; until then RWKV-4")
    assert playing["models"].get_by_label("RWKV-4").is_checked()
    assert playing.text() == text and playing.steps(1)[:-1] == text
    playing.page.unroute("**/stand-in.safetensors")
    playing.choose("RWKV-7")
    playing.press("step", "Wrote")


@in_browser
def test_a_head_is_chosen_with_the_keyboard(play7):
    playing = play7()
    keyboard = playing.page.keyboard
    playing["models"].get_by_label("RWKV-4").focus()
    keyboard.press("ArrowRight")
    playing.wait("RWKV-7 has read the text")
    playing["state"].get_by_label("layer 0, head 0").focus()
    titles = []
    for _ in range(3):
        playing.page.wait_for_timeout(100)
        titles.append(playing["state"].locator(".pg-title").inner_text())
        keyboard.press("ArrowRight")
    heads = [re.search(r"head (\d) of layer (\d)", title).groups() for title in titles]
    assert heads == [("0", "0"), ("1", "0"), ("0", "1")]
    note = playing["state"].locator(".pg-note").inner_text()
    assert re.search(r"erased \d+ % and wrote \d+ %", note)


@in_browser
@every_model
def test_run_pause_rewind_and_branch(play7, name):
    playing = play7()
    for button in ("append", "rewind", "branch"):
        assert playing[button].is_disabled()
    if name == "RWKV-7":
        playing.choose(name)
        playing.press("start", r"Read \d+ tokens")
    playing["pace"].select_option("40")
    playing["run"].click()  # reads the prompt first
    playing.page.wait_for_function(f"{TOKENS} > 50")
    assert playing["run"].inner_text() == "Pause"
    playing.press("run", r"Paused after \d+ tokens")
    assert playing["run"].inner_text() == "Run"
    whole, length = playing.text(), playing.length()
    playing.page.wait_for_timeout(200)
    assert playing.text() == whole and length > 50

    playing.press("rewind", f"Back at {length - 1} tokens")
    assert playing.text() == whole[:-1]
    playing["text"].locator("span").nth(39).click()
    playing.press("rewind", "Back at 40 tokens")
    assert playing.text() == whole[:40]
    assert playing.steps(5) == whole[:45]  # the same seed, the same positions

    playing["text"].locator("span").nth(29).click()
    playing.press("branch", "Branch B begins here, with seed 2")
    assert playing.text() == whole[:30]
    assert playing["seed"].input_value() == "2"
    playing["prompt"].fill("O!")
    playing.press("append", "Read 2 tokens")
    assert playing.text() == whole[:30] + "O!"
    branches = playing["branches"].get_by_role("radio")
    assert branches.count() == 2
    branches.first.check()
    playing.page.wait_for_timeout(100)
    assert playing.text() == whole[:45]
    assert playing["seed"].input_value() == "1"
    branches.last.check()
    playing.page.wait_for_timeout(100)
    assert playing.text() == whole[:30] + "O!"
    assert playing.page.problems == []


@in_browser
def test_one_seed_gives_one_text(play):
    texts = {}
    for seed in (5, 5, 6):
        playing = play()
        playing.start("KING", seed=seed, temperature=1.5, top_p=1)
        playing.run(60)
        texts.setdefault(seed, []).append(playing.text()[:50])
    assert texts[5][0] == texts[5][1] != texts[6][0]


@in_browser
def test_the_marked_token_is_the_next_one(play):
    playing = play()
    playing.start("QUEEN")
    for _ in range(8):
        marked = playing["next"].locator(".pg-chosen span").first
        told = marked.inner_text() if marked.count() else None
        before = playing.length()
        written = playing.steps(1)
        assert playing.length() == before + 1
        if told:
            assert told == {" ": "␣", "\n": "⏎"}.get(written[-1], written[-1])


@in_browser
@every_model
def test_memory_is_what_the_shapes_say_and_a_picture_has_its_scale(
    play7, params, params7, name
):
    playing = play7()
    if name == "RWKV-7":
        playing.choose(name)
    playing.start("x" * 47)
    playing.press("step", "Wrote")
    wanted = MINIMAL[name].initial_state(params if name == "RWKV-4" else params7)
    layers, _, channels = wanted.shape
    state, cache = playing["memory"].locator("li").all_inner_texts()
    assert state.split()[-2:] == [f"{wanted.nbytes / 1024:.0f}", "KiB"]
    assert cache.split()[-2:] == [f"{4 * channels * layers * 48 / 1024:.0f}", "KiB"]
    scales = playing["state"].locator(".pg-scales span, .pg-scale").all_inner_texts()
    canvases = playing["state"].locator("canvas").count()
    wanted = 4 * canvases if name == "RWKV-4" else canvases - 4
    assert len(scales) == wanted
    assert all(re.fullmatch(r"±\d+(\.\d+)?", scale) for scale in scales)


@in_browser
def test_a_slider_tells_what_is_left_of_a_token(play, params):
    playing = play()
    playing.start("abcdefgh")
    layers = len(minimal.initial_state(params))
    playing["look"].focus()
    for _ in range(3):
        playing.page.keyboard.press("ArrowLeft")
    playing.page.wait_for_timeout(100)
    assert playing["look-is"].inner_text() == "token 5 of 8, “e”, 3 tokens ago"
    shares = playing["shares"].locator("li").all_inner_texts()
    assert len(shares) == layers
    spoken = playing["look"].get_attribute("aria-valuetext")
    assert all(" ".join(share.split()) in spoken for share in shares)
    assert playing["text"].locator(".pg-looked").inner_text() == "e"


@in_browser
def test_half_a_character_waits_for_its_other_half(play):
    playing = play()
    playing.start("Café")
    assert playing.text() == "Café" and playing.length() == 5
    playing.press("rewind", "Back at 4")
    assert playing.text() == "Caf"
    assert "1 of a character" in playing["text"].locator(".pg-waiting").inner_text()
    playing.press("rewind", "Back at 3")
    assert playing["text"].locator(".pg-waiting").count() == 0


@pytest.fixture
def small(play, tmp_path):
    """The page with a small model: its own takes half a minute for a long text."""
    path = tmp_path / "small.safetensors"
    tensors = random_tensors(layers=4, width=16, hidden=32, vocabulary=256)
    halves = {name: t.numpy().astype(np.float16) for name, t in tensors.items()}
    save_file(halves, path)

    def open_page():
        playing = play()
        playing.page.route(
            "**/shakespeare.safetensors", lambda route: route.fulfill(path=path)
        )
        return playing

    return open_page


@in_browser
def test_a_long_text_stops_and_says_why(small):
    playing = small()
    playing["prompt"].fill("All the world's a stage. " * 79)
    playing["start"].click()
    playing.wait("Read 1975 tokens")
    playing["pace"].select_option("0")
    playing.press("run", "2000 tokens: this page stops here")
    assert playing.length() == 2000
    playing.press("step", "2000 tokens")
    playing.press("rewind", "Back at 1999")
    assert playing.page.problems == []


@in_browser
def test_a_prompt_that_is_too_long_is_cut_aloud(small):
    playing = small()
    playing["prompt"].fill("é" * 1200)
    playing["start"].click()
    progress = playing["progress"]
    said = "of its 2400 bytes the first 2000 are read and the other 400 are not"
    playing.wait(said, done=False)
    expect(progress).to_be_visible()
    playing.page.wait_for_function(f"{TOKENS} == 2000", timeout=60_000)
    expect(progress).to_be_hidden()
    playing.press("step", "The last 400 bytes of the prompt were left out. 2000 tokens")
    playing.press("rewind", "Back at 1999")
    playing["prompt"].fill("xé")
    playing.press("append", "of its 3 bytes the first 1 are read and the other 2 are")


@in_browser
def test_a_seed_that_is_none_changes_nothing_and_is_named(play):
    playing = play()
    said = playing["seed-note"]
    for typed, (used, reason) in {
        "-1": (5, "-1 is too small"),
        "1e20": (100, "1e20 is too large"),  # which begins with what is a seed
        "3.7": (3, "3.7 is not whole"),
        "": (5, "the field is empty"),
        "1e": (1, "what stands there is not a number"),
    }.items():
        playing["seed"].fill("5")
        playing["seed"].press("Control+a")
        playing["seed"].press("Delete")
        playing["seed"].type(typed)
        expect(said).to_have_text(
            f"A seed is a whole number from 0 to 999999, and {reason}: "
            f"seed {used} stays in use."
        )
        assert playing["seed"].get_attribute("aria-invalid") == "true"
        assert f"Seed {used} will take" in playing["next-note"].inner_text()
        playing["seed"].fill("7")
        expect(said).to_have_text("")
        assert playing["seed"].get_attribute("aria-invalid") == "false"
        expect(playing["next-note"]).to_contain_text("Seed 7 will take")


@in_browser
def test_the_branch_after_z_is_aa(small):
    playing = small()
    playing.start("O")
    for name in [*map(chr, range(ord("B"), ord("Z") + 1)), "AA", "AB"]:
        playing.press("branch", f"Branch {name} begins here")
    assert "AB, seed 28" in playing["branches"].locator("label").last.inner_text()


@in_browser
def test_what_was_written_is_there_when_the_reader_comes_back(play, params):
    playing = play()
    page = playing.page
    playing.start("Is this a dagger", seed=9, temperature=0.5)
    playing.run(60)
    playing["text"].locator("span").nth(30).click()
    playing.press("branch", "Branch B begins here")
    playing.steps(4)
    playing["prompt"].fill("or not?")
    names = ("text", "branches", "next", "shares", "next-note")
    before = [playing[name].inner_text() for name in names]
    page.goto(page.url.replace("playground", "one_sitting"))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.go_back()
    playing.wait("Your text is back, 35 tokens")
    assert [playing[name].inner_text() for name in names] == before
    assert not any("safetensors" in url for url in asked)
    assert playing["prompt"].input_value() == "or not?"
    assert playing["temperature"].input_value() == "0.5"
    assert playing["seed"].input_value() == "10"
    written = playing.text()
    playing.press("append", "Read 7 tokens")  # reads all that stands there first
    assert playing.text() == written + "or not?"
    logits = read(playing.text().encode(), params)[0][-1]
    likeliest = playing["next"].locator("li span").first.inner_text()
    token = chr(np.argmax(logits))
    assert likeliest == {" ": "␣", "\n": "⏎"}.get(token, token)
    playing["branches"].get_by_role("radio").first.check()
    page.wait_for_timeout(100)
    assert playing.text()[:31] == written[:31] and playing.length() >= 60
    assert page.problems == []


@in_browser
def test_a_prompt_is_there_when_the_reader_comes_back_before_it_was_read(play):
    playing = play()
    page = playing.page
    playing["prompt"].fill("Who is there?")
    playing["top-p"].fill("0.5")
    page.goto(page.url.replace("playground", "one_sitting"))
    page.go_back()
    playing.wait("A recorded text")
    assert playing["prompt"].input_value() == "Who is there?"
    assert playing["top-p"].input_value() == "0.5"


@in_browser
def test_a_link_holds_prompt_seed_and_settings(play):
    playing = play()
    page = playing.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    given = {"prompt": "A #1 & b = 100%\né", "seed": "12", "temperature": "1.25"}
    given |= {"top-p": "0.8"}
    for name, text in given.items():
        playing[name].fill(text)
    playing["pace"].select_option("40")
    playing.press("link", "The link is copied")
    link = page.evaluate("navigator.clipboard.readText()")
    for name in given:
        playing[name].fill("0.1" if name in ("temperature", "top-p") else "0")
    page.goto("about:blank")
    page.goto(link)
    playing.wait("The prompt and the settings are those of the link")
    for name, text in given.items():
        assert playing[name].input_value() == text
    assert playing["pace"].input_value() == "40"
    playing.press("start", "Read 18 tokens")
    assert playing.text() == given["prompt"]
    assert page.problems == []


@in_browser
def test_a_link_that_asks_for_what_there_is_not_gets_a_sentence(play, visit):
    asked = "seed=-1&temperature=hot&top-p=0.5&model=GPT-5&prompt=Who%3F"
    playing = Play(visit(f"{PAGE}#{asked}", 1280))
    said = playing["status"].inner_text()
    assert "seed=-1, temperature=hot, model=GPT-5: the usual values" in said
    values = {"seed": "1", "temperature": "0.8", "top-p": "0.5", "prompt": "Who?"}
    for name, value in values.items():
        assert playing[name].input_value() == value
    playing.page.evaluate("location.hash = 'seed=4&prompt=When%3F'")
    playing.wait("The prompt and the settings are those of the link")
    assert playing["prompt"].input_value() == "When?"
    assert playing["seed"].input_value() == "4"
    assert playing.page.problems == []


@in_browser
def test_a_link_can_ask_for_the_other_model(play7, visit):
    playing = Play(visit(f"{PAGE}#model=RWKV-7&prompt=O", 1280))
    assert playing["models"].get_by_label("RWKV-7").is_checked()
    playing.press("step", "Wrote")
    assert playing.length() == 2
    assert "tables of 64 × 64" in playing["memory-note"].inner_text()


@in_browser
def test_where_a_page_may_not_copy_the_link_is_shown(play):
    playing = play()
    playing.page.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(Error('no')); }"
    )
    playing.press("link", "the link stands below the prompt")
    assert "#prompt=ROMEO%3A" in playing["link-text"].input_value()
    assert playing.page.evaluate("document.activeElement.id") == "pg-link-text"


@in_browser
def test_what_comes_in_place_of_a_model_gets_a_sentence_and_a_second_try(play):
    playing = play()
    pattern = "**/shakespeare.safetensors"
    log_in = b"<!DOCTYPE html><html>Please log in.</html>"
    for come, reason in (
        (lambda route: route.fulfill(status=404), ""),
        (lambda route: route.abort(), ""),
        (lambda route: route.fulfill(body=log_in), "a web page came .* log in"),
        (lambda route: route.fulfill(body=HALF), "only half a file"),
    ):
        playing.page.route(pattern, come)
        said = f"RWKV-4 could not be loaded .*{reason}.* press the button again"
        playing.press("run", said)
        assert playing["run"].inner_text() == "Run"
        playing.page.unroute(pattern)
        # It says something else, so that what it says next is new.
        playing.press("link", "The link is copied|the link stands below")
    playing.press("step", "Wrote")


@in_browser
def test_a_browser_without_module_workers_gets_a_sentence(play):
    playing = play()
    playing.page.route("**/worker.js", lambda route: route.abort())
    playing.press("run", "RWKV-4 could not be loaded")


@in_browser
def test_without_scripts_there_is_a_sentence(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{PAGE}")
    assert page.locator("#pg-absent").is_visible()
    assert not page.locator("#playground").is_visible()
    context.close()


@in_browser
def test_the_keyboard_is_enough(play):
    playing = play()
    keyboard = playing.page.keyboard
    playing["prompt"].focus()
    reached = []
    for _ in range(16):
        reached.append(playing.page.evaluate("document.activeElement.id"))
        keyboard.press("Tab")
    order = ["prompt", "start", "temperature", "top-p", "seed", "pace", "run", "step"]
    found = [name for name in reached if name.removeprefix("pg-") in order]
    assert found == [f"pg-{name}" for name in order]
    playing["run"].focus()
    keyboard.press("Enter")
    playing.page.wait_for_function(f"{TOKENS} > 40")
    keyboard.press("Space")
    playing.wait("Paused")


PAINTED = """all => all.map((canvas) => canvas.getContext("2d")
  .getImageData(0, 0, canvas.width, canvas.height).data.some((x) => x > 0))"""


@in_browser
@every_model
def test_the_page_is_whole_while_it_plays(play7, name):
    """In both widths and both themes, on one of which each of axe's findings hangs."""
    playing = play7(WIDTHS["phone"])
    page = playing.page
    if name == "RWKV-7":
        playing.choose(name)
    playing.start("ROMEO:\nIs the day so young")
    playing.run(80)
    playing["text"].locator("span").nth(20).click()
    playing.press("branch", "Branch B")
    playing.press("step", "Wrote")
    page.add_script_tag(path=AXE)
    for device, theme in (("phone", "light"), ("desktop", "dark")):
        page.set_viewport_size({"width": WIDTHS[device], "height": 900})
        set_theme(page, theme)
        assert page.evaluate("siteChecks.wide()") == [], device
        painted = page.locator("#pg-state canvas").evaluate_all(PAINTED)
        assert painted and all(painted), device
    for device, theme in (("desktop", "dark"), ("phone", "light")):
        page.set_viewport_size({"width": WIDTHS[device], "height": 900})
        set_theme(page, theme)
        assert page.evaluate("siteChecks.violations()") == [], (device, theme)
    assert page.problems == []


@in_browser
def test_it_plays_on_without_a_network(play):
    playing = play()
    playing.start("HAMLET")
    playing.page.context.set_offline(True)
    try:
        playing.press("step", "Wrote")
        playing.press("branch", "Branch B")
        playing.press("step", "Wrote")
    finally:
        playing.page.context.set_offline(False)
    assert playing.page.problems == []


MOST_READINGS = {"RWKV-4": 3.5, "RWKV-7": 4.5}  # of its weights, in the time of a token


@pytest.mark.parametrize("name", SHIPPED)
def test_a_token_takes_little_longer_than_reading_the_weights_does(name):
    """In time of the processor, which other work on the machine does not lengthen."""
    code = """
        const params = weights.load(read(given.path));
        const { initialState, step } = given.program === "rwkv" ? rwkv : rwkv7;
        let state = initialState(params);
        const used = (work) => {
          const before = process.cpuUsage();
          for (let i = 0; i < 5; i++) work(i);
          return process.cpuUsage(before).user;
        };
        const reading = () => multiply.readingTime(params);  // five times
        const token = (i) => { state = step(i, state, params).state; };
        const ratio = () => 5 * used(token) / used(reading);
        const rounds = Array.from({ length: 21 }, ratio);
        return rounds.toSorted((a, b) => a - b)[10];"""
    path, program = str(SHIPPED[name]), PROGRAMS[name]
    assert in_node(code, path=path, program=program) < MOST_READINGS[name]
